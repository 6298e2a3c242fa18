package keyring

import (
	"context"
	"errors"

	"golang.org/x/crypto/ssh"
)

// Private is a user's own key.
type Private struct {
	// Name is that of its file without .pem, as old packets give it and as the
	// login of SSH; for a key of the agent the name it was asked for by.
	Name string
	ssh.Signer
	// Warning is what its owner should know: others can read the file.
	Warning string
}

// Passphrase returns the passphrase of the file; it is called only where one is
// needed, at most once for each OpenPrivate.
type Passphrase func(file string) ([]byte, error)

// OpenPrivate reads what stands after `with`: a file (PKCS#1, PKCS#8, SEC 1 or
// OpenSSH format; RSA of 2,048 bits or more, Ed25519, ECDSA), or agent:NAME, a
// key of the ssh-agent at $SSH_AUTH_SOCK whose comment, the last part of whose
// comment without .pem, or whose fingerprint is NAME. The agent's connection is
// closed when ctx ends.
func OpenPrivate(ctx context.Context, with string, passphrase Passphrase) (*Private, error) {
	return nil, errors.New("not built yet")
}
