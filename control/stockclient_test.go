package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh/knownhosts"
)

// stock is the client of OpenSSH, with a key that the server admits.
type stock struct {
	*sshHouse
	key string
}

// tool runs a program of OpenSSH or OpenSSL and returns what it printed.
func (h *sshHouse) tool(t *testing.T, name string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = h.dir
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + h.dir, "LC_ALL=C"}
	c.WaitDelay = 10 * time.Second
	var o, e bytes.Buffer
	c.Stdout, c.Stderr = &o, &e
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", name, err)
	}
	return o.String(), e.String(), c.ProcessState.ExitCode()
}

func (h *sshHouse) mustTool(t *testing.T, name string, args ...string) string {
	t.Helper()
	stdout, stderr, status := h.tool(t, name, args...)
	if status != 0 {
		t.Fatalf("%s %q ends with %d: %s%s", name, args, status, stdout, stderr)
	}
	return stdout
}

// options are those of ssh that leave nothing to the user's own files.
func (s stock) options(t *testing.T) []string {
	t.Helper()
	known := filepath.Join(s.dir, "known_hosts")
	line := knownhosts.Line([]string{knownhosts.Normalize(s.addr)}, s.hostKey)
	if err := os.WriteFile(known, []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	return []string{
		"-F", "none", "-o", "Port=" + port, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile=" + known,
		"-o", "GlobalKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-i", s.key,
	}
}

func (s stock) ssh(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	return s.tool(t, "ssh", append(s.options(t), args...)...)
}

func newStock(t *testing.T, opt Options) stock {
	t.Helper()
	for _, name := range []string{"ssh", "ssh-keygen", "openssl"} {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	s := stock{sshHouse: newSSHHouse(t, opt)}
	s.admit(t, "ops")
	s.key = filepath.Join(s.dir, "ops.pem")
	return s
}

func TestStockClient(t *testing.T) {
	s := newStock(t, Options{Exec: echo, Encrypt: true})
	stdout, stderr, status := s.ssh(t, "x@127.0.0.1", "check", "a")
	if stdout != "ssh:ops@127.0.0.1 said check a\n" || stderr != "4 children, <nil>\n" || status != 7 {
		t.Errorf("check ends with %d and prints %q and %q", status, stdout, stderr)
	}
	for _, c := range []struct {
		name   string
		args   []string
		status int
		stderr string
	}{
		{"no command", []string{"x@127.0.0.1"}, 2, "kita has no shell, give a command"},
		{"a terminal", []string{"-tt", "x@127.0.0.1", "check"}, 255, "PTY allocation request failed"},
		{"agent forwarding and environment", []string{"-A", "-o", "SetEnv=A=b", "x@127.0.0.1", "check"}, 5, ""},
		{"another subsystem", []string{"-s", "x@127.0.0.1", "sftp"}, 255, "subsystem request failed"},
		{"forwarding of a port there", []string{"-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1", "x@127.0.0.1", "check"}, 255, "remote port forwarding failed"},
		{"to another address", []string{"-W", "127.0.0.1:22", "x@127.0.0.1"}, 255, "kita forwards nothing"},
		{"a tunnel", []string{"-w", "0:0", "-o", "ExitOnForwardFailure=yes", "x@127.0.0.1", "check"}, 255, ""},
		{"a line that is too long", []string{"x@127.0.0.1", strings.Repeat("x", 100_000)}, 2, "longer than 65536 bytes"},
		{"SHA-1", []string{"-o", "PubkeyAcceptedAlgorithms=ssh-rsa", "x@127.0.0.1", "check"}, 255, "Permission denied"},
		{"another cipher", []string{"-o", "Ciphers=aes128-cbc", "x@127.0.0.1", "check"}, 255, "no matching cipher"},
		{"another key exchange", []string{"-o", "KexAlgorithms=diffie-hellman-group14-sha1", "x@127.0.0.1", "check"}, 255, "no matching key exchange"},
		{"a password", []string{"-o", "PubkeyAuthentication=no", "x@127.0.0.1", "check"}, 255, "Permission denied (publickey)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, stderr, status := s.ssh(t, c.args...)
			if status != c.status || !strings.Contains(stderr, c.stderr) {
				t.Errorf("it ends with %d, want %d, and prints %q", status, c.status, stderr)
			}
		})
	}
	t.Run("forwarding of a port here", func(t *testing.T) {
		free := listenLocal(t)
		port := free.Addr().(*net.TCPAddr).Port
		_ = free.Close()
		// The forwarding is up while the command waits for its end of file.
		began, end := make(chan struct{}), make(chan struct{})
		other := newStock(t, Options{Exec: func(context.Context, Exec) int {
			close(began)
			<-end
			return 0
		}})
		var stderr string
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, stderr, _ = other.ssh(t, "-L", fmt.Sprintf("%d:%s", port, s.addr), "x@127.0.0.1", "wait")
		}()
		<-began
		nc, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
			if n, err := nc.Read(make([]byte, 1)); n > 0 || err == nil {
				t.Error("the server forwards to a port")
			}
			_ = nc.Close()
		}
		close(end)
		<-done
		if !strings.Contains(stderr, "kita forwards nothing") {
			t.Errorf("ssh prints %q", stderr)
		}
	})
	if panics := s.Stats().Panics; panics != 0 {
		t.Errorf("%d panics", panics)
	}
}

