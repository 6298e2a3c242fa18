package e2e

import (
	"bytes"
	"context"
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

// needSSHD skips a test where there is none; the machine that decides has one.
func needSSHD(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(sshdProgram); err != nil && os.Getenv("CI") != "true" {
		t.Skip("there is no sshd: .ci/deps installs it")
	}
}

// separation makes the directory in which an sshd of root confines its children,
// where the system has not. Only one test may do so: it goes with the test.
func separation(t *testing.T) {
	t.Helper()
	const dir = "/run/sshd"
	if os.Geteuid() != 0 {
		return
	}
	switch err := os.Mkdir(dir, 0o755); {
	case err == nil:
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
