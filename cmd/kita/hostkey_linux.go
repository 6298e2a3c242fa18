package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"

	"kita/control/keyring"
)

// hostKeyName is the file in the state directory with the key by which clients
// know this server again. Whoever copies a server to another host removes it.
const hostKeyName = "host_key"

// openHostKey reads the server's key, and makes it on the first start. Without
// one a server that serves nothing but SSH does not start; another one goes on
// with a warning, and the result is nil.
func openHostKey(stateDir string, encrypt bool, logger *slog.Logger) (ssh.Signer, error) {
	file := filepath.Join(stateDir, hostKeyName)
	key, err := keyring.HostKey(file)
	switch {
	case err != nil && encrypt:
		return nil, fmt.Errorf("encrypt is on and there is no key for it: %w", err)
	case err != nil:
		logger.Warn("connections over SSH are refused, there is no host key", "err", err)
		return nil, nil
	}
	logger.Info("clients know this server by its host key", "fingerprint", fingerprint(key), "file", file)
	return key, nil
}

// checkHostKey is the error of openHostKey where there is a key already. It
// writes nothing.
func checkHostKey(stateDir string, encrypt bool) error {
	file := filepath.Join(stateDir, hostKeyName)
	if _, err := os.Lstat(file); !encrypt || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	_, err := keyring.HostKey(file)
	return err
}

// fingerprint is that of OpenSSH, "SHA256:…"; empty without a key.
func fingerprint(key ssh.Signer) string {
	if key == nil {
		return ""
	}
	return ssh.FingerprintSHA256(key.PublicKey())
}
