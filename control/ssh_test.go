package control

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"kita/control/sshchan"
	"kita/spec"
)

// sshHouse is a server with keys: the directory pub has the public halves, keys
// the private ones.
type sshHouse struct {
	*tcpServer
	dir     string
	hostKey ssh.PublicKey
	audit   string
}

func newKey(t testing.TB) (ssh.Signer, ed25519.PrivateKey) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer, private
}

// sshOptions are opt with a host key and with pub_keys_path and audit_log in
// dir.
func sshOptions(t testing.TB, dir string, opt Options) Options {
	t.Helper()
	if err := os.Mkdir(filepath.Join(dir, "pub"), 0o700); err != nil {
		t.Fatal(err)
	}
	opt.HostKey, _ = newKey(t)
	config := spec.DefaultServer()
	config.PubKeysPath = []string{filepath.Join(dir, "pub")}
	config.AuditLog = filepath.Join(dir, "audit.log")
	if opt.Config == nil {
		opt.Config = func() *spec.Server { return config }
	}
	return opt
}

func newSSHHouse(t *testing.T, opt Options) *sshHouse {
	t.Helper()
	dir := t.TempDir()
	opt = sshOptions(t, dir, opt)
	return &sshHouse{tcpServer: newTCPServer(t, opt), dir: dir, hostKey: opt.HostKey.PublicKey(), audit: filepath.Join(dir, "audit.log")}
}

