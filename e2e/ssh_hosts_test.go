package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSSHHosts asks a server through a real sshd of its host, in the ways that
// different sshds leave.
func TestSSHHosts(t *testing.T) {
	needSSHD(t)
	t.Parallel()
	separation(t)
	in := newServer(t, "mode: full\n", map[string]string{
		"web":    "command: sleep 1000\n",
		"talker": "command: sh -c 'echo hello; exec sleep 1000'\noutput: [{stdout: talker.log}]\n",
	})
	h := newSSHHosts(t, in)

	t.Run("keys of the agent alone", h.agentAlone)
	t.Run("~/.ssh/config", h.ownConfig)
	t.Run("a key with a passphrase, and one of `with`", h.keysOfFiles)
	t.Run("several hosts, of hosts.yml and not", h.severalHosts)
	t.Run("on the whole screen", h.onTheScreen)
	t.Run("through another host", h.throughAnother)
	t.Run("hosts that are not who they were", h.changedHosts)
	t.Run("sockets are not forwarded", viaLoopback)
	t.Run("nothing is forwarded", h.nothingForwarded)
	t.Run("only supervisor-rs-client", h.onlyOld)
	t.Run("no server", h.noServer)
}

func (h *sshHosts) agentAlone(t *testing.T) {
	c := h.newClient(t)
	c.write(t, ".ssh/authorized", c.public(t, "elsewhere/mine"))
	agent := startAgent(t, h.in)
	h.in.tool(t, append(agent, "ssh-add", "-q", c.path("elsewhere/mine"))...)
	sshd := h.startSSHD(t, c.path(".ssh/authorized"), "")
	out, said := c.kita(t, 0, agent, "check", "on", sshd.url())
	if !strings.Contains(out, "web ") || !strings.Contains(said, "is new: its ED25519 key SHA256:") {
		t.Errorf("it says\n%s%s", out, said)
	}
	if _, said := c.kita(t, 0, agent, "trystart", "web", "on", sshd.url()); said != "" {
		t.Errorf("the second time it says on stderr\n%s", said)
	}
	h.output(t, c, agent, sshd.url())
	h.history(t, c, agent, sshd.url())
	_, said = c.kita(t, 1, nil, "check", "on", sshd.url())
	if !strings.Contains(said, "there is no key to offer") {
		t.Errorf("without the agent it says\n%s", said)
	}
}

// output wants what the child "talker" has said.
func (h *sshHosts) output(t *testing.T, c *sshClient, env []string, url string) {
	t.Helper()
	eventually(t, "hello is in talker.log", func() bool {
		text, _ := os.ReadFile(h.in.path("talker.log"))
		return string(text) == "hello\n"
	})
	if out, _ := c.kita(t, 0, env, "logs", "talker", "on", url); out != "hello\n" {
		t.Errorf("its output is\n%s", out)
	}
}

// history wants the trystart of the child "web" to be known, and whose it was.
func (h *sshHosts) history(t *testing.T, c *sshClient, env []string, url string) {
	t.Helper()
	if out, _ := c.kita(t, 0, env, "why", "web", "on", url); !strings.HasPrefix(out, "web is ") || !strings.Contains(out, ": restarted by ") || !strings.Contains(out, " on "+h.in.addr) {
		t.Errorf("why says\n%s", out)
	}
	if out, _ := c.kita(t, 0, env, "events", "web", "--type", "command", "-n", "1", "on", url); !strings.Contains(out, "web       trystart by ") {
		t.Errorf("its history is\n%s", out)
	}
}

func (h *sshHosts) ownConfig(t *testing.T) {
	c := h.newClient(t)
	c.write(t, ".ssh/authorized", c.public(t, "keys/web key"))
	sshd := h.startSSHD(t, c.path(".ssh/authorized"), "")
	c.write(t, ".ssh/config", "Include conf.d/*\nHost *\n User nobody-of-that-name\n")
	c.write(t, ".ssh/conf.d/web", fmt.Sprintf("Host prod-*\n HostName %s\n Port %d\n User %s\n IdentityFile \"%%d/keys/web key\"\n", h.in.addr, sshd.port, h.login))
	out, _ := c.kita(t, 0, nil, "check", "web", "-o", "json", "on", "ssh://prod-1")
	if !strings.Contains(out, `"name": "web"`) {
		t.Errorf("it says\n%s", out)
	}
	if _, said := c.kita(t, 1, nil, "check", "on", fmt.Sprintf("ssh://nobody@prod-1:%d", sshd.port)); !strings.Contains(said, "does not let nobody in") {
		t.Errorf("as nobody it says\n%s", said)
	}
}

