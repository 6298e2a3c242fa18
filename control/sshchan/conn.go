package sshchan

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

// Conn is a channel as a net.Conn.
//
// A channel can neither be read nor written with a deadline, so two goroutines
// do that, each behind a pipe that has one.
type Conn struct {
	ch            ssh.Channel
	local, remote net.Addr
	in, out       net.Conn // the ends of the pipes that Read and Write use
	closed        chan struct{}
	closing       sync.Once
	pumps         sync.WaitGroup
	done          chan struct{}
}

// New makes a Conn of ch, which is the Conn's from then on. Whoever calls it
// goes on to answer the requests of the channel. local and remote are those of
// the SSH connection.
func New(ch ssh.Channel, local, remote net.Addr) *Conn {
	in, inFar := net.Pipe()
	outFar, out := net.Pipe()
	c := &Conn{ch: ch, local: local, remote: remote, in: in, out: out, closed: make(chan struct{}), done: make(chan struct{})}
	c.pumps.Go(func() {
		_, _ = io.Copy(inFar, ch)
		_ = inFar.Close()
		// What nobody reads any more would stay in memory, up to the two megabytes
		// of a channel's window. A channel must not have two readers: its end wakes
		// only one.
		_, _ = io.Copy(io.Discard, ch)
	})
	c.pumps.Go(func() {
		_, _ = io.Copy(ch, outFar)
		_ = outFar.Close()
		_ = ch.CloseWrite()
		<-c.closed
		_ = ch.Close()
	})
	go func() {
		c.pumps.Wait()
		close(c.done)
	}()
	return c
}

// Read returns io.EOF at the peer's end of file, and when the SSH connection
// has ended.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	return n, c.explain(err, io.EOF)
}

// Write returns when the bytes are on their way, as that of a socket does.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.out.Write(p)
	return n, c.explain(err, syscall.EPIPE)
}

// explain puts an error of a pipe as a socket would; ended is what it means
// that the peer closed.
func (c *Conn) explain(err, ended error) error {
	if !errors.Is(err, io.ErrClosedPipe) {
		return err
	}
	select {
	case <-c.closed:
		return net.ErrClosed
	default:
		return ended
	}
}

// CloseWrite tells the peer that nothing more will come.
func (c *Conn) CloseWrite() error { return c.out.Close() }

// Close closes the channel once the peer has taken what was written. It does
// not wait for that: see Done.
func (c *Conn) Close() error {
	c.closing.Do(func() {
		close(c.closed)
		_ = c.in.Close()
		_ = c.out.Close()
	})
	return nil
}

// Done is closed when the channel is closed at both ends, or its SSH connection
// has ended, and Close was called. A peer that does not take what was written
// can hold that up until the SSH connection is closed.
func (c *Conn) Done() <-chan struct{} { return c.done }

// LocalAddr is that of the SSH connection.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr is that of the SSH connection.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline has Read return os.ErrDeadlineExceeded at t; zero means never.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.explain(c.in.SetReadDeadline(t), nil) }

// SetWriteDeadline has Write return os.ErrDeadlineExceeded at t; zero means
// never.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.explain(c.out.SetWriteDeadline(t), nil) }

var _ net.Conn = (*Conn)(nil)
