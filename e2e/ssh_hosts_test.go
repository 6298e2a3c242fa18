package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const sshdProgram = "/usr/sbin/sshd"

// TestSSHHosts asks a server through a real sshd of its host, in the ways that
// different sshds leave.
func TestSSHHosts(t *testing.T) {
	if _, err := os.Stat(sshdProgram); err != nil && os.Getenv("CI") != "true" {
		t.Skip("there is no sshd: .ci/deps installs it")
	}
	t.Parallel()
	separation(t)
	in := newServer(t, "mode: full\n", map[string]string{"web": "command: sleep 1000\n"})
	h := newSSHHosts(t, in)

	t.Run("keys of the agent alone", func(t *testing.T) {
		c := h.newClient(t)
		c.write(t, ".ssh/authorized", c.public(t, "elsewhere/mine"))
		agent := startAgent(t, in)
		in.tool(t, append(agent, "ssh-add", "-q", c.path("elsewhere/mine"))...)
		sshd := h.startSSHD(t, c.path(".ssh/authorized"), "")
		out, said := c.kita(t, 0, agent, "check", "on", sshd.url())
		if !strings.Contains(out, "web ") || !strings.Contains(said, "is new: its ED25519 key SHA256:") {
			t.Errorf("it says\n%s%s", out, said)
		}
		if _, said := c.kita(t, 0, agent, "trystart", "web", "on", sshd.url()); said != "" {
			t.Errorf("the second time it says on stderr\n%s", said)
		}
		_, said = c.kita(t, 1, nil, "check", "on", sshd.url())
		if !strings.Contains(said, "there is no key to offer") {
			t.Errorf("without the agent it says\n%s", said)
		}
	})

	t.Run("~/.ssh/config", func(t *testing.T) {
		c := h.newClient(t)
		c.write(t, ".ssh/authorized", c.public(t, "keys/web key"))
		sshd := h.startSSHD(t, c.path(".ssh/authorized"), "")
		c.write(t, ".ssh/config", "Include conf.d/*\nHost *\n User nobody-of-that-name\n")
		c.write(t, ".ssh/conf.d/web", fmt.Sprintf("Host prod-*\n HostName %s\n Port %d\n User %s\n IdentityFile \"%%d/keys/web key\"\n", in.addr, sshd.port, h.login))
		out, _ := c.kita(t, 0, nil, "check", "web", "-o", "json", "on", "ssh://prod-1")
		if !strings.Contains(out, `"name": "web"`) {
			t.Errorf("it says\n%s", out)
		}
		if _, said := c.kita(t, 1, nil, "check", "on", fmt.Sprintf("ssh://nobody@prod-1:%d", sshd.port)); !strings.Contains(said, "does not let nobody in") {
			t.Errorf("as nobody it says\n%s", said)
		}
	})

	t.Run("a key with a passphrase, and one of `with`", func(t *testing.T) {
		c := h.newClient(t)
		c.write(t, ".ssh/authorized", c.public(t, ".ssh/id_ed25519")+c.public(t, "ops.pem"))
		sshd := h.startSSHD(t, c.path(".ssh/authorized"), "")
		c.kita(t, 0, nil, "check", "on", sshd.url(), "with", c.path("ops.pem"))
		in.tool(t, "ssh-keygen", "-q", "-p", "-N", "open sesame", "-f", c.path(".ssh/id_ed25519"))
		c.write(t, "passphrase", "open sesame\n")
		c.kita(t, 0, nil, "check", "on", sshd.url(), "--key-passphrase-file", c.path("passphrase"))
		if _, said := c.kita(t, 1, nil, "check", "on", sshd.url()); !strings.Contains(said, "--key-passphrase-file") {
			t.Errorf("without a passphrase it says\n%s", said)
		}
	})

	t.Run("several hosts, of hosts.yml and not", func(t *testing.T) {
		c := h.newClient(t)
		c.write(t, ".ssh/authorized", c.public(t, "ops.pem"))
		sshd := h.startSSHD(t, c.path(".ssh/authorized"), "")
		c.write(t, ".config/kita/hosts.yml", fmt.Sprintf("hosts:\n  db1: {address: %s, key: ~/ops.pem}\n", sshd.url()))
		dead := fmt.Sprintf("ssh://%s:1", in.addr)
		out, said := c.kita(t, 4, nil, "check", "web", "-o", "json", "on", dead+",db1,"+in.addr)
		var answers map[string]struct {
			Code string
			Spec struct{ Name string }
		}
		if err := json.Unmarshal([]byte(out), &answers); err != nil {
			t.Fatalf("%v:\n%s", err, out)
		}
		if len(answers) != 3 || answers[dead].Code != "unreachable" || answers["db1"].Spec.Name != "web" || answers[in.tcp()].Spec.Name != "web" {
			t.Errorf("the answers are\n%s%s", out, said)
		}
	})

	t.Run("through another host", func(t *testing.T) {
		c := h.newClient(t)
		c.write(t, ".ssh/authorized", c.public(t, ".ssh/id_ed25519"))
		last := h.startSSHD(t, c.path(".ssh/authorized"), "")
		jump := h.startSSHD(t, c.path(".ssh/authorized"), fmt.Sprintf("PermitOpen %s:%d\n", in.addr, last.port))
		c.write(t, ".ssh/config", fmt.Sprintf("Host jump\n HostName %s\n Port %d\nHost last\n HostName %s\n Port %d\n ProxyJump jump\n", in.addr, jump.port, in.addr, last.port))
		_, said := c.kita(t, 0, nil, "check", "on", "ssh://last")
		if strings.Count(said, "is new") != 2 {
			t.Errorf("of the two hosts it says\n%s", said)
		}
	})

	t.Run("hosts that are not who they were", func(t *testing.T) {
		c := h.newClient(t)
		c.write(t, ".ssh/authorized", c.public(t, ".ssh/id_ed25519"))
		sshd := h.startSSHD(t, c.path(".ssh/authorized"), "")
		if _, said := c.kita(t, 1, nil, "check", "--host-key-checking", "strict", "on", sshd.url()); !strings.Contains(said, "not known") {
			t.Errorf("of an unknown host it says\n%s", said)
		}
		other := c.public(t, "other")
		c.write(t, ".ssh/known_hosts", fmt.Sprintf("# mine\n[%s]:%d %s", in.addr, sshd.port, other))
		_, said := c.kita(t, 1, nil, "check", "on", sshd.url())
		for _, want := range []string{c.path(".ssh/known_hosts") + ":2", "ssh-keygen -R"} {
			if !strings.Contains(said, want) {
				t.Errorf("of a host that has changed it says\n%swithout %s", said, want)
			}
		}
	})

	t.Run("nothing is forwarded", func(t *testing.T) {
		c := h.newClient(t)
		c.write(t, ".ssh/authorized", "restrict "+c.public(t, ".ssh/id_ed25519"))
		sshd := h.startSSHD(t, c.path(".ssh/authorized"), "AllowTcpForwarding no\nAllowStreamLocalForwarding no\n")
		out, _ := c.kita(t, 0, nil, "restart", "web", "on", sshd.url())
		if !strings.Contains(out, "web restarted") {
			t.Errorf("it says\n%s", out)
		}
		c.write(t, ".ssh/authorized", `restrict,command="true" `+c.public(t, ".ssh/id_ed25519"))
		if _, said := c.kita(t, 4, nil, "check", "on", sshd.url()); !strings.Contains(said, "commands cannot be run there") {
			t.Errorf("with another command it says\n%s", said)
		}
	})

	t.Run("only supervisor-rs-client", func(t *testing.T) {
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
	})

	t.Run("no server", func(t *testing.T) {
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
	})
}

