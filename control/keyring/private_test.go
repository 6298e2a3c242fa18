package keyring_test

import (
	"bytes"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"kita/control/keyring"
)

const phrase = "correct horse"

// saying is a Passphrase that counts how often it is asked.
func saying(phrase string, asked *int) keyring.Passphrase {
	return func(string) ([]byte, error) {
		*asked++
		return []byte(phrase), nil
	}
}

// worksAs checks that the key signs as the public key of a file says, and not
// with SHA-1.
func worksAs(t *testing.T, p *keyring.Private, public ssh.PublicKey) {
	t.Helper()
	if !bytes.Equal(p.PublicKey().Marshal(), public.Marshal()) {
		t.Fatal("it is another key")
	}
	if len(p.Algorithms()) == 0 || slices.Contains(p.Algorithms(), ssh.KeyAlgoRSA) {
		t.Errorf("signs with %q", p.Algorithms())
	}
	multi, ok := p.Signer.(ssh.MultiAlgorithmSigner)
	if !ok {
		t.Fatal("its signer does not tell how it signs")
	}
	for _, signer := range []ssh.MultiAlgorithmSigner{p, multi} {
		for _, algorithm := range signer.Algorithms() {
			signature, err := signer.SignWithAlgorithm(rand.Reader, []byte("data"), algorithm)
			if err != nil {
				t.Fatal(err)
			}
			if signature.Format != algorithm || public.Verify([]byte("data"), signature) != nil {
				t.Errorf("the signature of %s is %s and does not verify", algorithm, signature.Format)
			}
		}
		if _, err := signer.SignWithAlgorithm(rand.Reader, []byte("data"), ssh.KeyAlgoRSA); err == nil {
			t.Error("signs with ssh-rsa")
		}
	}
}

