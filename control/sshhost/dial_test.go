package sshhost

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"kita/control/keyring"
)

// someone has a home directory, and logs in to hosts.
type someone struct {
	Dialer
	notices []string
	asked   []string
}

func newUser(t *testing.T, variables map[string]string) *someone {
	t.Helper()
	u := &someone{}
	u.Config = Config{
		Home: t.TempDir(), SystemDir: t.TempDir(), Getenv: func(name string) string { return variables[name] },
		Notice: func(line string) { u.notices = append(u.notices, line) },
		Passphrase: func(file string) ([]byte, error) {
			u.asked = append(u.asked, filepath.Base(file))
			return []byte("secret"), nil
		},
	}
	return u
}

func (u *someone) path(name string) string { return filepath.Join(u.Home, ".ssh", name) }

func (f *fakeHost) target() Target { return Target{Name: "127.0.0.1", Port: f.port, User: "ops"} }

func (u *someone) mustDial(t *testing.T, target Target) *Host {
	t.Helper()
	h, err := u.Dial(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func fingerprints(t *testing.T, keys ...any) (list []string) {
	t.Helper()
	for _, key := range keys {
		list = append(list, ssh.FingerprintSHA256(signerOf(t, key).PublicKey()))
	}
	return list
}

func TestKeysAreOfferedInOrder(t *testing.T) {
	first, second, third, file, locked := newKey(t), newKey(t), newKey(t), newKey(t), newKey(t)
	inAgent := []agent.AddedKey{{PrivateKey: first, Comment: "first"}, {PrivateKey: second, Comment: "second"}, {PrivateKey: third}}
	tests := []struct {
		name, config string
		want         []any
	}{
		{"the agent's, the files, those with a passphrase", "", []any{first, second, third, file, locked}},
		{"the agent's that is named comes first", "IdentityFile ~/.ssh/third\nIdentityFile ~/.ssh/id_ed25519\n", []any{third, first, second, file}},
		{"only those that are named", "IdentitiesOnly yes\nIdentityFile ~/.ssh/id_ed25519\nIdentityFile ~/.ssh/third\n", []any{third, file}},
		{"no agent", "IdentityAgent none\n", []any{file, locked}},
	}
	// Its passphrase is made hard to guess, which takes a while.
	withPassphrase := filepath.Join(t.TempDir(), "locked")
	writeKey(t, withPassphrase, locked, "secret")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := newUser(t, map[string]string{"SSH_AUTH_SOCK": startAgent(t, inAgent...)})
			writeFile(t, u.path("config"), tt.config)
			writeKey(t, u.path("id_ed25519"), file, "")
			if err := os.Symlink(withPassphrase, u.path("id_ecdsa")); err != nil {
				t.Fatal(err)
			}
			writeFile(t, u.path("third.pub"), string(ssh.MarshalAuthorizedKey(signerOf(t, third).PublicKey())))
			// Nobody has the key that this host wants.
			host := (&fakeHost{authorized: signerOf(t, newKey(t)).PublicKey()}).start(t)
			_, err := u.Dial(t.Context(), host.target())
			var refused *AuthError
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), "does not let ops in: it takes none of the keys") {
				t.Errorf("error %v", err)
			}
			offered, _ := host.seen()
			if want := fingerprints(t, tt.want...); !slices.Equal(offered, want) {
				t.Errorf("offered %v, want %v; %v", offered, want, err)
			}
			if len(u.asked) > 0 {
				t.Errorf("the passphrase of %v was asked for in vain", u.asked)
			}
		})
	}
}

// TestAQuestionThatIsBrokenOffEndsTheLogIn: no other key is asked about.
func TestAQuestionThatIsBrokenOffEndsTheLogIn(t *testing.T) {
	first, second := newKey(t), newKey(t)
	brokenOff := fmt.Errorf("ctrl-c: %w", context.Canceled)
	for name, authorized := range map[string]any{"Ed25519": first, "ECDSA": second} {
		u := newUser(t, nil)
		u.Passphrase = func(file string) ([]byte, error) {
			u.asked = append(u.asked, filepath.Base(file))
			return nil, brokenOff
		}
		writeKey(t, u.path("id_ed25519"), first, "secret")
		writeKey(t, u.path("id_ecdsa"), second, "secret")
		_, err := u.Dial(t.Context(), (&fakeHost{authorized: signerOf(t, authorized).PublicKey()}).start(t).target())
		if !errors.Is(err, brokenOff) || len(u.asked) != 1 {
			t.Errorf("%s: asked for %v, %v", name, u.asked, err)
		}
	}
}

