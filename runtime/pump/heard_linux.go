package pump

import "golang.org/x/sys/unix"

// heard takes in what the pump says unasked. It takes over fds.
func (c *Client) heard(m message, fds []int) {
	switch {
	case m.Op == opLeft && m.Key != nil && m.Left != nil:
		fds = c.inherit(*m.Key, *m.Left, fds)
	case m.Op == opStream && m.Key != nil && m.Attach != nil && len(fds) == 2:
		fds = c.learn(*m.Key, *m.Attach, fds)
	}
	closeAll(fds)
	for _, s := range m.Stats {
		c.takeStats(s)
	}
}

// inherit keeps what a pump left for the next one. It returns the descriptors
// that it does not need.
func (c *Client) inherit(k Key, r remains, fds []int) []int {
	left := leftover{r, -1}
	if len(fds) > 0 {
		left.fd, fds = fds[0], fds[1:]
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left[k] = left
	return fds
}

// learn takes over a stream that a former server attached. It returns the
// descriptors that it does not need.
func (c *Client) learn(k Key, how attachment, fds []int) []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.streams[k] != nil {
		return fds
	}
	c.streams[k] = &attached{fifo: fds[0], dest: fds[1], how: how}
	return nil
}

// takeStats notes the stats of one stream, and tells who wants to know.
func (c *Client) takeStats(s streamStats) {
	if s.Ended && c.o.Ended != nil {
		// First, so that at any time either it or StatsOf has told.
		c.o.Ended(s.Key, s.Stats)
	}
	c.mu.Lock()
	before := c.stats[s.Key]
	c.stats[s.Key] = s.Stats
	if s.Ended {
		c.release(s.Key)
		delete(c.stats, s.Key)
		c.tellChanged()
	}
	c.mu.Unlock()
	if !s.Ended && c.o.Changed != nil && (before.Fault != s.Fault || before.Dropped != s.Dropped) {
		c.o.Changed(s.Key)
	}
}

// fault says what is wrong with a stream that no pump has.
func (c *Client) fault(k Key, err error) {
	c.mu.Lock()
	now := c.stats[k]
	if a := c.streams[k]; a != nil {
		a.faulty = true
	}
	c.mu.Unlock()
	now.Fault = err.Error()
	c.takeStats(streamStats{Key: k, Stats: now})
}

func (c *Client) faultAll(err error) {
	c.mu.Lock()
	var keys []Key
	for k := range c.streams {
		keys = append(keys, k)
	}
	c.mu.Unlock()
	for _, k := range keys {
		c.fault(k, err)
	}
}

// forget gives a stream up.
func (c *Client) forget(k Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.release(k)
	delete(c.stats, k)
	c.tellChanged()
}

// release closes what is held of a stream. mu is held.
func (c *Client) release(k Key) {
	a := c.streams[k]
	if a == nil {
		return
	}
	c.lookout.remove(a.fifo)
	_ = unix.Close(a.fifo)
	if a.dest >= 0 {
		_ = unix.Close(a.dest)
	}
	delete(c.streams, k)
}

// tellChanged wakes those who wait for a change. mu is held.
func (c *Client) tellChanged() {
	close(c.changed)
	c.changed = make(chan struct{})
}
