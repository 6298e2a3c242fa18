package keyring_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"kita/control/keyring"
)

func TestTheHostKeyIsMadeOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "host_key")
	const servers = 8
	var keys [servers]ssh.Signer
	var racing sync.WaitGroup
	for i := range servers {
		racing.Go(func() {
			key, err := keyring.HostKey(path)
			if err != nil {
				t.Error(err)
				return
			}
			keys[i] = key
		})
	}
	racing.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for _, key := range keys {
		if !bytes.Equal(key.PublicKey().Marshal(), keys[0].PublicKey().Marshal()) {
			t.Fatal("two servers have two keys")
		}
	}
	if kind := keys[0].PublicKey().Type(); kind != ssh.KeyAlgoED25519 {
		t.Errorf("the key is %s", kind)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if out := tool(t, "ssh-keygen", "-l", "-f", path); !strings.Contains(out, ssh.FingerprintSHA256(keys[0].PublicKey())) {
		t.Errorf("ssh-keygen says %q", out)
	}
}

func TestHostKeysThatCannotBeUsed(t *testing.T) {
	rsa, _ := madeKey(t, "ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", "FILE")
	encrypted, _ := madeKey(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", "FILE")
	open, _ := madeKey(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "FILE")
	if err := os.Chmod(open, 0o640); err != nil {
		t.Fatal(err)
	}
	empty := write(t, t.TempDir(), "host_key", "")
	for path, want := range map[string]string{
		rsa:           "must be Ed25519",
		encrypted:     "holds no key that can be read, put it back from a copy",
		open:          "is open to others (mode 0640)",
		empty:         "holds no key that can be read",
		t.TempDir():   "is no regular file",
		"/nowhere/hk": "cannot make the host key /nowhere/hk: no such file or directory",
	} {
		before, _ := os.ReadFile(path)
		_, err := keyring.HostKey(path)
		says(t, err, path, want)
		if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
			t.Errorf("%s was written to", path)
		}
	}
}
