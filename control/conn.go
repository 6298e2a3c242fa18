package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"kita/control/legacy"
	"kita/spec"
)

// conn is a connection and what is known of it. Until it is handed over, one
// goroutine owns it.
type conn struct {
	net.Conn
	s         *Server
	transport transport
	// by names the peer, as in spec.Command.
	by string
	// refusal, when set, is all the peer gets to hear.
	refusal *spec.Refusal
	// read are the bytes that came while the protocol was found out; Read
	// gives them again.
	read []byte
	// ended: the peer has closed its side.
	ended bool
	// handed: an HTTP server owns it now. Owned by s.mu.
	handed bool

	closing sync.Once
}

func (c *conn) Read(p []byte) (int, error) {
	if len(c.read) > 0 {
		n := copy(p, c.read)
		c.read = c.read[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// Close frees the connection's slot, however often it is called.
func (c *conn) Close() error {
	err := net.ErrClosed
	c.closing.Do(func() {
		err = c.Conn.Close()
		c.s.mu.Lock()
		delete(c.s.conns, c)
		c.s.mu.Unlock()
		<-c.transport.slots
	})
	return err
}

// interrupt ends a wait for bytes; s.mu is held. An HTTP server looks after
// those that it owns.
func (c *conn) interrupt() {
	if !c.handed {
		_ = c.SetReadDeadline(time.Unix(1, 0))
	}
}

// await sets the deadline of the next read; false once the server is closing.
func (c *conn) await(deadline time.Time) bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.s.closed {
		return false
	}
	// Where there is nothing to set a deadline on, the read says so.
	_ = c.SetReadDeadline(deadline)
	return true
}

func (s *Server) track(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

// handle finds out what a connection speaks and passes it to its handler.
func (s *Server) handle(c *conn) {
	defer s.contain(c)
	s.identify(c)
	p := s.receive(c)
	if p == undecided {
		_ = c.Close()
		return
	}
	s.handlers[p](s.base, c)
}

// contain keeps a panic to its connection.
func (s *Server) contain(c *conn) {
	if v := recover(); v != nil {
		s.panics.Add(1)
		s.opt.Logger.Error("a connection's handler panicked", "by", c.by, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		_ = c.Close()
	}
}

// identify names the peer, and sets what it is refused with.
func (s *Server) identify(c *conn) {
	if !c.transport.checkUID {
		if host, _, err := net.SplitHostPort(c.RemoteAddr().String()); err == nil {
			c.by = c.transport.network + ":" + host
		}
		return
	}
	uid, err := peerUID(c.Conn)
	switch {
	case err != nil:
		c.refusal = spec.Refuse(codeForbidden, "", "", "cannot tell which user asks: %v", err)
	case uid != 0 && uid != s.uid:
		c.by = "unix:" + strconv.Itoa(uid)
		c.refusal = spec.Refuse(codeForbidden, "", "", "user %d may not use this socket, only root and user %d may", uid, s.uid)
	default:
		c.by = "unix:" + strconv.Itoa(uid)
	}
}

// receive reads until the protocol is known and, where that is the text
// protocol, until the request is there. undecided means that there is nobody
// to answer.
//
// A text request has no end mark and its client keeps its side open, so it ends
// with a silence, how long a one the grammar says: see legacy.Pending. All of
// it must have come within Timing.Request.
func (s *Server) receive(c *conn) protocol {
	deadline := time.Now().Add(s.opt.Timing.Request)
	chunk := make([]byte, 4096)
	for {
		p := sniff(c.read)
		if p == protocolHTTP || p == protocolSSH {
			return p
		}
		wait := s.silence(p, c.read, c.transport.encrypt)
		if wait <= 0 || len(c.read) > legacy.MaxPacket {
			return protocolText
		}
		until := time.Now().Add(wait)
		if until.After(deadline) {
			until = deadline
		}
		if !c.await(until) {
			return undecided
		}
		n, err := c.Conn.Read(chunk)
		c.read = append(c.read, chunk[:n]...)
		if err == nil {
			continue
		}
		c.ended = errors.Is(err, io.EOF)
		if len(c.read) == 0 || !c.ended && !errors.Is(err, os.ErrDeadlineExceeded) {
			return undecided
		}
		return final(c.read)
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

// serveText answers one request of the text protocol.
func (s *Server) serveText(ctx context.Context, c *conn) {
	defer c.Close()
	answer, kill := s.textAnswer(ctx, c)
	_ = c.SetWriteDeadline(time.Now().Add(s.opt.Timing.Write))
	_, _ = c.Write(answer)
	s.finish(c)
	if kill {
		s.opt.Service.Kill(c.by)
	}
	s.linger(c)
}

func (s *Server) textAnswer(ctx context.Context, c *conn) (answer []byte, kill bool) {
	if c.refusal != nil {
		return []byte(c.refusal.Message), false
	}
	svc := observed{s.opt.Service, s.opt.ObserveCommand}
	return legacy.Answer(ctx, svc, c.read, legacy.Options{Encrypt: c.transport.encrypt, By: c.by})
}

// refuseSSH answers in place of the SSH protocol, which this server does not
// speak yet. A line before the banner is allowed by RFC 4253, 4.2, and shown by
// clients.
func (s *Server) refuseSSH(_ context.Context, c *conn) {
	defer c.Close()
	_ = c.SetWriteDeadline(time.Now().Add(s.opt.Timing.Write))
	_, _ = io.WriteString(c, "kita does not serve SSH yet\r\n")
	s.finish(c)
	s.linger(c)
}

// finish ends the server's side: the peer reads to the end.
func (s *Server) finish(c *conn) {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// linger reads what the peer still sends until it closes: a close with unread
// bytes would reset the connection, and the reset would destroy the answer on
// its way.
func (s *Server) linger(c *conn) {
	const most = 1 << 20
	if !c.ended && c.await(time.Now().Add(s.opt.Timing.Linger)) {
		_, _ = io.CopyN(io.Discard, c.Conn, most)
	}
}

// observed reports the commands that pass through it.
type observed struct {
	Service
	observe func(verb, result string)
}

func (o observed) Do(ctx context.Context, c spec.Command) (spec.Outcome, error) {
	out, err := o.Service.Do(ctx, c)
	o.observe(string(c.Verb), resultOf(err))
	return out, err
}

func resultOf(err error) string {
	var refusal *spec.Refusal
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &refusal):
		return string(refusal.Code)
	}
	return "gone"
}
