package control

import (
	"context"
	"errors"
	"os"
	"time"
)

// This file has what an HTTP server does with a connection that it owns. When
// the connections are handed over, one that is between two requests is taken
// from it like this: its read fails as at a deadline, so it closes the
// connection, and Close keeps the descriptor. One whose request
// is being answered is left alone until the next read.

func (c *conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	if c.leaving && !c.busy {
		c.left = true
		c.mu.Unlock()
		return 0, os.ErrDeadlineExceeded
	}
	for c.waits(p) {
		c.mu.Unlock()
		if err := c.readAhead(); err != nil {
			return 0, err
		}
		c.mu.Lock()
	}
	if len(c.read) > 0 {
		defer c.mu.Unlock()
		if c.overdoes(p) {
			return 0, errAhead
		}
		n := c.pass(p[:copy(p, c.read)])
		c.read = c.read[n:]
		return n, nil
	}
	c.mu.Unlock()
	n, err := c.Conn.Read(p)

	c.mu.Lock()
	defer c.mu.Unlock()
	if n > 0 {
		if c.overdoes(p) {
			return 0, errAhead
		}
		if c.due.IsZero() && !c.busy {
			c.due = time.Now().Add(c.s.opt.Timing.Request)
		}
		passed := c.pass(p[:n])
		c.read = append(c.read, p[passed:n]...)
		return passed, nil
	}
	if c.leaving && !c.busy && errors.Is(err, os.ErrDeadlineExceeded) {
		c.left = true
	}
	return 0, err
}

// maxAhead bounds what is read of the requests behind the one that is being
// answered.
const maxAhead = 64 << 10

// errAhead ends a connection over SSH whose client sends more than that.
var errAhead = errors.New("the client sends on and on while its request is answered")

// overdoes tells whether what comes while a request is answered would be read no
// more, and over SSH. What a socket does not take stays with the client; of a
// channel, two megabytes stay in this process for as long as the answer takes.
// mu is held.
func (c *conn) overdoes(p []byte) bool {
	return c.transport.network == viaSSH && c.busy && len(p) == 1 && c.frame.body == 0 && (c.frame.endless || len(c.read) >= maxAhead)
}

// waits tells whether a read only waits for the client to leave, as the HTTP
// server does by reading one byte while a request is answered: what comes of the
// next request must not hide that. mu is held.
func (c *conn) waits(p []byte) bool {
	return c.busy && len(p) == 1 && c.frame.body == 0 && !c.frame.endless && len(c.read) < maxAhead
}

// readAhead reads what there is of the next request; the error is the end of the
// connection, or the deadline with which the HTTP server takes its read back.
func (c *conn) readAhead() error {
	var chunk [4096]byte
	n, err := c.Conn.Read(chunk[:])
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read = append(c.read, chunk[:n]...)
	if n > 0 {
		return nil
	}
	return err
}

// Write drops what the HTTP server says of half a request, which is not over.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	left := c.left
	c.mu.Unlock()
	if left {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// pass is how many of the bytes the HTTP server gets. mu is held.
func (c *conn) pass(p []byte) int {
	n, complete := c.frame.take(p)
	c.busy = c.busy || complete
	return n
}

// answered: the HTTP server waits for the next request, and the connection may
// have to give way meanwhile.
func (c *conn) answered() {
	c.mu.Lock()
	c.busy, c.due = false, time.Time{}
	c.mu.Unlock()
	c.transport.crowd.keep(c)
}

// isLast tells whether nothing can follow the request on its connection,
// because where it ends is not known.
func (c *conn) isLast() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.frame.endless
}

// due is when the request of the context must be whole, whose head has come.
func due(ctx context.Context, limit time.Duration) time.Time {
	if c := connOf(ctx); c != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.due.IsZero() {
			return c.due
		}
	}
	return time.Now().Add(limit)
}

// SetReadDeadline does not move the deadline in the past of a connection that
// is to leave, nor beyond that of a request whose head has not come.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaving && !c.busy {
		return nil
	}
	if !c.busy && !c.due.IsZero() && (t.IsZero() || t.After(c.due)) {
		t = c.due
	}
	return c.Conn.SetReadDeadline(t)
}

// leave has the connection handed over at its next chance to, or ended where it
// cannot be. s.mu is held.
func (c *conn) leave() {
	if c.secured != nil {
		c.secured.Leave()
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving = true
	if !c.busy {
		_ = c.Conn.SetReadDeadline(longAgo)
	}
}

// between is the stage of a connection that an HTTP server has given up so that
// it can be handed over, and what came of its next request; else "".
func (c *conn) between() (Stage, []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.left || c.frame.endless || c.transport.network == viaSSH:
		return "", nil
	case c.isMetrics:
		return StageMetrics, c.unanswered()
	}
	return StageHTTP, c.unanswered()
}

// unanswered are the bytes that came and belong to no request yet. mu is held.
func (c *conn) unanswered() []byte {
	return append(append([]byte{}, c.frame.head...), c.read...)
}
