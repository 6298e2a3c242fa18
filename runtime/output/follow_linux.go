package output

import (
	"sync"
	"time"
)

// followers are those who want to know when a file grows.
type followers struct {
	mu sync.Mutex
	// wakes and arrived are guarded by mu. arrived is called when there is another
	// one; it may be nil.
	wakes   map[*func()]struct{}
	arrived func()
}

// Subscribe has wake called whenever something may have been written. It may be
// called for nothing, by any goroutine, and must return at once. cancel ends it;
// a call may still be under way then.
func (f *File) Subscribe(wake func()) (cancel func()) {
	s := &f.followers
	key := &wake
	s.mu.Lock()
	if s.wakes == nil {
		s.wakes = map[*func()]struct{}{}
	}
	s.wakes[key] = struct{}{}
	arrived := s.arrived
	s.mu.Unlock()
	if arrived != nil {
		arrived()
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.wakes, key)
	}
}

// wake calls all of them.
func (s *followers) wake() {
	s.mu.Lock()
	wakes := make([]func(), 0, len(s.wakes))
	for w := range s.wakes {
		wakes = append(wakes, *w)
	}
	s.mu.Unlock()
	for _, w := range wakes {
		w()
	}
}

func (s *followers) any() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.wakes) > 0
}

// PositionAt is the largest position that is known to have been written before
// t. What lies from there on may be a little older, and nothing that was written
// at t or later lies before it.
func (f *File) PositionAt(t time.Time) uint64 {
	now := time.Now()
	if end, err := f.measure(now); err == nil {
		// What cannot be written down is in memory.
		_ = f.times.note(now, end)
	}
	return f.times.positionAt(t)
}

// TimeOf is when the byte at pos was first seen: at that time or a little before
// it was written. Zero where that is not known.
func (f *File) TimeOf(pos uint64) time.Time { return f.times.timeOf(pos) }
