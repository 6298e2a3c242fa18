//go:build !linux

package store

import (
	"crypto/sha256"
	"encoding/hex"
)

// ID names this server among all those of the machine.
func (s *Store) ID() string { return s.id }

func makeID(bootID, runDir string) (string, error) {
	sum := sha256.Sum256([]byte(bootID + " " + runDir))
	return hex.EncodeToString(sum[:6]), nil
}
