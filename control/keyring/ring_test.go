package keyring_test

import (
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"

	"kita/control/keyring"
)

// ringOf is a ring of directories that do not change.
func ringOf(dirs ...string) *keyring.Ring {
	return keyring.NewRing(func() []string { return dirs })
}

// refusedFor checks that err is a refusal that says all of want.
func refusedFor(t *testing.T, err error, want ...string) {
	t.Helper()
	var refused *keyring.Refused
	if !errors.As(err, &refused) {
		t.Fatalf("error %v, want a refusal", err)
	}
	for _, w := range want {
		if !strings.Contains(refused.Reason, w) {
			t.Errorf("reason %q does not say %q", refused.Reason, w)
		}
	}
	if strings.Contains(refused.Reason, "\n") {
		t.Errorf("reason %q is more than a line", refused.Reason)
	}
}

func isUnknown(err error) bool {
	var refused *keyring.Refused
	return errors.As(err, &refused) && refused.Unknown
}

func TestKeysInEveryFormatAreFound(t *testing.T) {
	dir := t.TempDir()
	rsa2048, ed := rsaKey(t, 2048), ed25519Key(t)
	write(t, dir, "spki.pem", "-- a comment before --\n"+spki(t, &rsa2048.PublicKey))
	pkcs1 := rsaKey(t, 2056)
	write(t, dir, "pkcs1.pem", pemText("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&pkcs1.PublicKey)))
	write(t, dir, "ed.pem", spki(t, ed.Public()))
	keys := map[string]ssh.PublicKey{
		"spki": publicOf(t, rsa2048), "pkcs1": publicOf(t, pkcs1), "ed": publicOf(t, ed),
	}
	for name, curve := range map[string]elliptic.Curve{"p256": elliptic.P256(), "p384": elliptic.P384(), "p521": elliptic.P521()} {
		key := ecdsaKey(t, curve)
		keys[name] = publicOf(t, key)
		write(t, dir, name+".pub", "# made today\r\n\r\n"+strings.TrimSpace(authorized(keys[name]))+"\r\n")
	}
	write(t, dir, "README", "not a key")
	write(t, dir, ".ops.pem", "an editor's")
	ring := ringOf(dir)
	for name, public := range keys {
		got, err := ring.Find(public, "nobody")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		named, err := ring.Named(name)
		if err != nil || !reflect.DeepEqual(got, named) {
			t.Errorf("by the name %s: %v, %v, by the key %v", name, named, err, got)
		}
		if got.Name != name || filepath.Dir(got.File) != dir || got.Fingerprint() != ssh.FingerprintSHA256(public) {
			t.Errorf("%s: found %+v", name, got)
		}
		if err := ring.Check(got); err != nil {
			t.Errorf("check of %s: %v", name, err)
		}
	}
	if problems := ring.Problems(); len(problems) != 0 {
		t.Errorf("problems %q", problems)
	}
	_, err := ring.Find(publicOf(t, ed25519Key(t)), "ed")
	refusedFor(t, err, "no .pem or .pub file in "+dir)
	if !isUnknown(err) {
		t.Error("a key that lies nowhere is not called unknown")
	}
}

func TestKeysOfOpenSSLAndSSHKeygenAreFound(t *testing.T) {
	dir, private := t.TempDir(), filepath.Join(t.TempDir(), "key")
	tool(t, "openssl", "genrsa", "-out", private, "2048")
	tool(t, "openssl", "rsa", "-in", private, "-outform", "PEM", "-pubout", "-out", filepath.Join(dir, "ops.pem"))
	tool(t, "openssl", "rsa", "-in", private, "-RSAPublicKey_out", "-out", filepath.Join(dir, "traditional.pem"))
	tool(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, "ed"))
	ring := ringOf(dir)
	for _, name := range []string{"ops", "traditional", "ed"} {
		if _, err := ring.Named(name); err != nil {
			t.Error(err)
		}
	}
}

func TestFilesThatCannotBeUsed(t *testing.T) {
	good, weak := rsaKey(t, 2048), rsaKey(t, 1024)
	line := authorized(publicOf(t, good))
	dsa := "ssh-dss AAAAB3NzaC1kc3MAAACBAIeiXYJ7dvxd/I7mSLHqwTPN0dQNXRPjQ3ZkJiD2d8AzWcPiKJRNvHpuFqvEFYqxEbwkmvF0DrZ3ziYY4Nzh5qf5\n"
	tests := []struct{ name, file, text, want string }{
		{"empty", "k.pem", "", "holds no key in PEM format"},
		{"garbage", "k.pem", "\x00\xff-----BEGIN", "holds no key in PEM format"},
		{"garbage in it", "k.pem", pemText("PUBLIC KEY", []byte("x")), "holds a broken key"},
		{"two keys", "k.pem", spki(t, &good.PublicKey) + spki(t, &good.PublicKey), "holds more than one key"},
		{"private", "k.pem", pemText("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(good)), "holds a private key, only its public half"},
		{"certificate", "k.pem", pemText("CERTIFICATE", []byte("x")), "holds a CERTIFICATE, not a PUBLIC KEY"},
		{"OpenSSH in .pem", "k.pem", line, "name the file .pub"},
		{"weak", "k.pem", spki(t, &weak.PublicKey), "an RSA key of 1024 bits is too weak"},
		{"curve", "k.pem", spki(t, &ecdsaKey(t, elliptic.P224()).PublicKey), "of a kind that cannot be used"},
		{"PEM in .pub", "k.pub", spki(t, &good.PublicKey), "name the file .pem"},
		{"RFC 4716", "k.pub", "---- BEGIN SSH2 PUBLIC KEY ----\nAAAA", "ssh-keygen -i"},
		{"nothing but a comment", "k.pub", "# none\n", "holds no key"},
		{"two lines", "k.pub", line + line, "holds more than one line"},
		{"options", "k.pub", `command="ls -l",no-pty ` + line, `has options (command="ls -l",no-pty)`},
		{"one option", "k.pub", "restrict " + line, "has options (restrict)"},
		{"broken line", "k.pub", "ssh-rsa AAAA", "holds no key in the format of OpenSSH"},
		{"DSA", "k.pub", dsa, "holds no key in the format of OpenSSH"},
		{"weak line", "k.pub", authorized(publicOf(t, weak)), "an RSA key of 1024 bits is too weak"},
		{"too long", "k.pem", spki(t, &good.PublicKey) + strings.Repeat("\n", 64<<10), "is longer than 65536 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := write(t, dir, tt.file, tt.text)
			ring := ringOf(dir)
			_, err := ring.Named("k")
			refusedFor(t, err, path+": ", tt.want)
			if isUnknown(err) {
				t.Error("a file that cannot be used is called unknown")
			}
			if problems := ring.Problems(); len(problems) != 1 || problems[0] != err.Error() {
				t.Errorf("problems %q, want %q", problems, err)
			}
		})
	}
}

func TestAWeakKeyIsRefusedWithItsReason(t *testing.T) {
	dir := t.TempDir()
	weak := rsaKey(t, 1024)
	write(t, dir, "old.pem", spki(t, &weak.PublicKey))
	_, err := ringOf(dir).Find(publicOf(t, weak), "old")
	refusedFor(t, err, "old.pem: an RSA key of 1024 bits is too weak")
}

func TestTwoFilesForOneName(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	key, other := rsaKey(t, 2048), ed25519Key(t)
	a := write(t, one, "ops.pem", spki(t, &key.PublicKey))
	b := write(t, two, "ops.pem", spki(t, &key.PublicKey))
	c := write(t, two, "ci.pem", spki(t, other.Public()))
	d := write(t, two, "ci.pub", authorized(publicOf(t, other)))
	ring := ringOf(one, two)
	_, err := ring.Find(publicOf(t, key), "ops")
	refusedFor(t, err, "the key ops has two files", a, b)
	_, err = ring.Named("ci")
	refusedFor(t, err, "the key ci has two files", c, d)
	if problems := ring.Problems(); len(problems) != 2 {
		t.Errorf("problems %q", problems)
	}

	// The same directory in other words has no second file.
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(one, link); err != nil {
		t.Fatal(err)
	}
	if _, err := ringOf(one, one+"/.", link).Find(publicOf(t, key), "ops"); err != nil {
		t.Error(err)
	}
}

func TestALoginChoosesAmongTheNamesOfAKey(t *testing.T) {
	dir := t.TempDir()
	key := ed25519Key(t)
	a, b := write(t, dir, "ann.pem", spki(t, key.Public())), write(t, dir, "bob.pub", authorized(publicOf(t, key)))
	ring := ringOf(dir)
	for _, login := range []string{"ann", "bob"} {
		if got, err := ring.Find(publicOf(t, key), login); err != nil || got.Name != login {
			t.Errorf("as %s: %v, %v", login, got.Name, err)
		}
	}
	_, err := ring.Find(publicOf(t, key), "root")
	refusedFor(t, err, "several names", a, b)
}

func TestNamesThatAreNone(t *testing.T) {
	dir := t.TempDir()
	key := ed25519Key(t)
	for _, name := range []string{"a b", "a@b", "a\nb", "a\u202eb", string([]byte{0xff})} {
		write(t, dir, name+".pem", spki(t, key.Public()))
		_, err := ringOf(dir).Named(name)
		refusedFor(t, err, "can be no name of a key")
	}
	for _, name := range []string{"", ".", "..", "../" + filepath.Base(dir) + "/k", "/k", "k\x00", strings.Repeat("k", 300)} {
		if _, err := ringOf(dir).Named(name); err == nil {
			t.Errorf("%q is a name", name)
		}
	}
	_, err := ringOf(dir).Find(publicOf(t, key), "")
	refusedFor(t, err, "no .pem or .pub file")
	problems := ringOf(dir).Problems()
	if len(problems) != 5 || strings.ContainsAny(strings.Join(problems, ""), "\n\u202e") {
		t.Errorf("problems %q", problems)
	}
}

func TestFilesOfOtherKinds(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "dir.pem"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo.pem"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", filepath.Join(dir, "zero.pem")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "dangling.pub")); err != nil {
		t.Fatal(err)
	}
	key := ed25519Key(t)
	if err := os.Symlink(write(t, t.TempDir(), "elsewhere", spki(t, key.Public())), filepath.Join(dir, "link.pem")); err != nil {
		t.Fatal(err)
	}
	ring := ringOf(dir)
	for name, want := range map[string]string{
		"dir": "is no regular file", "fifo": "is no regular file", "zero": "is no regular file", "dangling": "no such file",
	} {
		_, err := ring.Named(name)
		refusedFor(t, err, want)
	}
	if got, err := ring.Find(publicOf(t, key), ""); err != nil || got.Name != "link" {
		t.Errorf("a link to a key: %v, %v", got, err)
	}
}

