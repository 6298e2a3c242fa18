package pump

import "time"

const (
	// tellPause is how long the servers are told nothing after they were.
	tellPause = 250 * time.Millisecond
	// statsPerMessage keeps a message short enough.
	statsPerMessage = 200
)

// tell tells the servers what has changed, until the pump is empty.
func (h *house) tell() {
	pause := time.NewTimer(0)
	for {
		select {
		case <-h.empty:
			return
		case <-pause.C:
		}
		select {
		case <-h.empty:
			return
		case <-h.news:
		}
		h.tellNews()
		pause.Reset(tellPause)
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
	all := make([]streamStats, 0, len(h.streams))
	for _, s := range h.streams {
		all = append(all, streamStats{Key: s.key, Stats: s.stats()})
	}
	h.servers[l] = struct{}{}
	h.mu.Unlock()
	sendStats(l, all)
	_ = l.send(answer)
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
