package logs

import "sync"

// bell gathers which sources may have something new, for one goroutine that
// waits on C. A source that rings often is there once.
type bell struct {
	// C has an element when something was rung since the last take.
	C chan struct{}

	mu sync.Mutex
	// All below are guarded by mu.
	order []*reading // oldest first
	rung  map[*reading]bool
	set   bool // the set of sources may have changed
}

func newBell() *bell {
	return &bell{C: make(chan struct{}, 1), rung: map[*reading]bool{}}
}

// ring is called when r may have something new.
func (b *bell) ring(r *reading) {
	b.mu.Lock()
	if !b.rung[r] {
		b.rung[r] = true
		b.order = append(b.order, r)
	}
	b.mu.Unlock()
	b.wake()
}

// ringSet is called when the set may have changed.
func (b *bell) ringSet() {
	b.mu.Lock()
	b.set = true
	b.mu.Unlock()
	b.wake()
}

func (b *bell) wake() {
	select {
	case b.C <- struct{}{}:
	default:
	}
}

// take returns the one that rang first; nil where none did.
func (b *bell) take() *reading {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.order) == 0 {
		return nil
	}
	r := b.order[0]
	b.order[0] = nil
	b.order = b.order[1:]
	delete(b.rung, r)
	return r
}

// takeSet tells whether the set has rung.
func (b *bell) takeSet() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	rang := b.set
	b.set = false
	return rang
}