func TestStockClientKeys(t *testing.T) {
	s := newStock(t, Options{Exec: echo})
	for name, args := range map[string][]string{
		"rsa": {"-t", "rsa", "-b", "2048"}, "ecdsa256": {"-t", "ecdsa", "-b", "256"}, "ecdsa384": {"-t", "ecdsa", "-b", "384"},
		"ecdsa521": {"-t", "ecdsa", "-b", "521"}, "ed25519": {"-t", "ed25519"},
	} {
		t.Run(name, func(t *testing.T) {
			key := filepath.Join(s.dir, name)
			s.mustTool(t, "ssh-keygen", append(args, "-q", "-N", "", "-C", name, "-f", key)...)
			if err := os.Rename(key+".pub", s.pub(name)); err != nil {
				t.Fatal(err)
			}
			with := stock{s.sshHouse, key}
			stdout, stderr, status := with.ssh(t, "x@127.0.0.1", "hi")
			if stdout != "ssh:"+name+"@127.0.0.1 said hi\n" || status != 2 {
				t.Errorf("it ends with %d and prints %q and %q", status, stdout, stderr)
			}
		})
	}
	t.Run("openssl", func(t *testing.T) {
		key := filepath.Join(s.dir, "old.pem")
		s.mustTool(t, "openssl", "genrsa", "-out", key, "2048")
		s.mustTool(t, "openssl", "rsa", "-in", key, "-outform", "PEM", "-pubout", "-out", filepath.Join(s.dir, "pub", "old.pem"))
		if stdout, stderr, _ := (stock{s.sshHouse, key}).ssh(t, "x@127.0.0.1", "hi"); stdout != "ssh:old@127.0.0.1 said hi\n" {
			t.Errorf("it prints %q and %q", stdout, stderr)
		}
	})
	t.Run("a key that is too weak", func(t *testing.T) {
		key := filepath.Join(s.dir, "weak.pem")
		s.mustTool(t, "openssl", "genrsa", "-out", key, "1024")
		s.mustTool(t, "openssl", "rsa", "-in", key, "-outform", "PEM", "-pubout", "-out", filepath.Join(s.dir, "pub", "weak.pem"))
		_, known, _ := (stock{s.sshHouse, key}).ssh(t, "-o", "RequiredRSASize=1024", "x@127.0.0.1", "hi")
		s.wantAudit(t, `"connect"`, "1024")
		if err := os.Remove(filepath.Join(s.dir, "pub", "weak.pem")); err != nil {
			t.Fatal(err)
		}
		_, unknown, status := (stock{s.sshHouse, key}).ssh(t, "-o", "RequiredRSASize=1024", "x@127.0.0.1", "hi")
		if status != 255 || known != unknown || !strings.Contains(known, "Permission denied") {
			t.Errorf("ends with %d: a weak key is told %q, an unknown one %q", status, known, unknown)
		}
	})
}
