package control

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
)

// crowd are the connections over TCP, by address, and in which order those came
// that wait: they have not shown yet what they want, or want what is not let
// through, or were answered and are kept for the next request. Where too many of
// them wait, the oldest gives way: who floods the port with connections pushes
// out its own, and a client that is quick gets in between.
//
// A nil crowd is that of a connection that is in none.
type crowd struct {
	caps crowdCaps

	mu      sync.Mutex
	places  map[*conn]*place          // owned by mu
	from    map[netip.Prefix]*address // owned by mu: those that have a connection
	waiting int                       // owned by mu
}

// crowdCaps bound a crowd: those that wait, those of them of one address, and
// all of one address.
type crowdCaps struct{ waiting, waitingPerAddress, perAddress int }

// address is what one address has: an IPv4 address, or a /64 of IPv6, which is
// what a single subscriber gets.
type address struct {
	open int
	// waiting are *conn, the oldest first.
	waiting list.List
}

// place is where a connection stands; waits is nil while it does not wait.
type place struct {
	prefix netip.Prefix
	waits  *list.Element
}

func newCrowd(caps crowdCaps) *crowd {
	return &crowd{caps: caps, places: map[*conn]*place{}, from: map[netip.Prefix]*address{}}
}

// enter lets a connection wait, unless its address has too many open. The one
// that gives way for it, if any, is the caller's to close.
func (w *crowd) enter(c *conn, remote net.Addr) (givesWay *conn, ok bool) {
	prefix := prefixOf(remote)
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.from[prefix]
	if a == nil {
		a = &address{}
		w.from[prefix] = a
	}
	if a.open >= w.caps.perAddress {
		return nil, false
	}
	a.open++
	p := &place{prefix: prefix}
	w.places[c] = p
	return w.queue(c, p, a), true
}

// queue lets a connection wait behind all others of its address.
func (w *crowd) queue(c *conn, p *place, a *address) (givesWay *conn) {
	switch {
	case a.waiting.Len() >= w.caps.waitingPerAddress:
		givesWay = w.oldest(a)
	case w.waiting >= w.caps.waiting:
		givesWay = w.oldest(w.fullest())
	}
	p.waits = a.waiting.PushBack(c)
	w.waiting++
	return givesWay
}

// wait lets a connection wait again that has been answered. The one that gives
// way for it, if any, is the caller's to close.
func (w *crowd) wait(c *conn) (givesWay *conn) {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.places[c]
	if p == nil || p.waits != nil {
		return nil
	}
	return w.queue(c, p, w.from[p.prefix])
}

// oldest takes the connection that has waited longest at an address.
func (w *crowd) oldest(a *address) *conn {
	c := a.waiting.Front().Value.(*conn)
	w.settleLocked(c)
	return c
}

func (w *crowd) fullest() *address {
	var most *address
	for _, a := range w.from {
		if most == nil || a.waiting.Len() > most.waiting.Len() {
			most = a
		}
	}
	return most
}

// settle ends the waiting of a connection that wants what is let through. It is
// nothing to one that is not in the crowd.
func (w *crowd) settle(c *conn) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settleLocked(c)
}

func (w *crowd) settleLocked(c *conn) {
	p := w.places[c]
	if p == nil || p.waits == nil {
		return
	}
	w.from[p.prefix].waiting.Remove(p.waits)
	p.waits = nil
	w.waiting--
}

// leave takes out a connection that is closed.
func (w *crowd) leave(c *conn) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settleLocked(c)
	p := w.places[c]
	if p == nil {
		return
	}
	delete(w.places, c)
	a := w.from[p.prefix]
	a.open--
	if a.open == 0 {
		delete(w.from, p.prefix)
	}
}

// prefixOf is the address that a connection counts for.
func prefixOf(remote net.Addr) netip.Prefix {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	prefix, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}
