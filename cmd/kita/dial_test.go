package main

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"kita/control"
	"kita/control/controltest"
	"kita/spec"
)

// locked is an encrypted server of svc, with one user.
type locked struct {
	addr string
	// key is the user's private key, public its other half at the server.
	key, public string
}

func serveLocked(t *testing.T, svc *controltest.Service) locked {
	t.Helper()
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	dir := t.TempDir()
	l := locked{key: filepath.Join(dir, "ops"), public: filepath.Join(dir, "pub", "ops.pub")}
	user := newKeyFile(t, l.key)
	if err := os.Mkdir(filepath.Dir(l.public), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.public, ssh.MarshalAuthorizedKey(user.PublicKey()), 0o600); err != nil {
		t.Fatal(err)
	}
	config := spec.DefaultServer()
	config.PubKeysPath = []string{filepath.Dir(l.public)}
	s := control.NewServer(control.Options{
		Service: svc, Encrypt: true, HostKey: newKeyFile(t, filepath.Join(dir, "host")),
		Config: func() *spec.Server { return config },
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.ServeTCP(context.Background(), ln) })
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
		serving.Wait()
	})
	l.addr = ln.Addr().String()
	return l
}

func newKeyFile(t *testing.T, file string) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func TestWithAKey(t *testing.T) {
	server := serveLocked(t, controltest.New(controltest.Child("web")))
	status, out, stderr := kita("", "start", "web", "on", server.addr, "with", server.key)
	if status != exitOK || !strings.HasPrefix(out, "web started, PID ") || !strings.Contains(stderr, "SHA256:") {
		t.Errorf("status %d, stdout %q, stderr %q", status, out, stderr)
	}
	status, out, stderr = kita("", "check", "with", server.key, "on", server.addr, "--host-key-checking", "strict")
	if status != exitOK || !strings.Contains(out, "web") || stderr != "" {
		t.Errorf("status %d, stdout %q, stderr %q", status, out, stderr)
	}
}

// TestCompletionAsksAsTheCommandWould: with its key, of servers that are known,
// and none of another kind.
func TestCompletionAsksAsTheCommandWould(t *testing.T) {
	server := serveLocked(t, controltest.New(controltest.Child("web")))
	ask := []string{"__complete", "start", "--on", server.addr, "--with", server.key, ""}
	if _, out, stderr := kita("", ask...); strings.Contains(out, "web") || strings.Contains(stderr, "SHA256") {
		t.Errorf("of an unknown server: stdout %q, stderr %q", out, stderr)
	}
	if status, _, stderr := kita("", "info", "--on", server.addr, "--with", server.key); status != exitOK {
		t.Fatal(stderr)
	}
	if _, out, _ := kita("", ask...); !strings.HasPrefix(out, "web\tstopped\n") {
		t.Errorf("stdout %q", out)
	}
	addr, requests := oldServerStub(t, 1, "x")
	kita("", "__complete", "start", "--legacy", "--on", addr, "")
	if got := requests(); len(got) > 0 {
		t.Errorf("a server of supervisor-rs was sent %q", got)
	}
}

func TestWhoIsNotLetInHasACodeOfItsOwn(t *testing.T) {
	server, other := serveLocked(t, controltest.New()), serveLocked(t, controltest.New())
	// The second server at the address of the first.
	if status, _, stderr := kita("", "check", "on", server.addr, "with", server.key); status != exitOK {
		t.Fatal(stderr)
	}
	file := filepath.Join(os.Getenv("XDG_CONFIG_HOME"), "kita", "known_hosts")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(server.addr)
	_, otherPort, _ := net.SplitHostPort(other.addr)
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), port, otherPort)), 0o600); err != nil {
		t.Fatal(err)
	}
	// This key is that of the second server: the first one does not know it.
	status, out, stderr := kita("", "check", "-o", "json", "on", server.addr+","+other.addr, "with", other.key)
	if status != exitFailed || !strings.Contains(out, `"code": "key-refused"`) || !strings.Contains(out, `"code": "host-key"`) {
		t.Errorf("status %d, stdout %s, stderr %s", status, out, stderr)
	}
	if !strings.Contains(stderr, "kita: 2 of 2 hosts failed: "+server.addr+" (key refused), "+other.addr+" (host key)") {
		t.Errorf("stderr %s", stderr)
	}
}

// TestAKeyThatIsRevokedInBetweenIsRefused: the second request of a command
// meets a connection that the server has ended, or is about to.
func TestAKeyThatIsRevokedInBetweenIsRefused(t *testing.T) {
	server := serveLocked(t, controltest.New())
	p := &program{name: "kita", err: new(strings.Builder)}
	r, err := p.request(spec.VerbCheck, []string{"on", server.addr, "with", server.key}, flags{timeout: defaultTimeout})
	if err != nil {
		t.Fatal(err)
	}
	err = p.withKeys(t.Context(), r, func(ctx context.Context) error {
		target, closer, err := p.target(ctx, r, r.hosts[0])
		if err != nil {
			return err
		}
		defer closer.Close()
		client := control.Dial(target)
		defer client.Close()
		if _, err := client.List(ctx); err != nil {
			return err
		}
		if err := os.Remove(server.public); err != nil {
			return err
		}
		if _, err = client.List(ctx); exitStatus(err) != exitFailed {
			t.Errorf("exit status %d, error %v", exitStatus(err), err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
