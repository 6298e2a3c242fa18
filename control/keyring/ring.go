package keyring

import (
	"errors"

	"golang.org/x/crypto/ssh"
)

// Key is a public key that a server admits.
type Key struct {
	// Name is the file's name without .pem or .pub.
	Name string
	// File is where it was found.
	File   string
	Public ssh.PublicKey
}

// Fingerprint is that of OpenSSH, "SHA256:…".
func (k Key) Fingerprint() string { return ssh.FingerprintSHA256(k.Public) }

// Ring finds the public keys in directories, which it looks at anew each time:
// what has been read is kept only as long as the files are the same. Its
// methods may be called from many goroutines at once.
type Ring struct {
	dirs func() []string
}

// NewRing makes a ring of the directories that dirs returns at each call.
func NewRing(dirs func() []string) *Ring { return &Ring{dirs: dirs} }

// Find returns the key whose public half is public. Of a key that lies there
// under several names, login chooses one. The error says, for the server's own
// log, why there is none: no file has it, two files have its name, the file may
// be written by others, the key is too weak.
func (r *Ring) Find(public ssh.PublicKey, login string) (Key, error) {
	return Key{}, errors.New("not built yet")
}

// Named returns the key of that name, with the errors of Find.
func (r *Ring) Named(name string) (Key, error) { return Key{}, errors.New("not built yet") }

// Check is nil while the key may still be used: its file is there, and has the
// same key.
func (r *Ring) Check(k Key) error { return errors.New("not built yet") }

// Problems has a line for each directory and file that cannot be used.
func (r *Ring) Problems() []string { return nil }
