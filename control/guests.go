package control

import (
	"fmt"
	"sync"
	"time"

	"kita/spec"
)

// guests are the clients that are connected with a key. One goroutine looks
// after all of them, while there are any: it ends the connections of a key that
// was revoked.
type guests struct {
	mu      sync.Mutex
	present map[*conn]*guest // owned by mu
	// keys are those of the clients, by name. Owned by mu.
	keys map[string]*keyUse
	// empty is closed when the last one has left; nil while nobody looks. Owned
	// by mu.
	empty chan struct{}
}

// keyUse is what the clients of one key have together, so that one key does not
// use up what is there for all.
type keyUse struct {
	clients  int
	channels chan struct{}
}

// maxClientsOfKey and maxChannelsOfKey cap the connections and the channels of a
// key.
const maxClientsOfKey, maxChannelsOfKey = 256, 64

// revocationTick is how often the keys of open connections are looked at.
const revocationTick = time.Second

// welcome takes in a client that has proved its key.
func (s *Server) welcome(c *conn, g *guest) {
	s.guests.mu.Lock()
	defer s.guests.mu.Unlock()
	s.guests.present[c] = g
	use := s.guests.keys[g.key.Name]
	if use == nil {
		use = &keyUse{channels: make(chan struct{}, maxChannelsOfKey)}
		s.guests.keys[g.key.Name] = use
	}
	use.clients++
	g.channels = use.channels
	g.isSurplus = use.clients > maxClientsOfKey
	if !g.isSurplus {
		_ = c.transport.crowd.settle(c)
	}
	if s.guests.empty == nil {
		empty := make(chan struct{})
		s.guests.empty = empty
		// The caller is a task, so there is one at least.
		s.tasks.Go(func() { s.lookAfter(empty) })
	}
}

func (g *guests) remove(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	who := g.present[c]
	if who == nil {
		return
	}
	delete(g.present, c)
	use := g.keys[who.key.Name]
	use.clients--
	if use.clients == 0 {
		delete(g.keys, who.key.Name)
	}
	if len(g.present) == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
}

func (g *guests) list() []*guest {
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []*guest
	for _, each := range g.present {
		list = append(list, each)
	}
	return list
}

// lookAfter ends the connections whose key is not admitted any more.
func (s *Server) lookAfter(empty <-chan struct{}) {
	tick := time.NewTicker(revocationTick)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.expel()
		case <-empty:
			return
		}
	}
}

// expel looks at each key once, however many connections it has.
func (s *Server) expel() {
	type identity struct{ name, wire string }
	checked := map[identity]error{}
	for _, g := range s.guests.list() {
		id := identity{g.key.Name, string(g.key.Public.Marshal())}
		err, ok := checked[id]
		if !ok {
			err = s.keys.Check(g.key)
			checked[id] = err
		}
		if err != nil {
			g.over.secured.Break(s.revoked(g, err))
		}
	}
}

// revoked writes down that a key is not admitted any more, once for each
// connection, and returns what its client is told: why is for the log.
func (s *Server) revoked(g *guest, why error) error {
	g.expelled.Do(func() {
		s.opt.Logger.Warn("a key was revoked, its connection ends", "by", g.asker.by(), "reason", why)
		s.record(g.asker, verbConnect, "", string(codeForbidden), fmt.Sprintf("the key %s was revoked, so its connection ends: %v", g.key.Name, why))
	})
	return fmt.Errorf("the key %s was revoked", g.key.Name)
}

// surplus is revoked for a connection that is one too many.
func (s *Server) surplus(g *guest) error {
	err := fmt.Errorf("more than %d connections are open with the key %s", maxClientsOfKey, g.key.Name)
	g.expelled.Do(func() { s.recordRefused(g.asker, spec.Unavailable, err.Error()) })
	return err
}
