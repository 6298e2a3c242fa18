package control

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
)

// crowd are the connections over TCP, by address, and in which order those came
// that are not being answered. Some wait: they have not shown yet what they want,
// or want what is not let through. Where too many of them wait, the oldest gives
// way: who floods the port with connections pushes out its own, and a client that
// is quick gets in between. Others were let through and are kept for the next
// request: they give way where there would be no room at all otherwise.
//
// A nil crowd is that of a connection that is in none.
type crowd struct {
	caps crowdCaps

	mu      sync.Mutex
	places  map[*conn]*place          // owned by mu
	from    map[netip.Prefix]*address // owned by mu: those that have a connection
	waiting int                       // owned by mu
	came    uint64                    // owned by mu: how often one began to wait
}

// crowdCaps bound a crowd: those that wait, those of them of one address, and
// all of one address.
type crowdCaps struct{ waiting, waitingPerAddress, perAddress int }

// address is what one address has: an IPv4 address, or a /64 of IPv6, which is
// what a single subscriber gets.
type address struct {
	open int
	// waiting and kept are *conn, the oldest first.
	waiting, kept list.List
}

// place is where a connection stands. While it is being answered it is in
// neither list.
type place struct {
	prefix        netip.Prefix
	waiting, kept *list.Element
	// since tells who has waited longer.
	since uint64
}

func newCrowd(caps crowdCaps) *crowd {
	return &crowd{caps: caps, places: map[*conn]*place{}, from: map[netip.Prefix]*address{}}
}

// enter lets a connection wait, unless its address has too many open. Those that
// give way for it are the caller's to close.
func (w *crowd) enter(c *conn, remote net.Addr) (givesWay []*conn, ok bool) {
	prefix := prefixOf(remote)
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.from[prefix]
	if a == nil {
		a = &address{}
		w.from[prefix] = a
	}
	isFull := a.open >= w.caps.perAddress
	switch {
	case isFull && a.kept.Len() == 0:
		return nil, false
	case a.waiting.Len() >= w.caps.waitingPerAddress:
		givesWay = append(givesWay, w.oldest(&a.waiting))
	default:
		if w.waiting >= w.caps.waiting {
			givesWay = append(givesWay, w.oldest(w.longest(func(a *address) *list.List { return &a.waiting })))
		}
		if isFull {
			givesWay = append(givesWay, w.oldest(&a.kept))
		}
	}
	a.open++
	w.waiting++
	w.came++
	w.places[c] = &place{prefix: prefix, waiting: a.waiting.PushBack(c), since: w.came}
	return givesWay, true
}

// spare is a connection that is kept and gives way because there is no room for
// another one; nil where there is none. It is the caller's to close.
func (w *crowd) spare() *conn {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	kept := w.longest(func(a *address) *list.List { return &a.kept })
	if kept == nil || kept.Len() == 0 {
		return nil
	}
	return w.oldest(kept)
}

// oldest takes the first of a list, which is not empty, and has it give way.
func (w *crowd) oldest(l *list.List) *conn {
	c := l.Front().Value.(*conn)
	c.gaveWay.Store(true)
	w.takeOut(w.places[c])
	return c
}

// longest is the list with most connections and, of several, that with the
// oldest.
func (w *crowd) longest(of func(*address) *list.List) *list.List {
	var most *list.List
	for _, a := range w.from {
		l := of(a)
		if most == nil || l.Len() > most.Len() || l.Len() == most.Len() && l.Len() > 0 && w.since(l) < w.since(most) {
			most = l
		}
	}
	return most
}

func (w *crowd) since(l *list.List) uint64 { return w.places[l.Front().Value.(*conn)].since }

// settle ends the waiting of a connection that wants what is let through. It is
// false where the connection has had to give way, so that nothing must be done
// for it any more.
func (w *crowd) settle(c *conn) bool {
	if w == nil {
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.gaveWay.Load() {
		return false
	}
	w.takeOut(w.places[c])
	return true
}

// keep is the reverse of settle, for a connection that has been answered.
func (w *crowd) keep(c *conn) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.places[c]
	if p == nil || p.waiting != nil || p.kept != nil || c.gaveWay.Load() {
		return
	}
	w.came++
	p.kept, p.since = w.from[p.prefix].kept.PushBack(c), w.came
}

// takeOut takes a connection out of its list, if it is in one; p is nil for one
// that is not in the crowd.
func (w *crowd) takeOut(p *place) {
	switch {
	case p == nil:
	case p.waiting != nil:
		w.from[p.prefix].waiting.Remove(p.waiting)
		p.waiting = nil
		w.waiting--
	case p.kept != nil:
		w.from[p.prefix].kept.Remove(p.kept)
		p.kept = nil
	}
}

// leave takes out a connection that is closed.
func (w *crowd) leave(c *conn) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.places[c]
	w.takeOut(p)
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