// madeKey makes a key with openssl or ssh-keygen and returns its file and its
// public half.
func madeKey(t *testing.T, command ...string) (path string, public ssh.PublicKey) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "ops.pem")
	for i := range command {
		command[i] = strings.ReplaceAll(command[i], "FILE", path)
	}
	tool(t, command[0], command[1:]...)
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if command[0] == "ssh-keygen" {
		public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(readFile(t, path+".pub")))
		if err != nil {
			t.Fatal(err)
		}
		return path, public
	}
	block, _ := pem.Decode([]byte(tool(t, "openssl", "pkey", "-in", path, "-passin", "pass:"+phrase, "-pubout")))
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	public, err = ssh.NewPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return path, public
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestPrivateKeysOfEveryFormat(t *testing.T) {
	pass := "pass:" + phrase
	rsa, _ := madeKey(t, "openssl", "genrsa", "-out", "FILE", "2048")
	ec, _ := madeKey(t, "openssl", "ecparam", "-name", "secp384r1", "-genkey", "-out", "FILE")
	tests := []struct {
		name      string
		encrypted bool
		isRSA     bool
		command   []string
	}{
		{"PKCS#8 RSA", false, true, []string{"openssl", "genrsa", "-out", "FILE", "2048"}},
		{"PKCS#1", false, true, []string{"openssl", "rsa", "-in", rsa, "-traditional", "-out", "FILE"}},
		{"encrypted PKCS#1, AES", true, true, []string{"openssl", "rsa", "-in", rsa, "-traditional", "-aes256", "-passout", pass, "-out", "FILE"}},
		{"encrypted PKCS#1, 3DES", true, true, []string{"openssl", "rsa", "-in", rsa, "-traditional", "-des3", "-passout", pass, "-out", "FILE"}},
		{"encrypted by genrsa", true, true, []string{"openssl", "genrsa", "-aes256", "-passout", pass, "-out", "FILE", "2048"}},
		{"encrypted PKCS#8, AES-128, SHA-1", true, true, []string{"openssl", "pkcs8", "-topk8", "-in", rsa, "-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA1", "-passout", pass, "-out", "FILE"}},
		{"encrypted PKCS#8, AES-192, SHA-384", true, true, []string{"openssl", "pkcs8", "-topk8", "-in", rsa, "-v2", "aes-192-cbc", "-v2prf", "hmacWithSHA384", "-passout", pass, "-out", "FILE"}},
		{"encrypted PKCS#8, 3DES, SHA-512", true, true, []string{"openssl", "pkcs8", "-topk8", "-in", rsa, "-v2", "des3", "-v2prf", "hmacWithSHA512", "-iter", "100000", "-passout", pass, "-out", "FILE"}},
		{"SEC 1 with parameters", false, false, []string{"openssl", "ecparam", "-name", "prime256v1", "-genkey", "-out", "FILE"}},
		{"encrypted SEC 1", true, false, []string{"openssl", "ec", "-in", ec, "-aes128", "-passout", pass, "-out", "FILE"}},
		{"PKCS#8 EC", false, false, []string{"openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521", "-out", "FILE"}},
		{"PKCS#8 Ed25519", false, false, []string{"openssl", "genpkey", "-algorithm", "ED25519", "-out", "FILE"}},
		{"encrypted PKCS#8 Ed25519", true, false, []string{"openssl", "genpkey", "-algorithm", "ED25519", "-aes256", "-pass", pass, "-out", "FILE"}},
		{"OpenSSH Ed25519", false, false, []string{"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "FILE"}},
		{"OpenSSH ECDSA", false, false, []string{"ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", "FILE"}},
		{"OpenSSH RSA", false, true, []string{"ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", "FILE"}},
		{"encrypted OpenSSH", true, false, []string{"ssh-keygen", "-q", "-t", "ed25519", "-a", "1", "-N", phrase, "-f", "FILE"}},
		{"encrypted PEM of ssh-keygen", true, true, []string{"ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", phrase, "-f", "FILE"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path, public := madeKey(t, tt.command...)
			asked := 0
			p, err := keyring.OpenPrivate(t.Context(), path, saying(phrase, &asked))
			if err != nil {
				t.Fatal(err)
			}
			worksAs(t, p, public)
			if p.Name != "ops" || p.Warning != "" {
				t.Errorf("name %q, warning %q", p.Name, p.Warning)
			}
			if raw, isRSA := p.RSA(); isRSA != tt.isRSA || isRSA && raw.Validate() != nil {
				t.Errorf("RSA %v", isRSA)
			}
			want := 0
			if tt.encrypted {
				want = 1
				_, err := keyring.OpenPrivate(t.Context(), path, saying("wrong", &asked))
				says(t, err, path, "the passphrase is wrong")
				asked--
				_, err = keyring.OpenPrivate(t.Context(), path, nil)
				says(t, err, path, "is encrypted, and there is nobody to ask")
				_, err = keyring.OpenPrivate(t.Context(), path, func(string) ([]byte, error) { return nil, errNoTerminal })
				if !errors.Is(err, errNoTerminal) {
					t.Errorf("error %v", err)
				}
			}
			if asked != want {
				t.Errorf("asked %d times for a passphrase, want %d", asked, want)
			}
		})
	}
}

var errNoTerminal = errors.New("no terminal")

func says(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error %q is more than a line", err)
	}
}

func TestPrivateKeysThatCannotBeUsed(t *testing.T) {
	weak, good := rsaKey(t, 1024), rsaKey(t, 2048)
	pkcs8 := func(key any) string {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return pemText("PRIVATE KEY", der)
	}
	tests := []struct{ name, text, want string }{
		{"public", spki(t, &good.PublicKey), "is a public key, give the private one"},
		{"public of OpenSSH", authorized(publicOf(t, good)), "is a public key, give the private one"},
		{"certificate", pemText("CERTIFICATE", []byte("x")), "it holds a CERTIFICATE"},
		{"weak", pkcs8(weak), "an RSA key of 1024 bits is too weak"},
		{"curve", pkcs8(ecdsaKey(t, elliptic.P224())), "of a kind that cannot be used"},
		{"PuTTY", "PuTTY-User-Key-File-3: ssh-ed25519\n", "puttygen"},
		{"empty", "", "is no private key"},
		{"broken", pemText("RSA PRIVATE KEY", []byte("x")), "is broken"},
		{"broken OpenSSH", pemText("OPENSSH PRIVATE KEY", []byte("openssh-key-v1\x00\x00")), "is broken"},
		{"unknown", pemText("FOREIGN PRIVATE KEY", []byte("x")), "of a kind that cannot be read"},
		{"too long", strings.Repeat("x", 64<<10+1), "is longer than 65536 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, t.TempDir(), "k.pem", tt.text)
			_, err := keyring.OpenPrivate(t.Context(), path, nil)
			says(t, err, path, tt.want)
		})
	}
	_, err := keyring.OpenPrivate(t.Context(), "/nowhere/k.pem", nil)
	says(t, err, "cannot read the key /nowhere/k.pem: no such file")
	_, err = keyring.OpenPrivate(t.Context(), t.TempDir(), nil)
	says(t, err, "is no regular file")
	_, err = keyring.OpenPrivate(t.Context(), "", nil)
	says(t, err, "has no name")
}