func (h *sshHosts) keysOfFiles(t *testing.T) {
	c := h.newClient(t)
	c.write(t, ".ssh/authorized", c.public(t, ".ssh/id_ed25519")+c.public(t, "ops.pem"))
	sshd := h.startSSHD(t, c.path(".ssh/authorized"), "")
	c.kita(t, 0, nil, "check", "on", sshd.url(), "with", c.path("ops.pem"))
	h.in.tool(t, "ssh-keygen", "-q", "-p", "-N", "open sesame", "-f", c.path(".ssh/id_ed25519"))
	c.write(t, "passphrase", "open sesame\n")
	c.kita(t, 0, nil, "check", "on", sshd.url(), "--key-passphrase-file", c.path("passphrase"))
	if _, said := c.kita(t, 1, nil, "check", "on", sshd.url()); !strings.Contains(said, "--key-passphrase-file") {
		t.Errorf("without a passphrase it says\n%s", said)
	}
}

// onTheScreen watches the host through its sshd.
func (h *sshHosts) onTheScreen(t *testing.T) {
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("there is no tmux: .ci/deps installs it")
	}
	c := h.newClient(t)
	c.write(t, ".ssh/authorized", c.public(t, "ops.pem"))
	sshd := h.startSSHD(t, c.path(".ssh/authorized"), "")
	term := terminal{c.path("tmux"), t}
	t.Cleanup(term.end)
	term.start("100", "16", c.home, []string{"PATH=" + world.bin + ":/usr/bin:/bin", "HOME=" + c.home, "KITA_E2E=" + h.in.mark})
	term.enter("kita top on " + sshd.url() + " with ops.pem")
	term.shows(`^> talker +running .* [0-9.]+ [kM]B `)
	term.shows(`^hello$`)
	term.tmux("send-keys", "-t", "t", "j")
	term.shows(`^> web +running`)
	term.tmux("send-keys", "-t", "t", "T", "y")
	term.shows(`^web stopped`)
	term.shows(`^> web +stopped`)
	term.tmux("send-keys", "-t", "t", "q")
	// What is typed while it ends may be lost with it.
	term.shows(`^\$$`)
	term.enter("clear; kita check web --watch on " + sshd.url() + " with ops.pem")
	term.shows(`^web +stopped`)
	c.kita(t, 0, nil, "start", "web", "on", sshd.url(), "with", c.path("ops.pem"))
	term.shows(`^web +running +[0-9]+ `)
	term.tmux("send-keys", "-t", "t", "q")
}

func (h *sshHosts) severalHosts(t *testing.T) {
	c := h.newClient(t)
	c.write(t, ".ssh/authorized", c.public(t, "ops.pem"))
	sshd := h.startSSHD(t, c.path(".ssh/authorized"), "")
	c.write(t, ".config/kita/hosts.yml", fmt.Sprintf("hosts:\n  db1: {address: %s, key: ~/ops.pem}\n", sshd.url()))
	dead := fmt.Sprintf("ssh://%s:1", h.in.addr)
	out, said := c.kita(t, 4, nil, "check", "web", "-o", "json", "on", dead+",db1,"+h.in.addr)
	var answers map[string]struct {
		Code string
		Spec struct{ Name string }
	}
	if err := json.Unmarshal([]byte(out), &answers); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	if len(answers) != 3 || answers[dead].Code != "unreachable" || answers["db1"].Spec.Name != "web" || answers[h.in.tcp()].Spec.Name != "web" {
		t.Errorf("the answers are\n%s%s", out, said)
	}
}

func (h *sshHosts) throughAnother(t *testing.T) {
	c := h.newClient(t)
	c.write(t, ".ssh/authorized", c.public(t, ".ssh/id_ed25519"))
	last := h.startSSHD(t, c.path(".ssh/authorized"), "")
	jump := h.startSSHD(t, c.path(".ssh/authorized"), fmt.Sprintf("PermitOpen %s:%d\n", h.in.addr, last.port))
	c.write(t, ".ssh/config", fmt.Sprintf("Host jump\n HostName %s\n Port %d\nHost last\n HostName %s\n Port %d\n ProxyJump jump\n", h.in.addr, jump.port, h.in.addr, last.port))
	_, said := c.kita(t, 0, nil, "check", "on", "ssh://last")
	if strings.Count(said, "is new") != 2 {
		t.Errorf("of the two hosts it says\n%s", said)
	}
}