// TestSSHHostOnLoopback: the port of the server is the same everywhere, so this
// one has a network of its own.
func TestSSHHostOnLoopback(t *testing.T) {
	if _, err := os.Stat(sshdProgram); err != nil && os.Getenv("CI") != "true" {
		t.Skip("there is no sshd: .ci/deps installs it")
	}
	if os.Geteuid() != 0 {
		t.Skip("a network of its own needs root")
	}
	t.Parallel()
	separation(t)
	enter := newNamespace(t).enter()
	in := newServerAs(t, append(enter, filepath.Join(world.bin, "kita"), "serve", "server.yml"), "mode: full\nlistener_addr: 127.0.0.1\n", map[string]string{"web": "command: sleep 1000\n"})
	h := newSSHHosts(t, in)
	h.enter = enter
	c := h.newClient(t)
	c.write(t, ".ssh/authorized", c.public(t, ".ssh/id_ed25519"))
	sshd := h.startSSHD(t, c.path(".ssh/authorized"), "AllowStreamLocalForwarding no\nPermitOpen 127.0.0.1:33889\n")
	c.kita(t, 0, enter, "restart", "web", "on", sshd.url())
	if out, _ := c.kita(t, 0, enter, "check", "web", "on", sshd.url()); !strings.Contains(out, "by tcp:127.0.0.1") {
		t.Errorf("the server was asked another way, it says\n%s", out)
	}
}

// separation makes the directory in which an sshd of root confines its children.
func separation(t *testing.T) {
	t.Helper()
	const dir = "/run/sshd"
	if os.Geteuid() != 0 {
		return
	}
	switch err := os.Mkdir(dir, 0o755); {
	case err == nil:
		// Not with the test: another one may have come to need it meanwhile.
		t.Cleanup(func() { _ = os.Remove(dir) })
	case !os.IsExist(err):
		t.Fatal(err)
	}
}

// sshHosts are the sshds of one server's host.
type sshHosts struct {
	in    *instance
	login string
	enter []string
	port  int
}