// TestTheTimeStandsStillDuringAQuestion: also that of who waits for the answer
// to the question of another host.
func TestTheTimeStandsStillDuringAQuestion(t *testing.T) {
	key := newKey(t)
	u := newUser(t, nil)
	writeKey(t, u.path("id_ed25519"), key, "secret")
	var (
		suspended = make(chan struct{}, 2)
		running   atomic.Int32
	)
	u.Suspend = func(context.Context) func() {
		running.Add(-1)
		suspended <- struct{}{}
		return func() { running.Add(1) }
	}
	u.Passphrase = func(string) ([]byte, error) {
		<-suspended
		<-suspended
		return []byte("secret"), nil
	}
	target := (&fakeHost{authorized: signerOf(t, key).PublicKey()}).start(t).target()
	var dialling sync.WaitGroup
	for range 2 {
		dialling.Go(func() {
			h, err := u.Dial(t.Context(), target)
			if err != nil {
				t.Error(err)
				return
			}
			_ = h.Close()
		})
	}
	dialling.Wait()
	if running.Load() != 0 {
		t.Errorf("%d", running.Load())
	}
}

func TestThePassphraseIsAskedForOnce(t *testing.T) {
	key := newKey(t)
	u := newUser(t, nil)
	writeKey(t, u.path("id_ed25519"), key, "secret")
	for range 2 {
		u.mustDial(t, (&fakeHost{authorized: signerOf(t, key).PublicKey()}).start(t).target())
	}
	if !slices.Equal(u.asked, []string{"id_ed25519"}) {
		t.Errorf("asked for %v", u.asked)
	}
	// A key of whom nobody knows the public half is opened to be offered.
	other := newUser(t, nil)
	writeFile(t, other.path("config"), "")
	if out, err := exec.Command("openssl", "genpkey", "-algorithm", "ed25519", "-aes-256-cbc", "-pass", "pass:secret", "-out", other.path("id_rsa")).CombinedOutput(); err != nil {
		t.Fatalf("openssl: %v\n%s", err, out)
	}
	_, err := other.Dial(t.Context(), (&fakeHost{authorized: signerOf(t, key).PublicKey()}).start(t).target())
	if !slices.Equal(other.asked, []string{"id_rsa"}) {
		t.Errorf("asked for %v, %v", other.asked, err)
	}
}

func TestOnlyTheGivenKeyIsOffered(t *testing.T) {
	given, other := newKey(t), newKey(t)
	u := newUser(t, map[string]string{"SSH_AUTH_SOCK": startAgent(t, agent.AddedKey{PrivateKey: other})})
	writeKey(t, u.path("id_ed25519"), other, "")
	host := (&fakeHost{}).start(t)
	target := host.target()
	target.Key = &keyring.Private{Name: "ops", Signer: signerOf(t, given)}
	u.mustDial(t, target)
	if offered, _ := host.seen(); !slices.Equal(offered, fingerprints(t, given)) {
		t.Errorf("offered %v", offered)
	}
}

func TestTooManyKeys(t *testing.T) {
	var keys []agent.AddedKey
	for i := range 10 {
		keys = append(keys, agent.AddedKey{PrivateKey: newKey(t), Comment: fmt.Sprint("key ", i)})
	}
	u := newUser(t, map[string]string{"SSH_AUTH_SOCK": startAgent(t, keys...)})
	host := (&fakeHost{authorized: signerOf(t, newKey(t)).PublicKey()}).start(t)
	_, err := u.Dial(t.Context(), host.target())
	var refused *AuthError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "IdentitiesOnly") || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v", err)
	}
}

