package control

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// HandOver ends the server so that another one can carry on, in this process or
// in one that inherits the descriptors, and returns every connection that lives
// on, for Resume. Nothing is accepted any more, but the listeners stay open and
// are the caller's: who connects waits in their backlog.
//
// Commands that wait are interrupted and handed over unanswered. Every other
// request is answered, for which there is time until ctx ends; what is not
// answered by then is broken off, and the error says how many those were.
// Connections of SSH end once their requests have been answered, which for one
// that waits is that the next server goes on with it. No
// goroutine of the server is left when it returns, as with Close. After Close,
// or a second time, it returns nothing.
func (s *Server) HandOver(ctx context.Context) ([]Handed, error) {
	s.mu.Lock()
	if s.closed || s.leaving {
		s.mu.Unlock()
		return nil, nil
	}
	s.leaving = true
	for ln := range s.listeners {
		interruptible, ok := ln.(interruptible)
		if !ok || interruptible.SetDeadline(longAgo) != nil {
			_ = ln.Close()
		}
	}
	s.mu.Unlock()

	s.handingOut()
	s.accepting.Wait()
	answered := s.askToLeave()
	select {
	case <-answered:
	case <-ctx.Done():
	}
	return s.endHandOver()
}

// askToLeave tells every connection to be handed over at its next chance. The
// channel is closed when none is left.
func (s *Server) askToLeave() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	empty := make(chan struct{})
	s.empty = empty
	s.noteEmpty()
	for c := range s.conns {
		c.leave()
	}
	return empty
}

// noteEmpty tells HandOver when the last connection is gone; mu is held.
func (s *Server) noteEmpty() {
	if s.empty != nil && len(s.conns) == 0 {
		close(s.empty)
		s.empty = nil
	}
}

func (s *Server) endHandOver() ([]Handed, error) {
	s.mu.Lock()
	s.closed = true
	s.lost += s.brokenOff()
	s.mu.Unlock()
	s.quitting()
	_ = s.apiConns.Close()
	_ = s.metricsConns.Close()
	s.breakOff()

	s.mu.Lock()
	defer s.mu.Unlock()
	handed := s.handed
	s.handed = nil
	if s.lost > 0 {
		return handed, fmt.Errorf("%d connections are broken off", s.lost)
	}
	return handed, nil
}

func (s *Server) isLeaving() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leaving
}

// take keeps a second descriptor of the connection; its own is closed next.
func (s *Server) take(c *conn, h Handed) {
	fd, err := Descriptor(c.Conn)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.lost++
		s.opt.Logger.Warn("cannot hand a connection over", "by", c.asker.by(), "error", err)
		return
	}
	h.FD, h.Network, h.Via, h.Key, h.Peer = fd, c.transport.network, c.asker.via, c.asker.key, c.asker.peer
	s.handed = append(s.handed, h)
}

// surrender hands over a connection that its handler owns, and closes it here.
func (s *Server) surrender(c *conn, h Handed) {
	s.take(c, h)
	_ = c.Close()
}

// surrender takes the connection of a request from the HTTP server and hands it
// over unanswered; what came of a next request travels along. The error is
// errHandedOver, or why the request is to be answered here.
func (a *api) surrender(w http.ResponseWriter, r *http.Request, h Handed) error {
	c := connOf(r.Context())
	if c == nil {
		return refusalOf(context.Canceled, commandOf(h))
	}
	if c.transport.network == viaSSH {
		return a.depart(w, c, h)
	}
	if _, _, err := http.NewResponseController(w).Hijack(); err != nil {
		return refusalOf(err, commandOf(h))
	}
	defer c.s.tasks.Done()
	c.mu.Lock()
	h.Read = c.unanswered()
	h.Close = r.Close || !r.ProtoAtLeast(1, 1) || c.frame.endless
	c.mu.Unlock()
	c.s.surrender(c, h)
	return errHandedOver
}

// keep waits for the next request of an HTTP connection that no HTTP server
// owns, and then gives it to one.
func (s *Server) keep(c *conn) {
	if len(c.read) == 0 && !s.awaitRequest(c) {
		return
	}
	conns := s.apiConns
	if c.isMetrics {
		conns = s.metricsConns
	}
	s.give(c, conns)
}

// awaitRequest is false when the connection is gone: closed, or handed over.
func (s *Server) awaitRequest(c *conn) bool {
	stage := StageHTTP
	if c.isMetrics {
		stage = StageMetrics
	}
	chunk := make([]byte, 4096)
	n := 0
	if c.await(time.Now().Add(s.opt.Timing.Idle)) {
		n, _ = c.Conn.Read(chunk)
	}
	switch {
	case n > 0:
		c.read = chunk[:n]
		return true
	case s.isLeaving():
		s.surrender(c, Handed{Stage: stage})
	default:
		_ = c.Close()
	}
	return false
}
