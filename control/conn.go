package control

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"kita/control/legacy"
	"kita/control/sshd"
	"kita/spec"
)

// conn is a connection and what is known of it. Until it is handed over, one
// goroutine owns it.
type conn struct {
	net.Conn
	s         *Server
	transport transport
	// asker is who is at the other end.
	asker asker
	// refusal, when set, is all the peer gets to hear.
	refusal *spec.Refusal
	// read are bytes that came too early: while the protocol was found out, or
	// after the end of a request. Read gives them again. An HTTP server's are
	// owned by mu, see httpconn.go.
	read []byte
	// begun is when this server got the connection.
	begun time.Time
	// ended: the peer has closed its side.
	ended bool
	// handed: an HTTP server owns it now. Owned by s.mu.
	handed bool
	// secured is what serves the connection where it speaks SSH. Owned by s.mu;
	// it is set once, before there is a guest.
	secured *sshd.Conn
	// isMetrics: that is the server of the metrics.
	isMetrics bool

	mu    sync.Mutex
	frame framing // owned by mu
	// due is when the request that is coming must be whole; zero while none has
	// begun. Owned by mu.
	due     time.Time
	busy    bool // owned by mu: a request came whose answer is under way
	leaving bool // owned by mu: to be handed over as soon as it is not busy
	left    bool // owned by mu: the HTTP server was told that nothing comes

	// gaveWay: it is closed for a newer one.
	gaveWay atomic.Bool
	closing sync.Once
}

// Close frees the connection's slot, however often it is called. One that is
// being handed over lives on in its Handed.
func (c *conn) Close() error {
	err := net.ErrClosed
	c.closing.Do(func() {
		if stage, read := c.between(); stage != "" {
			c.s.take(c, Handed{Stage: stage, Read: read})
		}
		err = c.Conn.Close()
		c.transport.crowd.leave(c)
		c.s.mu.Lock()
		delete(c.s.conns, c)
		c.s.noteEmpty()
		secured := c.secured
		c.s.mu.Unlock()
		if secured != nil {
			// It may wait for something else than bytes.
			secured.Leave()
		}
		if c.transport.slots != nil {
			<-c.transport.slots
		}
	})
	return err
}

// interrupt ends a wait for bytes; s.mu is held. An HTTP server looks after
// those that it owns.
func (c *conn) interrupt() {
	switch {
	case c.secured != nil:
		c.secured.Leave()
	case c.transport.network == viaSSH:
		// The HTTP server waits long for a first request.
		c.leave()
	case !c.handed:
		_ = c.SetReadDeadline(longAgo)
	}
}

// await sets the deadline of the next read; false once the server is closing or
// hands its connections over.
func (c *conn) await(deadline time.Time) bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.s.closed || c.s.leaving {
		return false
	}
	// Where there is nothing to set a deadline on, the read says so.
	_ = c.SetReadDeadline(deadline)
	return true
}

func (s *Server) track(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || c.gaveWay.Load() {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

// handle finds out what a connection speaks and passes it to its handler.
func (s *Server) handle(c *conn) {
	defer s.contain(c)
	s.identify(c)
	p, over := s.receive(c)
	switch {
	case over:
		s.surrender(c, Handed{Stage: StageNew, Read: c.read})
	case p == undecided:
		_ = c.Close()
	default:
		s.handlers[p](s.base, c)
	}
}

// contain keeps a panic to its connection.
func (s *Server) contain(c *conn) {
	if v := recover(); v != nil {
		s.panics.Add(1)
		s.opt.Logger.Error("a connection's handler panicked", "by", c.asker.by(), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		_ = c.Close()
	}
}

// identify says who the peer is, and sets what it is refused with.
func (s *Server) identify(c *conn) {
	if !c.transport.checkUID {
		if c.asker.peer == "" {
			c.asker.peer = c.RemoteAddr().String()
		}
		return
	}
	uid, err := peerUID(c.Conn)
	switch {
	case err != nil:
		c.refusal = spec.Refuse(codeForbidden, "", "", "cannot tell which user asks: %v", err)
	case uid != 0 && uid != s.uid:
		c.asker.peer = strconv.Itoa(uid)
		c.refusal = spec.Refuse(codeForbidden, "", "", "user %d may not use this socket, only root and user %d may", uid, s.uid)
	default:
		c.asker.peer = strconv.Itoa(uid)
	}
}

// receive reads until the protocol is known and, where that is the text
// protocol, until the request is there. undecided means that there is nobody
// to answer. over means that the server hands its connections over and the
// rest of the request is for the next one.
//
// A text request has no end mark and its client keeps its side open, so it ends
// with a silence, how long a one the grammar says: see legacy.Pending. All of
// it must have come within Timing.Request.
func (s *Server) receive(c *conn) (p protocol, over bool) {
	c.begun = time.Now()
	deadline := c.begun.Add(s.opt.Timing.Request)
	chunk := make([]byte, 4096)
	for {
		p := sniff(c.read)
		if p == protocolHTTP || p == protocolSSH {
			return p, false
		}
		wait := s.silence(p, c)
		if wait <= 0 || len(c.read) > legacy.MaxPacket {
			return protocolText, false
		}
		until := time.Now().Add(wait)
		if until.After(deadline) {
			until = deadline
		}
		if !c.await(until) {
			return undecided, s.isLeaving()
		}
		n, err := c.Conn.Read(chunk)
		c.read = append(c.read, chunk[:n]...)
		if err == nil {
			continue
		}
		c.ended = errors.Is(err, io.EOF)
		timedOut := errors.Is(err, os.ErrDeadlineExceeded)
		if timedOut && s.isLeaving() {
			return undecided, true
		}
		if timedOut && len(c.read) == 0 {
			s.recordRefused(c.asker, spec.TimedOut, fmt.Sprintf("the client stalled: it sent nothing within %v", s.opt.Timing.Request))
		}
		if len(c.read) == 0 || !c.ended && !timedOut {
			return undecided, false
		}
		return final(c.read), false
	}
}

// final is sniff once no more bytes come. Between protocols that all need more
// the text protocol has an answer for anything.
func final(all []byte) protocol {
	if p := sniff(all); p != undecided {
		return p
	}
	return protocolText
}

// finish ends the server's side: the peer reads to the end.
func (s *Server) finish(c *conn) {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// linger reads what the peer still sends until it closes, and closes then: a
// close with unread bytes would reset the connection, and the reset would
// destroy the answer on its way.
func (s *Server) linger(c *conn) {
	defer c.Close()
	const most = 1 << 20
	if c.ended {
		return
	}
	var err error
	if c.await(time.Now().Add(s.opt.Timing.Linger)) {
		_, err = io.CopyN(io.Discard, c.Conn, most)
	}
	if !errors.Is(err, io.EOF) && s.isLeaving() {
		s.surrender(c, Handed{Stage: StageAnswered})
	}
}
