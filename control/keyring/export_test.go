package keyring

import "time"

// SetClock gives the ring another time, before its first use.
func (r *Ring) SetClock(now func() time.Time) { r.now = now }

// Remembered is how many files the ring keeps the contents of.
func (r *Ring) Remembered() int { return len(r.remembered()) }