// admit makes a key that the server admits under the name.
func (h *sshHouse) admit(t testing.TB, name string) ssh.Signer {
	t.Helper()
	signer, private := newKey(t)
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		os.WriteFile(h.pub(name), ssh.MarshalAuthorizedKey(signer.PublicKey()), 0o600),
		os.WriteFile(filepath.Join(h.dir, name+".pem"), pem.EncodeToMemory(block), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	return signer
}

func (h *sshHouse) pub(name string) string { return filepath.Join(h.dir, "pub", name+".pub") }

// login connects with the keys.
func (h *sshHouse) login(t testing.TB, keys ...ssh.Signer) (*ssh.Client, error) {
	t.Helper()
	client, err := ssh.Dial("tcp", h.addr, &ssh.ClientConfig{
		User: "somebody", Auth: []ssh.AuthMethod{ssh.PublicKeys(keys...)},
		HostKeyCallback: ssh.FixedHostKey(h.hostKey), Timeout: 20 * time.Second,
	})
	if err == nil {
		t.Cleanup(func() { client.Close() })
	}
	return client, err
}

func (h *sshHouse) mustLogin(t testing.TB, keys ...ssh.Signer) *ssh.Client {
	t.Helper()
	client, err := h.login(t, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// through is the Opener of an SSH connection.
type through struct{ client *ssh.Client }

func (c through) String() string { return c.client.RemoteAddr().String() }

func (c through) Open(context.Context) (net.Conn, error) {
	ch, requests, err := c.client.OpenChannel("session", nil)
	if err != nil {
		return nil, err
	}
	go ssh.DiscardRequests(requests)
	if ok, err := ch.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{"kita"})); err != nil || !ok {
		return nil, fmt.Errorf("the subsystem: %t, %w", ok, err)
	}
	return sshchan.New(ch, c.client.LocalAddr(), c.client.RemoteAddr()), nil
}

func (h *sshHouse) ask(t testing.TB, client *ssh.Client) *Client {
	t.Helper()
	c := Dial(Target{Through: through{client}})
	t.Cleanup(c.Close)
	return c
}

// wantAudit waits for a line of the audit log that has all the parts.
func (h *sshHouse) wantAudit(t testing.TB, parts ...string) {
	t.Helper()
	wantAuditLine(t, h.audit, parts...)
}

func wantAuditLine(t testing.TB, path string, parts ...string) {
	t.Helper()
	until(t, fmt.Sprintf("an audit line with %q", parts), func() bool {
		text, _ := os.ReadFile(path)
		for line := range strings.Lines(string(text)) {
			has := 0
			for _, part := range parts {
				if strings.Contains(line, part) {
					has++
				}
			}
			if has == len(parts) {
				return true
			}
		}
		return false
	})
}

// echo is an Options.Exec that prints its line and asks the API, and whose
// status is the length of the line.
func echo(ctx context.Context, e Exec) int {
	_, _ = fmt.Fprintf(e.Stdout, "%s said %s\n", e.By, e.Line)
	client := Dial(Target{Through: dialer(e.Dial)})
	defer client.Close()
	views, err := client.List(ctx)
	_, _ = fmt.Fprintf(e.Stderr, "%d children, %v\n", len(views), err)
	return len(e.Line)
}

type dialer func(context.Context) (net.Conn, error)

func (d dialer) Open(ctx context.Context) (net.Conn, error) { return d(ctx) }
func (d dialer) String() string                             { return "this server" }

func TestSSHServesTheAPIAndCommandLines(t *testing.T) {
	for _, encrypt := range []bool{false, true} {
		t.Run(fmt.Sprintf("encrypt %t", encrypt), func(t *testing.T) {
			svc := testService()
			h := newSSHHouse(t, Options{Service: svc, Encrypt: encrypt, Exec: echo})
			client := h.mustLogin(t, h.admit(t, "ops"))
			api := h.ask(t, client)
			if views, err := api.List(t.Context()); err != nil || len(views) != 4 {
				t.Errorf("%d children, %v", len(views), err)
			}
			if _, err := api.Do(t.Context(), spec.Command{Verb: spec.VerbStart, Child: "b"}); err != nil {
				t.Error(err)
			}
			if by := svc.Commands()[0].By; by != "ssh:ops@127.0.0.1" {
				t.Errorf("the command is by %q", by)
			}
			session, err := client.NewSession()
			if err != nil {
				t.Fatal(err)
			}
			var stdout, stderr bytes.Buffer
			session.Stdout, session.Stderr = &stdout, &stderr
			var status *ssh.ExitError
			if err := session.Run("check a"); !errors.As(err, &status) || status.ExitStatus() != 7 {
				t.Errorf("the command line ends with %v", err)
			}
			if stdout.String() != "ssh:ops@127.0.0.1 said check a\n" || stderr.String() != "4 children, <nil>\n" {
				t.Errorf("it printed %q and %q", stdout.String(), stderr.String())
			}
		})
	}
}

func TestOneWayInOfSeveralKeys(t *testing.T) {
	h := newSSHHouse(t, Options{})
	stranger, _ := newKey(t)
	other, _ := newKey(t)
	ops := h.admit(t, "ops")
	if _, err := h.ask(t, h.mustLogin(t, stranger, ops)).List(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := h.login(t, stranger, other); err == nil {
		t.Fatal("strangers are let in")
	}
	h.wantAudit(t, `"connect"`, `"ssh"`, `"forbidden"`, ssh.FingerprintSHA256(stranger.PublicKey()), ssh.FingerprintSHA256(other.PublicKey()))
	text, err := os.ReadFile(h.audit)
	if err != nil || strings.Count(string(text), `"connect"`) != 1 {
		t.Errorf("not one line on the two connections: %v\n%s", err, text)
	}
}

func TestRevokedKeysAreSentAway(t *testing.T) {
	began := make(chan struct{})
	ended := make(chan error, 1)
	h := newSSHHouse(t, Options{Exec: func(ctx context.Context, e Exec) int {
		close(began)
		<-ctx.Done()
		_, err := e.Dial(ctx)
		ended <- err
		return 1
	}})
	client := h.mustLogin(t, h.admit(t, "ops"))
	kept := h.mustLogin(t, h.admit(t, "ci"))
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := session.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Start("wait"); err != nil {
		t.Fatal(err)
	}
	<-began
	nc, err := through{client}.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(h.pub("ops")); err != nil {
		t.Fatal(err)
	}
	if said, _ := io.ReadAll(stderr); !strings.Contains(string(said), "the key ops was revoked") {
		t.Errorf("the command says %q", said)
	}
	if err := <-ended; err == nil {
		t.Error("a command of a revoked key reaches the API")
	}
	if _, err := io.ReadAll(nc); err != nil {
		t.Errorf("the API's connection: %v", err)
	}
	_ = nc.Close()
	_ = client.Wait()
	h.wantAudit(t, `"key":"ops"`, "revoked")
	if _, err := h.ask(t, kept).List(t.Context()); err != nil {
		t.Errorf("another key's connection: %v", err)
	}
}

// One key does not use up what is there for all: beyond its connections it gets
// no channel, and gives way to others.
func TestConnectionsOfAKeyAreBounded(t *testing.T) {
	h := newSSHHouse(t, Options{MaxWaitingPerAddress: 1})
	ops, ci := h.admit(t, "ops"), h.admit(t, "ci")
	h.guests.mu.Lock()
	h.guests.keys["ci"] = &keyUse{clients: maxClientsOfKey, channels: make(chan struct{}, 1)}
	h.guests.mu.Unlock()
	surplus := h.mustLogin(t, ci)
	if _, err := (through{surplus}).Open(t.Context()); err == nil || !strings.Contains(err.Error(), "connections are open with the key ci") {
		t.Errorf("one too many: %v", err)
	}
	_ = surplus.Wait()
	h.wantAudit(t, `"key":"ci"`, "connections are open with the key ci")
	idle := h.mustLogin(t, ci)
	if _, err := h.ask(t, h.mustLogin(t, ops)).List(t.Context()); err != nil {
		t.Errorf("another key: %v", err)
	}
	_ = idle.Wait()
	until(t, "the others are counted no more", func() bool {
		h.guests.mu.Lock()
		defer h.guests.mu.Unlock()
		return h.guests.keys["ci"].clients == maxClientsOfKey
	})
}
