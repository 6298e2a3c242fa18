package keyring

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"

	"kita/control/owned"
)

// HostKey reads the server's key, an Ed25519 key in the format of OpenSSH, and
// makes it on first use with mode 0600, so that a crash leaves either none or a
// whole one, and servers that make it at the same time all get the same. A file
// that others can read, or that holds no key, is an error: a new key in its
// place would lock every client out.
func HostKey(path string) (ssh.Signer, error) {
	signer, err := readHostKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return signer, err
	}
	if err := makeHostKey(path); err != nil {
		return nil, fmt.Errorf("cannot make the host key %s: %w", path, err)
	}
	return readHostKey(path)
}

func readHostKey(path string) (ssh.Signer, error) {
	text, st, err := readKeyFile(path)
	if err != nil {
		return nil, fmt.Errorf("the host key %s %w", path, err)
	}
	if err := owned.Check(&st); err != nil {
		return nil, fmt.Errorf("the host key %s %w", path, err)
	}
	if st.Mode&0o077 != 0 {
		return nil, fmt.Errorf("the host key %s is open to others (mode %04o), so it may be known to them: remove it and a new one is made, or chmod 600 %s if nobody has read it", path, st.Mode&0o7777, path)
	}
	signer, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return nil, fmt.Errorf("the host key %s holds no key that can be read, put it back from a copy, or remove it and a new one is made, which clients must be told of: %w", path, err)
	}
	if kind := signer.PublicKey().Type(); kind != ssh.KeyAlgoED25519 {
		return nil, fmt.Errorf("the host key %s is of the kind %s, it must be Ed25519: put it back from a copy, or remove it and a new one is made, which clients must be told of", path, kind)
	}
	return signer, nil
}

// makeHostKey writes a key beside path and links it there, which fails where
// another was quicker; then that one counts.
func makeHostKey(path string) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(key, "kita host key")
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	temp, err := writeTemp(dir, filepath.Base(path)+".new-*", pem.EncodeToMemory(block))
	if err != nil {
		return reasonOf(err)
	}
	defer os.Remove(temp)
	if err := os.Link(temp, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(dir)
}

// writeTemp writes a file of mode 0600 through to the disk. Of one that cannot
// be written nothing is left.
func writeTemp(dir, pattern string, content []byte) (path string, err error) {
	f, err := os.CreateTemp(dir, pattern)
	if err != nil {
		return "", err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(content); err != nil {
		return "", err
	}
	return f.Name(), f.Sync()
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