func newSSHHosts(t *testing.T, in *instance) *sshHosts {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return &sshHosts{in: in, login: me.Username, port: 2200}
}

// sshd is one that runs.
type sshd struct {
	*sshHosts
	addr string
	port int
	cmd  *exec.Cmd
	done chan struct{}
}

func (s *sshd) url() string { return fmt.Sprintf("ssh://%s@%s:%d", s.login, s.addr, s.port) }

// startSSHD runs an sshd which lets in the keys of a file, until the test ends.
// What it runs finds the server unless config says otherwise.
func (h *sshHosts) startSSHD(t *testing.T, authorized, config string) *sshd {
	t.Helper()
	h.port++
	s := &sshd{sshHosts: h, addr: h.in.addr, port: h.port, done: make(chan struct{})}
	if h.enter != nil {
		s.addr = "127.0.0.1"
	}
	name := h.in.path(fmt.Sprintf("sshd-%d", s.port))
	h.in.tool(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", name+".key")
	// The first value of a keyword counts.
	config += fmt.Sprintf("Port %d\nListenAddress %s\nHostKey %s.key\nAuthorizedKeysFile %s\n", s.port, s.addr, name, authorized) +
		"UsePAM no\nStrictModes no\nPidFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n" +
		"SetEnv KITA_SOCKET=" + h.in.socket() + " PATH=" + world.bin + ":/usr/bin:/bin\n"
	if err := os.WriteFile(name+".conf", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(name + ".log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s.cmd = h.in.command(append(append([]string{}, h.enter...), sshdProgram, "-D", "-e", "-f", name+".conf")...)
	s.cmd.Stderr = log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.done)
		_ = s.cmd.Wait()
	}()
	t.Cleanup(func() {
		s.end(t)
		if t.Failed() {
			t.Logf("sshd on port %d says\n%s", s.port, h.log(s))
		}
	})
	h.awaitLog(t, s, "Server listening on")
	return s
}

func (h *sshHosts) log(s *sshd) string {
	text, _ := os.ReadFile(h.in.path(fmt.Sprintf("sshd-%d.log", s.port)))
	return string(text)
}

func (h *sshHosts) awaitLog(t *testing.T, s *sshd, want string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for timeout := time.After(patience); !strings.Contains(h.log(s), want); {
		select {
		case <-tick.C:
		case <-s.done:
			t.Fatalf("sshd has ended:\n%s", h.log(s))
		case <-timeout:
			t.Fatalf("sshd does not say %q:\n%s", want, h.log(s))
		}
	}
}

// end ends the sshd; those of its connections end with their clients.
func (s *sshd) end(t *testing.T) {
	t.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(patience):
		t.Error("sshd does not end")
		_ = s.cmd.Process.Kill()
		<-s.done
	}
}

// startAgent runs an ssh-agent until the test ends, and returns what goes
// before a command that is to use it.
func startAgent(t *testing.T, in *instance) []string {
	t.Helper()
	socket := in.path("agent")
	agent := in.command("ssh-agent", "-D", "-a", socket)
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = agent.Process.Signal(syscall.SIGTERM)
		_ = agent.Wait()
	})
	if err := in.awaitFile("agent"); err != nil {
		t.Fatal(err)
	}
	return []string{"env", "SSH_AUTH_SOCK=" + socket}
}

// sshClient is somebody with a home directory.
type sshClient struct {
	*sshHosts
	home string
}

func (h *sshHosts) newClient(t *testing.T) *sshClient {
	t.Helper()
	c := &sshClient{h, t.TempDir()}
	for _, dir := range []string{".ssh", ".ssh/conf.d", "bin", "keys", "elsewhere", ".config/kita"} {
		if err := os.MkdirAll(c.path(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c *sshClient) path(name string) string { return filepath.Join(c.home, name) }

func (c *sshClient) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(c.path(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// public makes a key in the file, unless it is there, and returns the line of
// its public half.
func (c *sshClient) public(t *testing.T, name string) string {
	t.Helper()
	if _, err := os.Stat(c.path(name)); err != nil {
		c.in.tool(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", c.path(name))
	}
	text, err := os.ReadFile(c.path(name) + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// kita runs a command as the client, after the words of before, and wants its
// exit status.
func (c *sshClient) kita(t *testing.T, want int, before []string, args ...string) (stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	words := append(append([]string{}, before...), append([]string{filepath.Join(world.bin, "kita")}, args...)...)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir = c.home
	cmd.Env = append([]string{}, c.in.env...)
	cmd.Env = append(cmd.Env, "HOME="+c.home)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	// Its own session has no terminal on which a passphrase could be asked for.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	_ = cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != want {
		t.Errorf("kita %s: exit status %d, want %d\n%s%s", strings.Join(args, " "), got, want, out.String(), said.String())
	}
	return out.String(), said.String()
}
