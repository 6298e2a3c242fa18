package store

import "runtime"

// waitForJoined returns once n writes have joined the open batch. Joining is a
// step on the way to waiting for the disk and has no event of its own; the
// test's own time limit bounds the loop.
func waitForJoined(s *Store, n int) {
	for {
		s.mu.Lock()
		joined := len(s.open.writes)
		s.mu.Unlock()
		if joined == n {
			return
		}
		runtime.Gosched()
	}
}