func TestDirectoriesThatAreNone(t *testing.T) {
	dir := t.TempDir()
	missing, file := filepath.Join(dir, "missing"), write(t, dir, "file", "")
	ring := ringOf(missing, file)
	problems := ring.Problems()
	want := []string{missing + ": cannot be read: no such file or directory", file + ": is no directory"}
	if !reflect.DeepEqual(problems, want) {
		t.Errorf("problems %q, want %q", problems, want)
	}
	_, err := ring.Named("ops")
	refusedFor(t, err, missing+": cannot be read")
	_, err = ringOf().Find(publicOf(t, ed25519Key(t)), "x")
	refusedFor(t, err, "no directory of keys is set")
}

func TestKeysAreAddedRevokedAndChangedWhileInUse(t *testing.T) {
	dir := t.TempDir()
	dirs := []string{dir}
	var mu sync.Mutex
	ring := keyring.NewRing(func() []string {
		mu.Lock()
		defer mu.Unlock()
		return dirs
	})
	first, second := ed25519Key(t), ed25519Key(t)
	path := filepath.Join(dir, "ops.pem")
	for range 3 {
		// The two texts have one length, and are written within one tick of the
		// clock of many file systems.
		write(t, dir, "ops.pem", spki(t, first.Public()))
		key, err := ring.Find(publicOf(t, first), "")
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir, "ops.pem", spki(t, second.Public()))
		refusedFor(t, ring.Check(key), path+" has another key now")
		if _, err := ring.Find(publicOf(t, first), ""); !isUnknown(err) {
			t.Fatalf("the former key: %v", err)
		}
		if _, err := ring.Find(publicOf(t, second), ""); err != nil {
			t.Fatal(err)
		}
	}
	key, err := ring.Named("ops")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, filepath.Join(dir, "ops.off")); err != nil {
		t.Fatal(err)
	}
	refusedFor(t, ring.Check(key), "no .pem or .pub file", `"ops"`)
	if err := os.Rename(filepath.Join(dir, "ops.off"), path); err != nil {
		t.Fatal(err)
	}
	if err := ring.Check(key); err != nil {
		t.Error(err)
	}
	mu.Lock()
	dirs = nil
	mu.Unlock()
	refusedFor(t, ring.Check(key), "no directory of keys is set")
}

func TestManyLookAtOnce(t *testing.T) {
	dir := t.TempDir()
	key := ed25519Key(t)
	ring := ringOf(dir)
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			for range 50 {
				if k, err := ring.Find(publicOf(t, key), "a"); err == nil {
					_ = ring.Check(k)
				}
				_ = ring.Problems()
			}
		})
	}
	for range 100 {
		path := write(t, dir, "a.pem", spki(t, key.Public()))
		_ = os.Remove(path)
	}
	readers.Wait()
}