func (h *sshHosts) changedHosts(t *testing.T) {
	c := h.newClient(t)
	c.write(t, ".ssh/authorized", c.public(t, ".ssh/id_ed25519"))
	sshd := h.startSSHD(t, c.path(".ssh/authorized"), "")
	if _, said := c.kita(t, 1, nil, "check", "--host-key-checking", "strict", "on", sshd.url()); !strings.Contains(said, "not known") {
		t.Errorf("of an unknown host it says\n%s", said)
	}
	other := c.public(t, "other")
	c.write(t, ".ssh/known_hosts", fmt.Sprintf("# mine\n[%s]:%d %s", h.in.addr, sshd.port, other))
	_, said := c.kita(t, 1, nil, "check", "on", sshd.url())
	for _, want := range []string{c.path(".ssh/known_hosts") + ":2", "ssh-keygen -R"} {
		if !strings.Contains(said, want) {
			t.Errorf("of a host that has changed it says\n%swithout %s", said, want)
		}
	}
}

func (h *sshHosts) nothingForwarded(t *testing.T) {
	c := h.newClient(t)
	c.write(t, ".ssh/authorized", "restrict "+c.public(t, ".ssh/id_ed25519"))
	sshd := h.startSSHD(t, c.path(".ssh/authorized"), "AllowTcpForwarding no\nAllowStreamLocalForwarding no\n")
	out, _ := c.kita(t, 0, nil, "restart", "web", "on", sshd.url())
	if !strings.Contains(out, "web restarted") {
		t.Errorf("it says\n%s", out)
	}
	h.output(t, c, nil, sshd.url())
	c.write(t, ".ssh/authorized", `restrict,command="true" `+c.public(t, ".ssh/id_ed25519"))
	if _, said := c.kita(t, 4, nil, "check", "on", sshd.url()); !strings.Contains(said, "commands cannot be run there") {
		t.Errorf("with another command it says\n%s", said)
	}
}

func (h *sshHosts) onlyOld(t *testing.T) {
	c := h.newClient(t)
	c.write(t, ".ssh/authorized", c.public(t, ".ssh/id_ed25519"))
	c.write(t, "bin/supervisor-rs-client", "#!/bin/sh\nprintf 'Server 127.0.0.1:33889 response:\\n%s' \"$1 $2 success\"\n")
	if err := os.Chmod(c.path("bin/supervisor-rs-client"), 0o755); err != nil {
		t.Fatal(err)
	}
	sshd := h.startSSHD(t, c.path(".ssh/authorized"), "SetEnv PATH="+c.path("bin")+":/usr/bin:/bin KITA_SOCKET=/nowhere\n")
	if out, _ := c.kita(t, 0, nil, "start", "web", "on", sshd.url()); out != "Server "+sshd.url()+" response:\nstart web success\n" {
		t.Errorf("it says\n%s", out)
	}
	// Its status is always 0: what it says decides.
	c.kita(t, 1, nil, "check", "on", sshd.url())
	if _, said := c.kita(t, 1, nil, "check", "-o", "json", "on", sshd.url()); !strings.Contains(said, "leave out -o json") {
		t.Errorf("it says\n%s", said)
	}
}

func (h *sshHosts) noServer(t *testing.T) {
	c := h.newClient(t)
	c.write(t, ".ssh/authorized", c.public(t, ".ssh/id_ed25519"))
	sshd := h.startSSHD(t, c.path(".ssh/authorized"), "AllowTcpForwarding no\nSetEnv KITA_SOCKET=/nowhere/kita.sock PATH="+world.bin+":/usr/bin:/bin\n")
	if _, said := c.kita(t, 4, nil, "check", "on", sshd.url()); !strings.Contains(said, "no server answers on /nowhere/kita.sock") || strings.Count(said, "\n") != 2 {
		t.Errorf("it says\n%s", said)
	}
	sshd.end(t)
	if _, said := c.kita(t, 4, nil, "check", "on", sshd.url()); !strings.Contains(said, "connection refused") {
		t.Errorf("of a host without sshd it says\n%s", said)
	}
}

// viaLoopback has a network of its own, because the port of the server is the
// same everywhere.
func viaLoopback(t *testing.T) {
	needSandbox(t)
	enter := newNamespace(t).enter()
	in := newServerAs(t, append(enter, filepath.Join(world.bin, "kita"), "serve", "server.yml"), "mode: full\nlistener_addr: 127.0.0.1\n", map[string]string{"web": "command: sleep 1000\n"})
	h := newSSHHosts(t, in)
	h.enter = enter
	c := h.newClient(t)
	c.write(t, ".ssh/authorized", c.public(t, ".ssh/id_ed25519"))
	sshd := h.startSSHD(t, c.path(".ssh/authorized"), "AllowStreamLocalForwarding no\nPermitOpen 127.0.0.1:33889\n")
	c.kita(t, 0, enter, "restart", "web", "on", sshd.url())
	if out, _ := c.kita(t, 0, enter, "check", "web", "on", sshd.url()); !strings.Contains(out, "by 127.0.0.1 without a key") {
		t.Errorf("the server was asked another way, it says\n%s", out)
	}
}