func TestNoKeys(t *testing.T) {
	u := newUser(t, map[string]string{"SSH_AUTH_SOCK": "/nowhere/agent"})
	_, err := u.Dial(t.Context(), (&fakeHost{}).start(t).target())
	for _, want := range []string{"there is no key to offer", "no ssh-agent answers on /nowhere/agent"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestJumps(t *testing.T) {
	key := newKey(t)
	u := newUser(t, nil)
	writeKey(t, u.path("id_ed25519"), key, "")
	last := (&fakeHost{sockets: map[string]func(rwc){rootSocket: says("hello")}}).start(t)
	reach := func(f *fakeHost) map[string]func(rwc) {
		return map[string]func(rwc){f.addr(): pipeTo(f.addr())}
	}
	second := (&fakeHost{ports: reach(last)}).start(t)
	first := (&fakeHost{ports: reach(second)}).start(t)
	writeFile(t, u.path("config"), fmt.Sprintf(`
Host web
  HostName 127.0.0.1
  Port %d
  ProxyJump jumper@first,second
Host first
  HostName 127.0.0.1
  Port %d
Host second
  HostName 127.0.0.1
  Port %d
  ProxyJump nowhere
Host *
  User ops
`, last.port, first.port, second.port))
	h := u.mustDial(t, Target{Name: "web"})
	conn, err := h.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := exchange(t, conn, "hi"); got != "hello" {
		t.Errorf("got %q", got)
	}
	known, err := os.ReadFile(u.path("known_hosts"))
	if err != nil || len(u.notices) != 3 || strings.Count(string(known), "\n") != 3 {
		t.Errorf("notices %q, known hosts\n%s%v", u.notices, known, err)
	}
	if want := fmt.Sprintf("ssh://ops@web:%d", last.port); h.String() != want {
		t.Errorf("it is %s, want %s", h, want)
	}
}

func TestHostKeys(t *testing.T) {
	u := newUser(t, nil)
	writeKey(t, u.path("id_ed25519"), newKey(t), "")
	host := (&fakeHost{}).start(t)
	var wrong *keyring.HostKeyError

	writeFile(t, u.path("known_hosts"), "no line of a host\n")
	var network *NetworkError
	if _, err := u.Dial(t.Context(), host.target()); err == nil || errors.As(err, &network) || !strings.Contains(err.Error(), "known_hosts:1") {
		t.Errorf("a file that cannot be understood: %v", err)
	}
	writeFile(t, u.path("known_hosts"), "")

	u.Strict = true
	if _, err := u.Dial(t.Context(), host.target()); !errors.As(err, &wrong) || wrong.Changed {
		t.Errorf("a new host, strictly: %v", err)
	}
	if offered, _ := host.seen(); len(offered) > 0 {
		t.Error("a host that is not trusted was offered a key")
	}
	u.Strict = false
	writeFile(t, u.path("config"), "StrictHostKeyChecking yes\n")
	if _, err := u.Dial(t.Context(), host.target()); !errors.As(err, &wrong) {
		t.Errorf("a new host, strict by configuration: %v", err)
	}
	u.AcceptNew = true
	_ = u.mustDial(t, host.target()).Close()
	if len(u.notices) != 1 || !strings.Contains(u.notices[0], ssh.FingerprintSHA256(host.key.PublicKey())) {
		t.Errorf("notices %q", u.notices)
	}
	_ = u.mustDial(t, host.target()).Close()
	if len(u.notices) != 1 {
		t.Errorf("a known host is news: %q", u.notices)
	}
	other := (&fakeHost{}).start(t)
	writeFile(t, u.path("config"), fmt.Sprintf("Host *\nHostKeyAlias the-host\nPort %d\nHostName 127.0.0.1\n", host.port))
	_ = u.mustDial(t, Target{Name: "a"}).Close()
	_, err := u.Dial(t.Context(), Target{Name: "b", Port: other.port})
	if !errors.As(err, &wrong) || !wrong.Changed || wrong.Line == 0 || !strings.Contains(err.Error(), "ssh-keygen -R") {
		t.Errorf("a changed host: %v", err)
	}
	if offered, _ := other.seen(); len(offered) > 0 {
		t.Error("a host that has changed was offered a key")
	}
}

func TestHostsThatLetNobodyIn(t *testing.T) {
	key := newKey(t)
	password := func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) { return nil, nil }
	for name, tt := range map[string]struct {
		host *fakeHost
		want string
	}{
		"a kita": {&fakeHost{version: "SSH-2.0-kita_1.0"}, "a kita server answers there and no sshd: ask it without ssh://"},
		"passwords only": {&fakeHost{change: func(c *ssh.ServerConfig) {
			c.PublicKeyCallback, c.PasswordCallback = nil, password
		}}, "its sshd takes no keys, it wants password"},
		"a key and a password": {&fakeHost{change: func(c *ssh.ServerConfig) {
			c.PublicKeyCallback = func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
				return nil, &ssh.PartialSuccessError{Next: ssh.ServerAuthCallbacks{PasswordCallback: password}}
			}
		}}, "besides the key its sshd wants password"},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUser(t, nil)
			writeKey(t, u.path("id_ed25519"), key, "")
			_, err := u.Dial(t.Context(), tt.host.start(t).target())
			var refused *AuthError
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if _, err := os.Stat(u.path("known_hosts")); name == "a kita" && err == nil {
				t.Error("it is remembered as a host")
			}
		})
	}
}

