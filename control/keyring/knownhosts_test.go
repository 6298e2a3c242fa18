package keyring_test

import (
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
	"golang.org/x/sys/unix"

	"kita/control/keyring"
)

const hostAddr = "10.0.0.1:33889"

// fuzzedHostKey is the key of a host that a corpus can name.
var fuzzedHostKey = func() ssh.PublicKey {
	key, err := ssh.NewPublicKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public())
	if err != nil {
		panic(err)
	}
	return key
}()

// meet asks whether the host at addr may have the key.
func meet(k *keyring.KnownHosts, addr string, key ssh.PublicKey) error {
	return k.Callback()(addr, nil, key)
}

// known is a KnownHosts of files that takes down its notices.
func known(strict bool, files ...string) (*keyring.KnownHosts, *[]string) {
	var mu sync.Mutex
	var notices []string
	return &keyring.KnownHosts{Files: files, Strict: strict, Notice: func(line string) {
		mu.Lock()
		defer mu.Unlock()
		notices = append(notices, line)
	}}, &notices
}

func hostKeyError(t *testing.T, err error, want ...string) *keyring.HostKeyError {
	t.Helper()
	var hostErr *keyring.HostKeyError
	if !errors.As(err, &hostErr) {
		t.Fatalf("error %v, want a HostKeyError", err)
	}
	for _, w := range want {
		if !strings.Contains(hostErr.Message, w) {
			t.Errorf("message %q does not say %q", hostErr.Message, w)
		}
	}
	if strings.Contains(hostErr.Message, "\n") {
		t.Errorf("message %q is more than a line", hostErr.Message)
	}
	return hostErr
}

func TestANewHostIsTrustedOnceAndWrittenDown(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a", "b", "known_hosts")
	key := publicOf(t, ed25519Key(t))
	k, notices := known(false, file)
	if got := k.Algorithms(hostAddr); got != nil {
		t.Errorf("algorithms of a host nobody knows: %q", got)
	}
	for range 2 {
		if err := meet(k, hostAddr, key); err != nil {
			t.Fatal(err)
		}
	}
	want := "the host [10.0.0.1]:33889 is new: its ED25519 key " + ssh.FingerprintSHA256(key) + " is trusted from now on, saved in " + file
	if !slices.Equal(*notices, []string{want}) {
		t.Errorf("notices %q, want %q", *notices, want)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != xknownhosts.Line([]string{hostAddr}, key)+"\n" {
		t.Errorf("the file is %q, %v", text, err)
	}
	for path, mode := range map[string]os.FileMode{file: 0o600, filepath.Dir(file): 0o700 | os.ModeDir} {
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, mode)
		}
	}
	if got := k.Algorithms(hostAddr); !slices.Equal(got, []string{ssh.KeyAlgoED25519}) {
		t.Errorf("algorithms %q", got)
	}
	// Another program knows it, too, and is silent.
	again, notices := known(true, file)
	if err := meet(again, hostAddr, key); err != nil || len(*notices) != 0 {
		t.Errorf("a known host: %v, notices %q", err, *notices)
	}
	if got := again.Algorithms(hostAddr); !slices.Equal(got, []string{ssh.KeyAlgoED25519}) {
		t.Errorf("algorithms %q", got)
	}
	// ssh-keygen finds it.
	if out := tool(t, "ssh-keygen", "-F", "[10.0.0.1]:33889", "-f", file); !strings.Contains(out, "line 1") {
		t.Errorf("ssh-keygen says %q", out)
	}
}

func TestStrictCheckingLearnsNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "known_hosts")
	key := publicOf(t, ed25519Key(t))
	k, notices := known(true, file)
	err := hostKeyError(t, meet(k, hostAddr, key), "[10.0.0.1]:33889 is not known", ssh.FingerprintSHA256(key), "--host-key-checking accept-new", file)
	if err.Changed || err.Host != "[10.0.0.1]:33889" || err.Fingerprint != ssh.FingerprintSHA256(key) {
		t.Errorf("error %+v", err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) || len(*notices) != 0 {
		t.Errorf("the file: %v, notices %q", err, *notices)
	}
}

func TestAChangedHostKeyIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "known_hosts")
	before, now := publicOf(t, ed25519Key(t)), publicOf(t, ed25519Key(t))
	write(t, filepath.Dir(file), "known_hosts", "# mine\n\n"+xknownhosts.Line([]string{hostAddr}, before)+"\n")
	for _, strict := range []bool{true, false} {
		k, notices := known(strict, filepath.Join(t.TempDir(), "first"), file)
		err := hostKeyError(t, meet(k, hostAddr, now), "has another key than before", file+":3",
			ssh.FingerprintSHA256(before), ssh.FingerprintSHA256(now), "ssh-keygen -R '[10.0.0.1]:33889' -f "+file)
		if !err.Changed || err.File != file || err.Line != 3 || err.Fingerprint != ssh.FingerprintSHA256(now) {
			t.Errorf("error %+v", err)
		}
		if len(*notices) != 0 {
			t.Errorf("notices %q", *notices)
		}
	}
	// The remedy works.
	tool(t, "ssh-keygen", "-R", "[10.0.0.1]:33889", "-f", file)
	k, _ := known(false, file)
	if err := meet(k, hostAddr, now); err != nil {
		t.Error(err)
	}
	// Of a host learnt a moment ago the line is known as well.
	err := hostKeyError(t, meet(k, hostAddr, before))
	if text, _ := os.ReadFile(file); err.Line < 2 || !strings.Contains(strings.Split(string(text), "\n")[err.Line-1], xknownhosts.Line([]string{hostAddr}, now)) {
		t.Errorf("line %d is not the host's in %q", err.Line, text)
	}
	// A key of another kind is no excuse.
	hostKeyError(t, meet(k, hostAddr, publicOf(t, ecdsaKey(t, elliptic.P256()))), "has another key than before", "ECDSA")
}

func TestTheFileIsReadAgainWhenItChanges(t *testing.T) {
	dir := t.TempDir()
	a, b := publicOf(t, ed25519Key(t)), publicOf(t, ed25519Key(t))
	file := write(t, dir, "known_hosts", "")
	k, _ := known(true, file)
	hostKeyError(t, meet(k, hostAddr, a), "is not known")
	write(t, dir, "known_hosts", xknownhosts.Line([]string{hostAddr}, a))
	if err := meet(k, hostAddr, a); err != nil {
		t.Error(err)
	}
	k.Strict = false
	// The last line has no end; the next one must not be glued to it.
	if err := meet(k, "other:22", b); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(file); string(text) != xknownhosts.Line([]string{hostAddr}, a)+"\n"+xknownhosts.Line([]string{"other"}, b)+"\n" {
		t.Errorf("the file is %q", text)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	k.Strict = true
	hostKeyError(t, meet(k, hostAddr, a), "is not known")
	hostKeyError(t, meet(k, "other:22", b), "is not known")
}

func TestLinesOfEveryKindAreUnderstood(t *testing.T) {
	keys := map[string]ssh.PublicKey{}
	for _, name := range []string{"hashed", "wild", "revoked", "ported"} {
		keys[name] = publicOf(t, ed25519Key(t))
	}
	rsa := publicOf(t, rsaKey(t, 2048))
	file := write(t, t.TempDir(), "known_hosts", strings.Join([]string{
		strings.Replace(xknownhosts.Line([]string{"x"}, keys["hashed"]), "x", xknownhosts.HashHostname("[hashed]:33889"), 1),
		strings.Replace(xknownhosts.Line([]string{"x"}, keys["wild"]), "x", "*.example.org", 1),
		"@revoked " + strings.Replace(xknownhosts.Line([]string{"x"}, keys["revoked"]), "x", "*", 1),
		xknownhosts.Line([]string{"ported:33889"}, keys["ported"]),
		xknownhosts.Line([]string{"ported:33889"}, rsa),
	}, "\n")+"\n")
	k, notices := known(false, file)
	for addr, key := range map[string]ssh.PublicKey{
		"hashed:33889": keys["hashed"], "HASHED:33889": keys["hashed"], "web.example.org:33889": keys["wild"],
		"ported:33889": keys["ported"],
	} {
		if err := meet(k, addr, key); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
	}
	hostKeyError(t, meet(k, "hashed:33889", keys["wild"]), file+":1")
	err := hostKeyError(t, meet(k, "new:33889", keys["revoked"]), "revokes", file+":3")
	if err.File != file || err.Line != 3 || err.Changed {
		t.Errorf("error %+v", err)
	}
	if got, want := k.Algorithms("ported:33889"), []string{ssh.KeyAlgoED25519, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}; !slices.Equal(got, want) {
		t.Errorf("algorithms %q, want %q", got, want)
	}
	if len(*notices) != 0 {
		t.Errorf("notices %q", *notices)
	}
	// A learnt RSA host is asked for signatures without SHA-1 as well.
	if err := meet(k, "new:33889", rsa); err != nil {
		t.Fatal(err)
	}
	if got, want := k.Algorithms("new:33889"), []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}; !slices.Equal(got, want) {
		t.Errorf("algorithms %q, want %q", got, want)
	}
}

