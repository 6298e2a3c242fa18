package runtime

import "sync"

// shared is a look at many processes that all share who ask for it at the same
// time: with hundreds of children told to stop together, each would look for
// itself. The zero value is ready.
type shared[T any] struct {
	// looking is held by the one who looks.
	looking sync.Mutex
	mu      sync.Mutex
	// next, guarded by mu, is the look that has not begun: one who asks now
	// may share it, because it will see what is true now or later.
	next *look[T]
}

type look[T any] struct {
	done  chan struct{}
	found T
	err   error
}

// look returns what one call of at returned that began after this one. Others have
// the same result: do not change it.
func (s *shared[T]) look(at func() (T, error)) (T, error) {
	s.mu.Lock()
	l := s.next
	if l != nil {
		s.mu.Unlock()
		<-l.done
		return l.found, l.err
	}
	l = &look[T]{done: make(chan struct{})}
	s.next = l
	s.mu.Unlock()

	s.looking.Lock()
	s.mu.Lock()
	s.next = nil
	s.mu.Unlock()
	l.found, l.err = at()
	s.looking.Unlock()
	close(l.done)
	return l.found, l.err
}
