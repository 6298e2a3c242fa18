package control

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"kita/spec"
)

// newSecureHouse is a house with a host key and one key that is admitted.
func newSecureHouse(t *testing.T, opt Options) (h *house, login func() *ssh.Client, again func(Options) Options) {
	t.Helper()
	dir := t.TempDir()
	secured := sshOptions(t, dir, opt)
	again = func(opt Options) Options {
		opt.HostKey, opt.Config = secured.HostKey, secured.Config
		return opt
	}
	h = newHouse(t, secured)
	key, _ := newKey(t)
	if err := os.WriteFile(filepath.Join(dir, "pub", "ops.pub"), ssh.MarshalAuthorizedKey(key.PublicKey()), 0o600); err != nil {
		t.Fatal(err)
	}
	login = func() *ssh.Client {
		t.Helper()
		client, err := ssh.Dial("tcp", h.addr, &ssh.ClientConfig{
			User: "ops", Auth: []ssh.AuthMethod{ssh.PublicKeys(key)},
			HostKeyCallback: ssh.FixedHostKey(secured.HostKey.PublicKey()), Timeout: 20 * time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		return client
	}
	return h, login, again
}

// anew is an Opener that connects for each request.
type anew struct{ login func() *ssh.Client }

func (a anew) String() string { return "the server" }

func (a anew) Open(ctx context.Context) (net.Conn, error) { return through{a.login()}.Open(ctx) }

func TestSSHConnectionsEndWithAnUpgrade(t *testing.T) {
	svc, began, _ := slowService()
	h, login, again := newSecureHouse(t, Options{Service: svc, Exec: func(ctx context.Context, e Exec) int {
		client := Dial(Target{Through: dialer(e.Dial)})
		defer client.Close()
		_, err := client.Do(ctx, spec.Command{Verb: spec.VerbStop, Child: "a"})
		_, _ = io.WriteString(e.Stderr, err.Error())
		return 9
	}})
	idle, waiting, watching := login(), login(), login()
	refused := make(chan error, 1)
	go func() {
		client := Dial(Target{Through: through{waiting}})
		defer client.Close()
		_, err := client.Do(context.Background(), spec.Command{Verb: spec.VerbStop, Child: "a"})
		refused <- err
	}()
	<-began
	session, err := waiting.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	session.Stderr = &stderr
	if err := session.Start("stop a"); err != nil {
		t.Fatal(err)
	}
	<-began
	synced, over := make(chan struct{}), make(chan error, 1)
	go func() {
		client := Dial(Target{Through: through{watching}})
		defer client.Close()
		for change, err := range client.Watch(context.Background()) {
			if err != nil {
				over <- err
			} else if change.Type == spec.Synced {
				close(synced)
			}
		}
	}()
	<-synced

	if handed := h.handOver(again(Options{}), nil); len(handed) != 0 {
		t.Errorf("connections of SSH are handed over: %+v", handed)
	}
	var refusal *spec.Refusal
	if err := <-refused; !errors.As(err, &refusal) || refusal.Code != spec.Unavailable || !strings.Contains(refusal.Message, "goes on with it") {
		t.Errorf("a command that waits ends with %v", err)
	}
	var status *ssh.ExitError
	if err := session.Wait(); !errors.As(err, &status) || status.ExitStatus() != 9 || !strings.Contains(stderr.String(), "goes on with it") {
		t.Errorf("a command line that waits ends with %v and %q", err, stderr.String())
	}
	var unreachable *Unreachable
	if err := <-over; !errors.As(err, &unreachable) {
		t.Errorf("the watch ends with %v", err)
	}
	for _, client := range []*ssh.Client{idle, waiting, watching} {
		_ = client.Wait()
	}
	client := Dial(Target{Through: through{login()}})
	defer client.Close()
	if views, err := client.List(t.Context()); err != nil || len(views) != 4 {
		t.Errorf("the next server: %d children, %v", len(views), err)
	}
}

func TestAnUpgradeOverSSHIsSeenToItsEnd(t *testing.T) {
	for name, failure := range map[string]*spec.Refusal{
		"it took over": nil,
		"it could not": spec.Refuse(spec.BadBinary, "", "", "it cannot be executed"),
	} {
		t.Run(name, func(t *testing.T) {
			began := make(chan struct{})
			h, login, again := newSecureHouse(t, Options{Upgrade: func(ctx context.Context, _, _ string) error {
				close(began)
				<-ctx.Done()
				return ctx.Err()
			}})
			type end struct {
				done spec.Upgraded
				err  error
			}
			ended := make(chan end, 1)
			go func() {
				client := Dial(Target{Through: anew{login}})
				defer client.Close()
				done, err := client.Upgrade(context.Background(), "")
				ended <- end{done, err}
			}()
			<-began
			h.handOver(again(Options{}), failure)
			got := <-ended
			var refusal *spec.Refusal
			switch {
			case failure == nil:
				if got.err != nil || got.done != h.done {
					t.Errorf("%+v, %v", got.done, got.err)
				}
			case !errors.As(got.err, &refusal) || *refusal != *failure:
				t.Errorf("the error is %v", got.err)
			}
		})
	}
}

func TestCloseEndsSSHConnections(t *testing.T) {
	h := newSSHHouse(t, Options{Exec: echo})
	client := h.mustLogin(t, h.admit(t, "ops"))
	stall, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer stall.Close()
	_, _ = io.WriteString(stall, "SSH-2.0-slow\r\n")
	// A channel in which nothing was asked, and one that is kept after a request.
	unused, err := through{client}.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer unused.Close()
	kept, err := through{client}.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	_, _ = io.WriteString(kept, getHealth)
	if _, err := kept.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := h.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
	_ = client.Wait()
}
