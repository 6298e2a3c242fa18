package keyring_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

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
