package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"kita/spec"
)

// transport is what the connections of one listener have in common.
type transport struct {
	network string
	// slots has room for as many connections as may be open; nil for those that
	// are channels of another one, which counts them.
	slots chan struct{}
	// crowd are the connections over TCP, nil for others.
	crowd *crowd
	// checkUID: the peer's user is asked of the kernel.
	checkUID bool
	// encrypt: nothing but SSH is served.
	encrypt bool
	// isOwn: the client is a command line that this server carries out, so it
	// ends with it.
	isOwn bool
}

// serve is the accept loop. It ends only with the listener: an error of one
// accept says nothing about the next.
func (s *Server) serve(ctx context.Context, ln net.Listener, t transport) error {
	if !s.begin(ln) {
		return http.ErrServerClosed
	}
	defer s.end(ln)
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()

	a := newAcceptor(ln)
	defer a.close()
	for {
		nc, err := a.accept()
		switch {
		case err == nil:
			a.wait = 0
			s.admit(nc, t)
		case ctx.Err() != nil || s.quit.Err() != nil || s.isLeaving():
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			if s.acceptLog.allow(time.Now()) {
				s.opt.Logger.Warn("cannot accept a connection", "network", t.network, "error", err)
			}
			if !a.backOff(ctx, s.quit, s.handing) {
				return nil
			}
		}
	}
}

// acceptor accepts although the process may run out of descriptors: it keeps
// one in reserve, and spends it on telling the next client that it is refused.
// Otherwise that client would wait in the backlog, and accept would fail again
// at once and spin.
type acceptor struct {
	ln      net.Listener
	reserve *os.File
	open    func() (*os.File, error)
	// wait is the last back-off; 0 after a success.
	wait time.Duration
}

const (
	firstBackOff = 5 * time.Millisecond
	maxBackOff   = time.Second
)

func newAcceptor(ln net.Listener) *acceptor {
	a := &acceptor{ln: ln, open: func() (*os.File, error) { return os.Open(os.DevNull) }}
	a.refill()
	return a
}

func (a *acceptor) close() {
	if a.reserve != nil {
		_ = a.reserve.Close()
	}
}

// refill takes the reserve; without it accept does without.
func (a *acceptor) refill() bool {
	if a.reserve == nil {
		f, err := a.open()
		if err != nil {
			return false
		}
		a.reserve = f
	}
	return true
}

func (a *acceptor) accept() (net.Conn, error) {
	a.refill()
	nc, err := a.ln.Accept()
	if err == nil || !isOutOfDescriptors(err) || a.reserve == nil {
		return nc, err
	}
	_ = a.reserve.Close()
	a.reserve = nil
	spare, acceptErr := a.ln.Accept()
	if acceptErr != nil {
		return nil, err
	}
	// The wait for that one may have been long: where descriptors are to be
	// had again it is a connection like any other.
	if a.refill() {
		return spare, nil
	}
	_ = spare.Close()
	a.refill()
	return nil, err
}

func isOutOfDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// backOff waits longer each time; false when one of the contexts ended.
func (a *acceptor) backOff(ctx, quit, handing context.Context) bool {
	a.wait = min(max(2*a.wait, firstBackOff), maxBackOff)
	timer := time.NewTimer(a.wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-quit.Done():
	case <-handing.Done():
	}
	return false
}

// admit gives a new connection its goroutine, or closes it at once where too
// many are open.
func (s *Server) admit(nc net.Conn, t transport) {
	c := &conn{Conn: nc, s: s, transport: t, asker: asker{via: t.network}}
	if err := s.enter(c); err != nil {
		s.refuse(c, err)
		return
	}
	_ = s.include(c, func() { s.tasks.Go(func() { s.handle(c) }) })
}

// include counts a connection that has entered among those of the server, and
// begins to serve it. Where the server is closed it closes the connection, and
// one that has given way meanwhile is closed already.
func (s *Server) include(c *conn, serve func()) error {
	s.mu.Lock()
	var refused error
	switch {
	case s.closed:
		refused = http.ErrServerClosed
	case c.gaveWay.Load():
		refused = errLeft
	default:
		s.conns[c] = struct{}{}
		serve()
	}
	s.mu.Unlock()
	if refused != nil {
		_ = c.Close()
	}
	return refused
}

// enter takes a slot for a connection, and a place in the crowd where it is one
// over TCP; there it may push out others.
func (s *Server) enter(c *conn) error {
	for !c.transport.takeSlot() {
		spare := c.transport.crowd.spare()
		if spare == nil {
			return fmt.Errorf("more than %d connections are open", cap(c.transport.slots))
		}
		s.displace(spare)
	}
	crowd := c.transport.crowd
	if crowd == nil {
		return nil
	}
	givesWay, ok := crowd.enter(c, c.RemoteAddr())
	if !ok {
		<-c.transport.slots
		return fmt.Errorf("more than %d connections of one address are open", crowd.caps.perAddress)
	}
	for _, each := range givesWay {
		s.displace(each)
	}
	return nil
}

func (t transport) takeSlot() bool {
	select {
	case t.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

// displace closes a connection that gives way to newer ones.
func (s *Server) displace(c *conn) {
	const reason = "closed while it sent no request that is let through: too many newer connections came"
	n := s.displaced.Add(1)
	_ = c.Close()
	peer := c.RemoteAddr().String()
	s.recordRefused(asker{via: viaTCP, peer: peer}, spec.Unavailable, reason)
	if s.displacedLog.allow(time.Now()) {
		s.opt.Logger.Warn("too many connections send no request that is let through, closing the oldest", "peer", peer, "closed", n)
	}
}

func (s *Server) refuse(c *conn, why error) {
	refused := s.refused.Add(1)
	_ = c.Conn.Close()
	peer := ""
	if remote := c.RemoteAddr(); remote != nil {
		peer = remote.String()
	}
	s.recordRefused(asker{via: c.transport.network, peer: peer}, spec.Unavailable, why.Error())
	if s.refusedLog.allow(time.Now()) {
		s.opt.Logger.Warn("too many connections, closing new ones", "network", c.transport.network, "reason", why, "refused", refused)
	}
}

// cappedListener is the metrics listener.
type cappedListener struct {
	net.Listener
	s *Server
}

func (l *cappedListener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		switch {
		case err != nil && l.s.isLeaving():
			// The error would be one to try again after.
			return nil, net.ErrClosed
		case err != nil:
			return nil, err
		}
		c := &conn{Conn: nc, s: l.s, transport: l.s.overMetrics, asker: asker{via: viaTCP}, handed: true, isMetrics: true}
		if err := l.s.enter(c); err != nil {
			l.s.refuse(c, err)
			continue
		}
		switch {
		case l.s.track(c):
			return c, nil
		case c.gaveWay.Load():
			continue
		default:
			_ = c.Close()
			return nil, net.ErrClosed
		}
	}
}

// Close is called by the HTTP server, also when the listener is handed over, and
// when it is closed already.
func (l *cappedListener) Close() error {
	if l.s.isLeaving() {
		return nil
	}
	if err := l.Listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