func TestEncryptionsThatAreNotUndone(t *testing.T) {
	pass := "pass:" + phrase
	rsa, _ := madeKey(t, "openssl", "genrsa", "-out", "FILE", "2048")
	for _, how := range [][]string{{"-scrypt"}, {"-v2", "camellia-256-cbc"}} {
		path, _ := madeKey(t, append([]string{"openssl", "pkcs8", "-topk8", "-in", rsa, "-passout", pass, "-out", "FILE"}, how...)...)
		asked := 0
		_, err := keyring.OpenPrivate(t.Context(), path, saying(phrase, &asked))
		says(t, err, path, "openssl pkcs8 -topk8 -v2 aes-256-cbc")
	}
	path, _ := madeKey(t, "openssl", "pkcs8", "-topk8", "-in", rsa, "-v2", "aes-256-cbc", "-iter", "65537", "-passout", pass, "-out", "FILE")
	block, _ := pem.Decode([]byte(readFile(t, path)))
	// The number is an INTEGER of three bytes.
	block.Bytes = bytes.Replace(block.Bytes, []byte{2, 3, 1, 0, 1}, []byte{2, 3, 0x7f, 0xff, 0xff}, 1)
	write(t, filepath.Dir(path), filepath.Base(path), string(pem.EncodeToMemory(block)))
	asked := 0
	_, err := keyring.OpenPrivate(t.Context(), path, saying(phrase, &asked))
	says(t, err, path, "8388607 iterations")

	path, _ = madeKey(t, "ssh-keygen", "-q", "-t", "ed25519", "-a", "1", "-N", phrase, "-f", "FILE")
	block, _ = pem.Decode([]byte(readFile(t, path)))
	// The rounds stand after a salt of 16 bytes and before the number of keys.
	at := bytes.Index(block.Bytes, []byte{0, 0, 0, 1, 0, 0, 0, 1})
	copy(block.Bytes[at:], []byte{0x7f, 0xff, 0xff, 0xff})
	write(t, filepath.Dir(path), filepath.Base(path), string(pem.EncodeToMemory(block)))
	asked = 0
	_, err = keyring.OpenPrivate(t.Context(), path, saying(phrase, &asked))
	says(t, err, path, "2147483647 rounds")
	if asked != 0 {
		t.Errorf("asked %d times for a passphrase", asked)
	}
}

func TestAnOpenPrivateKeyIsWarnedAbout(t *testing.T) {
	path := write(t, t.TempDir(), "deploy.key", pemText("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey(t, 2048))))
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	p, err := keyring.OpenPrivate(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "deploy" || !strings.Contains(p.Warning, "chmod 600 "+path) || !strings.Contains(p.Warning, "0640") {
		t.Errorf("name %q, warning %q", p.Name, p.Warning)
	}
}

func FuzzParsePrivate(f *testing.F) {
	f.Add([]byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMAA=\n-----END RSA PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if bytes.Contains(text, []byte("OPENSSH")) {
			// Its rounds of bcrypt take long.
			return
		}
		if key, err := keyring.ParsePrivate(text, []byte("x")); (key == nil) == (err == nil) {
			t.Errorf("key %v, error %v", key, err)
		}
	})
}

func FuzzPublicKeyFile(f *testing.F) {
	f.Add([]byte("ssh-ed25519 AAAA x"), true)
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n"), false)
	f.Fuzz(func(t *testing.T, text []byte, line bool) {
		dir, name := t.TempDir(), "k.pem"
		if line {
			name = "k.pub"
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if key, err := ringOf(dir).Named("k"); err == nil && key.Fingerprint() == "" {
			t.Error("a key without a fingerprint")
		}
	})
}
