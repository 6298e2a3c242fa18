package keyring

import (
	"errors"

	"golang.org/x/crypto/ssh"
)

// HostKey reads the server's key, an Ed25519 key in the format of OpenSSH, and
// makes it on first use with mode 0600, so that a crash leaves either none or a
// whole one. A file that others can read, or that holds no key, is an error: a
// new key in its place would lock every client out.
func HostKey(path string) (ssh.Signer, error) { return nil, errors.New("not built yet") }
