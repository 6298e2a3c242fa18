package pump

import "sync"

// writersPerDevice is how many files of one file system are written to at the
// same time, since each write(2) that hangs holds a thread.
const writersPerDevice = 4

// device is what can hang: a file system, or a single file that is not regular.
type device struct {
	dev, ino uint64
}

// gates keep a hung device from taking all threads.
type gates struct {
	mu sync.Mutex
	// open are the gates in use, guarded by mu.
	open map[device]*gate
}

type gate struct {
	device device
	tokens chan struct{}
	// users, guarded by gates.mu, are those who have the gate.
	users int
}

// get returns the gate of a device. It is given back with put.
func (g *gates) get(d device) *gate {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open == nil {
		g.open = map[device]*gate{}
	}
	one := g.open[d]
	if one == nil {
		one = &gate{device: d, tokens: make(chan struct{}, writersPerDevice)}
		g.open[d] = one
	}
	one.users++
	return one
}

func (g *gates) put(one *gate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if one.users--; one.users == 0 {
		delete(g.open, one.device)
	}
}

func (g *gate) enter() { g.tokens <- struct{}{} }
func (g *gate) leave() { <-g.tokens }
