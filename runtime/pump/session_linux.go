package pump

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// finishPatience is how long a pump that is to end writes what it has.
const finishPatience = 3 * time.Second

// session is the pump's side of a connection.
type session struct {
	house *house
	*link
	gone chan struct{}
}

// serve answers a server until it leaves. finished: the pump is to end.
func (h *house) serve(l *link) (finished bool) {
	s := &session{house: h, link: l, gone: make(chan struct{})}
	defer h.leave(l)
	defer l.conn.Close()
	defer close(s.gone)
	buf := make([]byte, maxMessage)
	for {
		m, fds, err := l.receive(buf)
		if err != nil {
			return false
		}
		if m.Op == opFinish {
			closeAll(fds)
			h.finish(l)
			return true
		}
		if err := s.handle(m, fds); err != nil {
			return false
		}
	}
}

// handle does what a message asks for. It takes over fds.
func (s *session) handle(m message, fds []int) error {
	switch {
	case m.Op == opHello:
		closeAll(fds)
		s.house.welcome(s.link, message{Op: opHello, ID: m.ID, Version: s.house.version})
		return nil
	case m.Op == opPing:
		closeAll(fds)
		return s.done(m.ID, s.house.well())
	case m.Key == nil:
		closeAll(fds)
		return fmt.Errorf("%s is about no stream", m.Op)
	case m.Op == opAttach && m.Attach != nil:
		left := remains{}
		if m.Left != nil {
			left = *m.Left
		}
		return s.done(m.ID, s.house.attach(*m.Key, *m.Attach, left, fds))
	}
	closeAll(fds)
	switch m.Op {
	case opDiscard:
		s.house.discard(*m.Key)
		return s.done(m.ID, nil)
	case opDrain:
		return s.drain(m)
	}
	return s.done(m.ID, fmt.Errorf("there is no %q", m.Op))
}

func (s *session) done(id uint64, err error) error {
	answer := message{Op: opDone, ID: id}
	if err != nil {
		answer.Error = err.Error()
	}
	return s.send(answer)
}

// drain answers when the stream is drained.
func (s *session) drain(m message) error {
	done := make(chan struct{})
	if !s.house.drain(*m.Key, done) {
		return s.done(m.ID, nil)
	}
	go func() {
		select {
		case <-done:
			_ = s.done(m.ID, nil)
		case <-s.gone:
		}
	}()
	return nil
}

// well returns at once, unless the house is locked for ever.
func (h *house) well() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return nil
}

// finish stops every stream, writes what there is, and tells l what is left.
func (h *house) finish(l *link) {
	h.mu.Lock()
	h.closing = true
	streams := make([]*stream, 0, len(h.streams))
	for _, s := range h.streams {
		s.do(func() { s.quit = true })
		streams = append(streams, s)
	}
	h.mu.Unlock()
	h.running.Wait()
	deadline := time.NewTimer(finishPatience)
	defer deadline.Stop()
	expired := false
	for _, s := range streams {
		if s.ended || s.discarded {
			continue
		}
		written := make(chan struct{})
		s.lane.await(written)
		if !expired {
			select {
			case <-written:
			case <-deadline.C:
				expired = true
			}
		}
		leave(l, s)
	}
}

// leave tells what is left of a stream that has been stopped.
func leave(l *link, s *stream) {
	left := &remains{Held: s.held, Begun: s.begun, Stats: s.stats()}
	m := message{Op: opLeft, Key: &s.key, Left: left}
	data := s.lane.takeBack()
	if len(data) == 0 {
		_ = l.send(m)
		return
	}
	fd, err := unix.MemfdCreate("kita-pump", unix.MFD_CLOEXEC)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, data); err == nil {
		_ = l.send(m, fd)
	}
}
