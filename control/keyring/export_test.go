package keyring

import "time"

// SetClock gives the ring another time, before its first use.
func (r *Ring) SetClock(now func() time.Time) { r.now = now }

// Remembered is how many files the ring keeps the contents of.
func (r *Ring) Remembered() int { return len(r.remembered()) }

// ParsePrivate reads a private key, whatever it may be worth.
func ParsePrivate(text, phrase []byte) (any, error) {
	return parsePrivate("FILE", text, func(string) ([]byte, error) { return phrase, nil })
}
