package keyring_test

import (
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"kita/control/keyring"
)

func TestManyKeysAreReadOnce(t *testing.T) {
	dir := t.TempDir()
	keys := map[string]ssh.PublicKey{}
	for i := range 300 {
		name := fmt.Sprintf("key%d", i)
		keys[name] = publicOf(t, ecdsaKey(t, elliptic.P256()))
		write(t, dir, name+".pub", authorized(keys[name]))
	}
	ring := ringOf(dir)
	// Files changed a moment ago are not remembered.
	later := time.Now().Add(time.Hour)
	ring.SetClock(func() time.Time { return later })
	first := map[string]keyring.Key{}
	for name := range keys {
		var err error
		if first[name], err = ring.Named(name); err != nil {
			t.Fatal(err)
		}
	}
	for name, public := range keys {
		again, err := ring.Named(name)
		// Keys of ECDSA are pointers: the same one means that nothing was read.
		if err != nil || again != first[name] {
			t.Fatalf("%s is read anew, or gone: %v", name, err)
		}
		if strings.HasPrefix(name, "key1") {
			if found, err := ring.Find(public, ""); err != nil || found != first[name] {
				t.Fatalf("%s is read anew, or gone: %v", name, err)
			}
		}
	}
	for name := range keys {
		if name != "key7" {
			if err := os.Remove(filepath.Join(dir, name+".pub")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if found, err := ring.Find(keys["key7"], ""); err != nil || found != first["key7"] {
		t.Error(err)
	}
	if got := ring.Remembered(); got != 1 {
		t.Errorf("%d files are remembered, and one is left", got)
	}
	if err := os.Remove(filepath.Join(dir, "key7.pub")); err != nil {
		t.Fatal(err)
	}
	if err := ring.Check(first["key7"]); err == nil || ring.Remembered() != 0 {
		t.Errorf("the last file is gone: error %v, %d remembered", err, ring.Remembered())
	}
}

// BenchmarkFindAmongAThousand is what a connection costs a server with a
// thousand keys.
func BenchmarkFindAmongAThousand(b *testing.B) {
	dir := b.TempDir()
	var last ssh.PublicKey
	for i := range 1000 {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		if last, err = ssh.NewPublicKey(public); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("key%d.pub", i)), []byte(authorized(last)), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	ring := ringOf(dir)
	later := time.Now().Add(time.Hour)
	ring.SetClock(func() time.Time { return later })
	for b.Loop() {
		if _, err := ring.Find(last, ""); err != nil {
			b.Fatal(err)
		}
	}
}
