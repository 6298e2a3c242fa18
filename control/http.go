package control

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// newHTTPServer makes the HTTP server of h, whose connections are all *conn.
func (s *Server) newHTTPServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: s.opt.Timing.Request,
		IdleTimeout:       s.opt.Timing.Idle,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return s.base },
		ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, nc)
		},
		// Counts the goroutine of each connection among the tasks. New comes
		// from Serve, which is a task itself, so the count cannot rise from 0
		// while Close waits; Closed comes at the end of the goroutine.
		// A handler that takes its connection counts it down by itself.
		ConnState: func(nc net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				s.tasks.Add(1)
			case http.StateIdle:
				nc.(*conn).answered()
			case http.StateClosed:
				s.tasks.Done()
			}
		},
		ErrorLog: slog.NewLogLogger(s.opt.Logger.Handler(), slog.LevelDebug),
	}
}

type connKey struct{}

// connOf is the connection a request came over; nil in tests of handlers alone.
func connOf(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
}

// serveHTTP hands the connection over to the HTTP server.
func (s *Server) serveHTTP(_ context.Context, c *conn) {
	c.mu.Lock()
	c.due = c.begun.Add(s.opt.Timing.Request)
	c.mu.Unlock()
	s.give(c, s.apiConns)
}

// give hands the connection over to the HTTP server that conns are of.
func (s *Server) give(c *conn, conns *handedOver) {
	s.mu.Lock()
	open := !s.closed
	c.handed = open
	s.mu.Unlock()
	_ = c.SetReadDeadline(time.Time{})
	if !open || !conns.give(c) {
		_ = c.Close()
	}
}

// handedOver is the listener of the HTTP server: it accepts what give gives.
type handedOver struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newHandedOver() *handedOver {
	return &handedOver{conns: make(chan net.Conn), done: make(chan struct{})}
}

// give returns false once the listener is closed.
func (h *handedOver) give(c net.Conn) bool {
	select {
	case h.conns <- c:
		return true
	case <-h.done:
		return false
	}
}

func (h *handedOver) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handedOver) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

func (h *handedOver) Addr() net.Addr { return handedOverAddr{} }

type handedOverAddr struct{}

func (handedOverAddr) Network() string { return "kita" }
func (handedOverAddr) String() string  { return "handed over" }
