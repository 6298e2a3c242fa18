package control

import (
	"bytes"
	"crypto/rsa"
	"fmt"
	"time"

	"kita/control/keyring"
	"kita/control/legacy"
)

// openPacket opens a packet of supervisor-rs: with the RSA key of its name that
// may connect, if the same key also lies in legacy_keys_path under that name.
// The error is for the server's own log. Whatever is amiss, the work is the
// same, because strangers can measure it.
func (s *Server) openPacket(name string, body []byte) (keyring.Key, []byte, error) {
	key, public, refusal := s.oldKey(name)
	command, err := legacy.Open(public, body)
	if refusal != nil {
		return key, nil, refusal
	}
	return key, command, err
}

// oldKey returns the key of that name, and its public half if its packets are
// accepted.
func (s *Server) oldKey(name string) (keyring.Key, *rsa.PublicKey, error) {
	key, err := s.keys.Named(name)
	old, oldErr := s.legacyKeys.Named(name)
	if err != nil {
		return key, nil, err
	}
	if oldErr != nil {
		return key, nil, fmt.Errorf("its packets can be sent again by whoever saw one, so they are taken only with the key in legacy_keys_path as well: %w", oldErr)
	}
	if !bytes.Equal(key.Public.Marshal(), old.Public.Marshal()) {
		return key, nil, fmt.Errorf("%s and %s are two keys", key.File, old.File)
	}
	public, ok := key.RSA()
	if !ok {
		return key, nil, fmt.Errorf("%s is no RSA key", key.File)
	}
	return key, public, nil
}

// opens tells whether a packet is whole.
func (s *Server) opens(name string, body []byte) bool {
	_, _, err := s.openPacket(name, body)
	return err == nil
}

// unseal is openPacket for a request of c, whose asker it becomes. The error is
// for the audit log, the peer hears less.
func (s *Server) unseal(c *conn, name string, body []byte) ([]byte, error) {
	c.asker.via = viaOld
	key, command, err := s.openPacket(name, body)
	if err != nil {
		err = fmt.Errorf("an old packet of the key %s: %w", shown(name), err)
		if s.packetLog.allow(time.Now()) {
			s.opt.Logger.Warn("an old packet is refused", "by", c.asker.by(), "reason", err)
		}
		return nil, err
	}
	c.asker.key = key.Name
	s.opt.Logger.Warn("an old packet is carried out, which whoever saw it can send again",
		"key", key.Name, "fingerprint", key.Fingerprint(), "peer", c.asker.peer)
	return command, nil
}
