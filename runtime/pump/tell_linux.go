package pump

import (
	"maps"
	"slices"
	"time"
)

const (
	// tellPause is how long the servers are told nothing after they were.
	tellPause = 250 * time.Millisecond
	// quietAfter is how long there has been nothing to tell when a burst is over.
	quietAfter = 5 * time.Second
	// statsPerMessage keeps a message short enough.
	statsPerMessage = 200
)

// tell tells the servers what has changed, until the pump is empty.
func (h *house) tell() {
	pause, quiet := time.NewTimer(0), time.NewTimer(quietAfter)
	for {
		select {
		case <-h.empty:
			return
		case <-pause.C:
		}
		select {
		case <-h.empty:
			return
		case <-quiet.C:
			giveBackChunks()
			pause.Reset(0)
			continue
		case <-h.news:
		}
		h.tellNews()
		pause.Reset(tellPause)
		quiet.Reset(quietAfter)
	}
}

func (h *house) tellNews() {
	h.telling.Lock()
	defer h.telling.Unlock()
	h.mu.Lock()
	all := h.ended
	h.ended = nil
	for _, s := range h.streams {
		if now := s.stats(); now != s.told {
			s.told = now
			all = append(all, streamStats{Key: s.key, Stats: now})
		}
	}
	servers := make([]*link, 0, len(h.servers))
	for l := range h.servers {
		servers = append(servers, l)
	}
	h.mu.Unlock()
	for _, l := range servers {
		sendStats(l, all)
	}
}

// welcome tells a server of every stream, and then that this is all.
func (h *house) welcome(l *link, answer message) {
	h.telling.Lock()
	defer h.telling.Unlock()
	h.mu.Lock()
	h.servers[l] = struct{}{}
	keys := slices.Collect(maps.Keys(h.streams))
	h.mu.Unlock()
	for _, k := range keys {
		if m, fds := h.describe(k); len(fds) > 0 {
			_ = l.send(m, fds...)
			closeAll(fds)
		}
	}
	_ = l.send(answer)
}

// describe returns what a server has to know of a stream, with descriptors of its
// own; without any if there is no such stream.
func (h *house) describe(k Key) (message, []int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.streams[k]
	if s == nil {
		return message{}, nil
	}
	s.mu.Lock()
	l := s.lane
	s.mu.Unlock()
	fds, err := duplicates(s.fifo, l.sink.fd)
	if err != nil {
		return message{}, nil
	}
	return message{Op: opStream, Key: &k, Attach: &l.how, Stats: []streamStats{{Key: k, Stats: s.stats()}}}, fds
}

// sendStats tells one server. One that does not read is cut off, and learns
// everything anew when it comes back.
func sendStats(l *link, all []streamStats) {
	for len(all) > 0 {
		n := min(len(all), statsPerMessage)
		if err := l.send(message{Op: opStats, Stats: all[:n]}); err != nil {
			_ = l.conn.Close()
			return
		}
		all = all[n:]
	}
}
