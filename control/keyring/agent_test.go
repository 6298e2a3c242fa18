package keyring_test

import (
	"bufio"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"kita/control/keyring"
)

// startAgent runs a real ssh-agent until the test ends.
func startAgent(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	cmd := exec.Command("ssh-agent", "-D", "-a", socket)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	// It tells of its socket once it listens.
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Fatalf("ssh-agent says %q, %v", line, err)
	}
	t.Setenv("SSH_AUTH_SOCK", socket)
}

// addKey makes a key and gives it to the agent under the comment.
func addKey(t *testing.T, kind, comment string) ssh.PublicKey {
	t.Helper()
	path, public := madeKey(t, "ssh-keygen", "-q", "-t", kind, "-C", comment, "-N", "", "-f", "FILE")
	tool(t, "ssh-add", "-q", path)
	return public
}

func TestKeysOfTheAgent(t *testing.T) {
	startAgent(t)
	_, err := keyring.OpenPrivate(t.Context(), "agent:ops", nil)
	says(t, err, `has no key "ops", it has none at all: ssh-add KEY`)

	rsa := addKey(t, "rsa", "/home/x/keys/ops.pem")
	ed := addKey(t, "ed25519", "me@laptop")
	exact := addKey(t, "ecdsa", "deploy")
	addKey(t, "ed25519", "/keys/deploy.pem")
	twin := addKey(t, "ed25519", "twin")
	other := addKey(t, "ed25519", "twin")
	for name, public := range map[string]ssh.PublicKey{
		"ops": rsa, "/home/x/keys/ops.pem": rsa, "me@laptop": ed, ssh.FingerprintSHA256(ed): ed,
		// A whole comment says more than the end of one.
		"deploy": exact,
	} {
		ctx, cancel := context.WithCancel(t.Context())
		p, err := keyring.OpenPrivate(ctx, "agent:"+name, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			cancel()
			continue
		}
		worksAs(t, p, public)
		if _, isRSA := p.RSA(); p.Name != name || isRSA {
			t.Errorf("name %q, RSA %v", p.Name, isRSA)
		}
		if signature, err := p.Sign(nil, []byte("x")); err != nil || signature.Format == ssh.KeyAlgoRSA {
			t.Errorf("%s: signs with %v, %v", name, signature, err)
		}
		cancel()
	}
	_, err = keyring.OpenPrivate(t.Context(), "agent:twin", nil)
	says(t, err, "may mean any of", ssh.FingerprintSHA256(twin), ssh.FingerprintSHA256(other))
	_, err = keyring.OpenPrivate(t.Context(), "agent:nobody", nil)
	says(t, err, `no key "nobody"`, `"me@laptop"`, ssh.FingerprintSHA256(ed))
	_, err = keyring.OpenPrivate(t.Context(), "agent:", nil)
	says(t, err, "write agent:NAME")
}

func TestNoAgent(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	_, err := keyring.OpenPrivate(t.Context(), "agent:ops", nil)
	says(t, err, "SSH_AUTH_SOCK is not set")
	t.Setenv("SSH_AUTH_SOCK", filepath.Join(t.TempDir(), "none"))
	_, err = keyring.OpenPrivate(t.Context(), "agent:ops", nil)
	says(t, err, "cannot reach the ssh-agent")
}

// TestAKeyOfTheAgentThatCannotBeUsed has an agent of the test, because a real
// one refuses such keys by itself.
func TestAKeyOfTheAgentThatCannotBeUsed(t *testing.T) {
	keys := agent.NewKeyring()
	if err := keys.Add(agent.AddedKey{PrivateKey: rsaKey(t, 1024), Comment: "old"}); err != nil {
		t.Fatal(err)
	}
	serveAgent(t, func(conn net.Conn) { _ = agent.ServeAgent(keys, conn) })
	_, err := keyring.OpenPrivate(t.Context(), "agent:old", nil)
	says(t, err, `"old"`, "an RSA key of 1024 bits is too weak")
}

func TestAnAgentThatDoesNotAnswer(t *testing.T) {
	asked := make(chan struct{})
	serveAgent(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 1))
		close(asked)
		_, _ = conn.Read(make([]byte, 1024))
		_, _ = conn.Read(make([]byte, 1024))
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	_, err := keyring.OpenPrivate(ctx, "agent:ops", nil)
	says(t, err, "cannot list the keys of the ssh-agent")
}

func serveAgent(t *testing.T, serve func(net.Conn)) {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ln, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		serve(conn)
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
	t.Setenv("SSH_AUTH_SOCK", strings.TrimPrefix(ln.Addr().String(), "unix:"))
}
