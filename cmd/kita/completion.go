package main

// completionLong says how the scripts that package cobra writes are put to use.
const completionLong = `Write a script to standard output that completes the words of kita in a shell. The
packages for Debian and Fedora bring it for bash, zsh and fish.

  source <(kita completion bash)
  kita restart <TAB>              the children of this host's server, and their phases
  kita restart web on <TAB>       the hosts and groups of your hosts.yml

The names of children are asked of the server at each press of the key, of those that
the line names with 'on' or --on. One that does not answer within a second has none to
offer, and no question is put: a key that needs a passphrase is left out.`

// completionOf says it for one shell.
func completionOf(shell string) string {
	switch shell {
	case "bash":
		return `Write the script for bash. It needs the package bash-completion.

  source <(kita completion bash)                                     (this shell)
  kita completion bash > ~/.local/share/bash-completion/completions/kita    (your shells)
  kita completion bash > /etc/bash_completion.d/kita                  (all users)`
	case "zsh":
		return `Write the script for zsh. Completion must be switched on: autoload -U compinit; compinit

  source <(kita completion zsh)                                      (this shell)
  kita completion zsh > "${fpath[1]}/_kita"                          (your shells)`
	case "fish":
		return `Write the script for fish.

  kita completion fish | source                                      (this shell)
  kita completion fish > ~/.config/fish/completions/kita.fish        (your shells)`
	case "powershell":
		return `Write the script for PowerShell, which asks a server of another host.

  kita completion powershell | Out-String | Invoke-Expression`
	}
	return ""
}