func TestCertificatesOfHosts(t *testing.T) {
	authority, err := ssh.NewSignerFromKey(ed25519Key(t))
	if err != nil {
		t.Fatal(err)
	}
	host := publicOf(t, ed25519Key(t))
	cert := &ssh.Certificate{Key: host, CertType: ssh.HostCert, ValidPrincipals: []string{"db1"}, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, authority); err != nil {
		t.Fatal(err)
	}
	file := write(t, t.TempDir(), "known_hosts", "@cert-authority "+strings.Replace(xknownhosts.Line([]string{"x"}, authority.PublicKey()), "x", "db*", 1)+"\n")
	k, _ := known(false, file)
	if err := meet(k, "db1:22", cert); err != nil {
		t.Error(err)
	}
	// The authority speaks for db2 and has not certified it.
	hostKeyError(t, meet(k, "db2:22", cert), "cannot be checked")
	// Nobody speaks for web: its key counts, as if there were no certificate.
	if err := meet(k, "web:22", cert); err != nil {
		t.Error(err)
	}
	if err := meet(k, "web:22", host); err != nil {
		t.Error(err)
	}
}

func TestWeakHostKeysAreNotTrusted(t *testing.T) {
	weak := publicOf(t, rsaKey(t, 1024))
	file := write(t, t.TempDir(), "known_hosts", xknownhosts.Line([]string{"old:22"}, weak)+"\n")
	k, _ := known(false, file)
	for _, addr := range []string{"old:22", "new:22"} {
		hostKeyError(t, meet(k, addr, weak), "cannot be trusted: an RSA key of 1024 bits is too weak")
	}
}

func TestFilesThatCannotBeReadOrWritten(t *testing.T) {
	key := publicOf(t, ed25519Key(t))
	dir := t.TempDir()
	bad := write(t, dir, "bad", "# ok\n"+xknownhosts.Line([]string{"a"}, key)+"\n[b]:1 ssh-ed25519 AAAA\n")
	tests := []struct {
		name, addr string
		files      []string
		want       string
	}{
		{"malformed line", hostAddr, []string{bad}, bad + ":3: "},
		{"malformed line, known host", "a:22", []string{filepath.Join(dir, "none"), bad}, "mend or delete that line"},
		{"a directory", hostAddr, []string{dir}, dir},
		{"no directory", hostAddr, []string{bad + "/known_hosts"}, "not a directory"},
		{"no file", hostAddr, nil, "is not known"},
		{"odd host", "a b:22", []string{filepath.Join(dir, "odd")}, `cannot write the host "a b"`},
		{"no address", "a", []string{filepath.Join(dir, "odd")}, `"a": it is no host:port`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k, _ := known(false, tt.files...)
			err := meet(k, tt.addr, key)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if got := k.Algorithms(tt.addr); got != nil && tt.name != "malformed line, known host" {
				t.Errorf("algorithms %q", got)
			}
		})
	}
}

