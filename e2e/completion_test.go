package e2e

import (
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"kita/spec"
)

// shells complete a line each, in their own way, and print one offer a line.
var shells = map[string]struct{ needs, script string }{
	"bash": {"/usr/share/bash-completion/bash_completion", `
source /usr/share/bash-completion/bash_completion
source <(kita completion bash)
COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=63
read -ra COMP_WORDS <<<"$1"
[[ $1 == *' ' ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COLUMNS=200
# As in a shell at a terminal, where it sets how offers are shown.
compopt() { :; }
$(complete -p kita | sed 's/.*-F \([^ ]*\) .*/\1/') kita "" ""
printf '%s\n' "${COMPREPLY[@]}"`},
	"fish": {"/usr/bin/fish", `
kita completion fish | source
complete -C "$argv[1]"`},
}

// TestShellsCompleteFromTheLiveServer has the shells themselves complete lines with
// the scripts that kita writes.
func TestShellsCompleteFromTheLiveServer(t *testing.T) {
	t.Parallel()
	in := newServer(t, "mode: half\nstartup: [web]\n", map[string]string{
		"web": "command: sleep 1000\n", "worker-1": "command: sleep 1000\n",
		// What a shell would carry out, were it put on the line.
		"$(touch${IFS}pwned)": "command: sleep 1000\n", "`touch${IFS}pwned`": "command: sleep 1000\n", "w;touch${IFS}pwned": "command: sleep 1000\n",
	})
	in.mustAwait(t, "web", func(v spec.View) bool { return v.Status.Phase == spec.PhaseRunning })
	if err := os.MkdirAll(in.path("config/kita"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in.path("config/kita/hosts.yml"), []byte("hosts:\n  alpha: 127.0.0.1\n  beta: 127.0.0.2\ngroups:\n  front: [alpha, beta]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		line string
		want []string
		// about is part of what stands beside the first of them.
		about string
	}{
		{"kita resta", []string{"restart"}, ""},
		{"kita restart ", []string{"web", "worker-1", "all"}, "running"},
		{"kita restart wo", []string{"worker-1"}, ""},
		{"kita restart web o", []string{"on"}, ""},
		{"kita restart web on ", []string{"alpha", "beta", "@front"}, ""},
		{"kita restart web on alpha,b", []string{"alpha,beta"}, ""},
		{"kita check --on al", []string{"alpha"}, ""},
		{"kita check -o j", []string{"json"}, ""},
		{"kita check --outp", []string{"--output"}, ""},
		{"kita completion z", []string{"zsh"}, ""},
	}
	for shell := range shells {
		t.Run(shell, func(t *testing.T) {
			for _, tt := range tests {
				offers := in.offers(t, shell, tt.line)
				var words []string
				for _, offer := range offers {
					// bash quotes what it puts on the line.
					words = append(words, strings.ReplaceAll(strings.Fields(offer)[0], `\`, ""))
				}
				if got, want := slices.Sorted(slices.Values(words)), slices.Sorted(slices.Values(tt.want)); !slices.Equal(got, want) {
					t.Errorf("%q: %v, want %v", tt.line, got, want)
				}
				at := slices.Index(words, tt.want[0])
				if at >= 0 && !strings.Contains(offers[at], tt.about) {
					t.Errorf("%q: %q says nothing of %s", tt.line, offers[at], tt.about)
				}
			}
			if _, err := os.Stat(in.path("pwned")); err == nil {
				t.Error("the name of a child was carried out")
			}
		})
	}
	t.Run("a server that hangs", func(t *testing.T) {
		silent, err := net.Listen("unix", in.path("silent.sock"))
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		if _, err := exec.LookPath("bash"); err != nil {
			t.Skip("there is no bash")
		}
		// Nobody accepts, so that an answer never comes; run ends what takes too long.
		if got := in.offers(t, "bash", "kita restart --socket silent.sock "); !slices.Equal(got, []string{spec.All}) {
			t.Errorf("it offers %v", got)
		}
	})
}

// offers are what the shell offers for the line.
func (in *instance) offers(t *testing.T, shell, line string) []string {
	t.Helper()
	s := shells[shell]
	if _, err := os.Stat(s.needs); err != nil {
		t.Skipf("%s is not there", s.needs)
	}
	args := []string{"env", "PATH=" + world.bin + ":" + os.Getenv("PATH"), "HOME=" + in.dir, "KITA_SOCKET=" + in.socket(), shell, "-c", s.script}
	if shell == "bash" {
		args = append(args, "bash")
	}
	out, _ := in.run(t, 0, append(args, line)...)
	var offers []string
	for offer := range strings.Lines(out) {
		if offer = strings.TrimSpace(offer); offer != "" {
			offers = append(offers, offer)
		}
	}
	return offers
}

// TestZshTakesTheScript: it is read, and is what completes kita.
func TestZshTakesTheScript(t *testing.T) {
	if _, err := exec.LookPath("zsh"); err != nil {
		t.Skip("there is no zsh")
	}
	const script = `autoload -U compinit && compinit -u -D && source <(kita completion zsh) && print -r -- $_comps[kita]`
	c := exec.Command("zsh", "-f", "-c", script)
	c.Env = append(os.Environ(), "PATH="+world.bin+":"+os.Getenv("PATH"), "HOME="+t.TempDir())
	if out, err := c.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "_kita" {
		t.Errorf("%v\n%s", err, out)
	}
}