// TestKeysThatAreTooWeak: a weak key of the agent is left out, and a good one
// signs without SHA-1 even where the host would take it.
func TestKeysThatAreTooWeak(t *testing.T) {
	weak, strong := rsaKey(t, 1024), rsaKey(t, 2048)
	socket := startAgent(t, agent.AddedKey{PrivateKey: weak, Comment: "weak"}, agent.AddedKey{PrivateKey: strong, Comment: "strong"})
	u := newUser(t, map[string]string{"SSH_AUTH_SOCK": socket})
	host := (&fakeHost{authorized: signerOf(t, newKey(t)).PublicKey()}).start(t)
	_, err := u.Dial(t.Context(), host.target())
	if err == nil || !strings.Contains(err.Error(), `the agent's key "weak": RSA keys of less than 2048 bits are not used`) {
		t.Errorf("error %v", err)
	}
	if offered, _ := host.seen(); !slices.Equal(offered, fingerprints(t, strong)) {
		t.Errorf("offered %v", offered)
	}
	writeFile(t, u.path("id_rsa"), "no key\n")
	writeFile(t, u.path("id_rsa.pub"), string(ssh.MarshalAuthorizedKey(signerOf(t, weak).PublicKey())))
	if _, err := u.Dial(t.Context(), host.target()); err == nil || !strings.Contains(err.Error(), "id_rsa is no private key") {
		t.Errorf("error %v", err)
	}
	u.mustDial(t, (&fakeHost{authorized: signerOf(t, strong).PublicKey()}).start(t).target())
	sha1 := (&fakeHost{change: func(c *ssh.ServerConfig) { c.PublicKeyAuthAlgorithms = []string{ssh.KeyAlgoRSA} }}).start(t)
	if _, err := u.Dial(t.Context(), sha1.target()); err == nil {
		t.Error("a signature was made with SHA-1")
	}
}

func rsaKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	// Smaller ones cannot be made otherwise.
	t.Setenv("GODEBUG", "rsa1024min=0")
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestForgetfulConfiguration: some keep no file of known hosts at all.
func TestForgetfulConfiguration(t *testing.T) {
	u := newUser(t, nil)
	writeKey(t, u.path("id_ed25519"), newKey(t), "")
	writeFile(t, u.path("config"), "StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\n")
	host := (&fakeHost{}).start(t)
	for range 2 {
		_ = u.mustDial(t, host.target()).Close()
	}
	if len(u.notices) == 0 {
		t.Error("the host was trusted without a word")
	}
}

// TestSilentHost: what accepts a connection and says nothing is left at the
// deadline, and nothing remains of it.
func TestSilentHost(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	u := newUser(t, nil)
	target := Target{Name: "127.0.0.1", Port: uint16(ln.Addr().(*net.TCPAddr).Port), User: "ops"}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = u.Dial(ctx, target)
	var network *NetworkError
	if !errors.As(err, &network) || !strings.Contains(err.Error(), "did not answer in time") || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := u.Dial(cancelled, target); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	_ = ln.Close()
	if _, err := u.Dial(t.Context(), target); !errors.As(err, &network) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("nobody there: %v", err)
	}
}