// TestManyFirstContacts meets hosts from several KnownHosts, as several programs
// would have, all at once.
func TestManyFirstContacts(t *testing.T) {
	const programs, hosts = 4, 50
	file := filepath.Join(t.TempDir(), "known_hosts")
	var keys []ssh.PublicKey
	for range hosts {
		keys = append(keys, publicOf(t, ed25519Key(t)))
	}
	var all sync.WaitGroup
	var noticed [programs]*[]string
	for p := range programs {
		k, notices := known(false, file)
		noticed[p] = notices
		for h := range hosts {
			all.Go(func() {
				if err := meet(k, fmt.Sprintf("10.0.0.%d:33889", h), keys[h]); err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	slices.Sort(lines)
	var want []string
	for h := range hosts {
		want = append(want, xknownhosts.Line([]string{fmt.Sprintf("10.0.0.%d:33889", h)}, keys[h]))
	}
	slices.Sort(want)
	if !slices.Equal(lines, want) {
		t.Errorf("%d lines, want each of %d hosts once", len(lines), hosts)
	}
	total := 0
	for _, notices := range noticed {
		total += len(*notices)
	}
	if total != hosts {
		t.Errorf("%d notices, want %d", total, hosts)
	}
}

func TestAnotherHoldsTheLock(t *testing.T) {
	key := publicOf(t, ed25519Key(t))
	file := write(t, t.TempDir(), "known_hosts", "")
	holder, err := os.OpenFile(file, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	if err := unix.Flock(int(holder.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	k, notices := known(false, file)
	met := make(chan error, 1)
	go func() { met <- meet(k, hostAddr, key) }()
	select {
	case err := <-met:
		t.Fatalf("a locked file is written: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	// Who holds it writes the same host with another key: that one counts.
	other := publicOf(t, ed25519Key(t))
	if _, err := holder.WriteString(xknownhosts.Line([]string{hostAddr}, other) + "\n"); err != nil {
		t.Fatal(err)
	}
	if err := holder.Close(); err != nil {
		t.Fatal(err)
	}
	hostKeyError(t, <-met, "has another key than before", ssh.FingerprintSHA256(other))
	if len(*notices) != 0 {
		t.Errorf("notices %q", *notices)
	}
}

func TestTheRemedyCanBePasted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "it's mine")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	before, now := publicOf(t, ed25519Key(t)), publicOf(t, ed25519Key(t))
	file := write(t, dir, "known_hosts", xknownhosts.Line([]string{hostAddr}, before)+"\n")
	k, _ := known(false, file)
	err := hostKeyError(t, meet(k, hostAddr, now))
	_, remedy, _ := strings.Cut(err.Message, "forget the old key: ")
	tool(t, "sh", "-c", remedy)
	if err := meet(k, hostAddr, now); err != nil {
		t.Error(err)
	}
}

func FuzzKnownHosts(f *testing.F) {
	line := xknownhosts.Line([]string{hostAddr}, fuzzedHostKey)
	for _, seed := range []string{line, "@revoked * " + line, "@cert-authority *.x " + line, "|1|x|y ssh-ed25519 AAAA", "!a,b* ssh-rsa x", "#", "@", "[", "a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		k, _ := known(true, write(t, t.TempDir(), "known_hosts", text))
		err := meet(k, hostAddr, fuzzedHostKey)
		if err == nil && !strings.Contains(text, "ssh-ed25519") {
			t.Errorf("%q knows the host", text)
		}
		k.Algorithms(hostAddr)
	})
}

func TestDefaultKnownHosts(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", "/home/x/.config")
	t.Setenv("HOME", "/home/x")
	if path, err := keyring.DefaultKnownHosts(); err != nil || !strings.HasSuffix(path, "/kita/known_hosts") || !strings.HasPrefix(path, "/home/x/") {
		t.Errorf("%s, %v", path, err)
	}
}
