package sshhost

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"

	"kita/control/keyring"
)

// krlMagic is how a key revocation list of OpenSSH begins (PROTOCOL.krl).
const krlMagic = "SSHKRL\n\x00"

// checkRevoked is the error of a key that a file of RevokedHostKeys lists, itself or
// as the authority of a certificate. A file that cannot be read is an error for
// every host, as it is for ssh: it could be this one's key that it lists.
func (s settings) checkRevoked(addr string, key ssh.PublicKey) error {
	keys := []ssh.PublicKey{key}
	if certificate, ok := key.(*ssh.Certificate); ok {
		keys = []ssh.PublicKey{certificate.Key, certificate.SignatureKey}
	}
	for _, list := range s.revoked {
		text, err := readConfigFile(list, false)
		if err == nil && bytes.HasPrefix(text, []byte(krlMagic)) {
			err = errors.New("it is a KRL, which kita does not read: list the public keys as text, one a line")
		}
		if err != nil {
			return &ConfigError{File: list, Err: fmt.Errorf("no host is trusted without the RevokedHostKeys: %w", err)}
		}
		number := 0
		for line := range bytes.Lines(text) {
			number++
			if line = bytes.TrimSpace(line); len(line) == 0 || line[0] == '#' {
				continue
			}
			listed, _, _, _, err := ssh.ParseAuthorizedKey(line)
			if err != nil {
				return &ConfigError{File: list, Line: number, Err: errors.New("no host is trusted without the RevokedHostKeys: this is no public key")}
			}
			for _, key := range keys {
				if same(key, listed) {
					fingerprint := ssh.FingerprintSHA256(key)
					return &keyring.HostKeyError{Host: addr, File: list, Line: number, Fingerprint: fingerprint, Message: fmt.Sprintf(
						"the host %s has the key %s, which %s:%d revokes: do not use the host until its key was replaced", addr, fingerprint, list, number)}
				}
			}
		}
	}
	return nil
}
