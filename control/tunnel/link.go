package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"

	"golang.org/x/crypto/ssh"

	"kita/control/sshchan"
	"kita/spec"
)

// version is what the client calls itself in the handshake.
const version = "SSH-2.0-kita"

// subsystem is the one in which a server speaks its HTTP API.
const subsystem = "kita"

// link is one SSH connection.
type link struct {
	addr string
	ssh  ssh.Conn
	over chan struct{} // closed when the connection has ended
	// serving are the goroutines that end with the connection.
	serving sync.WaitGroup

	mu sync.Mutex
	// closed and channels are owned by mu; nothing is added to serving by open
	// once closed is set.
	closed   bool
	channels map[*sshchan.Conn]struct{}
}

// connect makes a link; for its errors see Dial. A server that is replaced by
// another version breaks off whom it has not let in yet; nothing was asked of it,
// so the next one is.
func connect(ctx context.Context, addr string, config Config) (*link, error) {
	l, brokenOff, err := connectOnce(ctx, addr, config)
	if brokenOff && ctx.Err() == nil {
		l, _, err = connectOnce(ctx, addr, config)
	}
	return l, err
}

// connectOnce is connect without a second try. brokenOff: the server closed the
// connection before it had let the client in or refused it.
func connectOnce(ctx context.Context, addr string, config Config) (l *link, brokenOff bool, err error) {
	dialer := net.Dialer{Timeout: connectTimeout}
	nc, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, false, interrupted(ctx, err)
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	// Closing the connection is what ends a handshake under way.
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	l, err = handshake(ctx, nc, addr, config)
	if !stop() && err == nil {
		_ = l.close()
		err = net.ErrClosed
	}
	if err != nil {
		_ = nc.Close()
		return nil, isHangUp(err), interrupted(ctx, err)
	}
	return l, false, nil
}

// isHangUp tells whether the peer has closed the connection.
func isHangUp(err error) bool {
	var failed *Failed
	return !errors.As(err, &failed) &&
		(errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE))
}

// interrupted is the cause of ctx where that is why err came about. That a time
// limit was reached is an error of dialling: nothing was asked yet.
func interrupted(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	var failed *Failed // says itself what took too long
	switch {
	case cause == nil, !isNetwork(err), errors.As(err, &failed):
		return err
	case errors.Is(cause, context.DeadlineExceeded):
		return &net.OpError{Op: "dial", Net: "ssh", Err: cause}
	}
	return cause
}

func handshake(ctx context.Context, nc net.Conn, addr string, config Config) (*link, error) {
	h := newHandshaking(ctx, nc, addr, config)
	conn, channels, requests, err := ssh.NewClientConn(h.first, addr, h.clientConfig())
	if err != nil {
		return nil, h.explain(err)
	}
	l := &link{addr: addr, ssh: conn, over: make(chan struct{}), channels: map[*sshchan.Conn]struct{}{}}
	// A server has nothing to ask of a client.
	l.serving.Go(func() { ssh.DiscardRequests(requests) })
	l.serving.Go(func() {
		for offered := range channels {
			_ = offered.Reject(ssh.Prohibited, "a client takes no channels")
		}
	})
	l.serving.Go(func() {
		_ = conn.Wait()
		close(l.over)
	})
	return l, nil
}

func (l *link) ended() bool {
	select {
	case <-l.over:
		return true
	default:
		return false
	}
}

// open opens a channel to the HTTP API.
func (l *link) open(ctx context.Context) (net.Conn, error) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil, net.ErrClosed
	}
	l.serving.Add(1)
	l.mu.Unlock()
	defer l.serving.Done()

	// Nothing less ends the wait for an answer to a request of SSH.
	stop := context.AfterFunc(ctx, func() { _ = l.ssh.Close() })
	ch, err := l.channel()
	if !stop() && err == nil {
		_ = ch.Close()
		err = net.ErrClosed
	}
	if err != nil {
		return nil, interrupted(ctx, err)
	}
	return ch, nil
}

func (l *link) channel() (*sshchan.Conn, error) {
	ch, requests, err := l.ssh.OpenChannel("session", nil)
	if err != nil {
		return nil, l.refused(err)
	}
	l.serving.Go(func() { ssh.DiscardRequests(requests) })
	ok, err := ch.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{subsystem}))
	if err == nil && !ok {
		err = spec.Refuse(spec.BadRequest, "", "", "%s speaks SSH and is no kita server; a host's own sshd is asked with `on ssh://USER@HOST`", l.addr)
	}
	if err != nil {
		_ = ch.Close()
		return nil, err
	}
	conn := sshchan.New(ch, l.ssh.LocalAddr(), l.ssh.RemoteAddr())
	l.mu.Lock()
	defer l.mu.Unlock()
	l.channels[conn] = struct{}{}
	if l.closed {
		_ = conn.Close()
	}
	l.serving.Go(func() {
		<-conn.Done()
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.channels, conn)
	})
	return conn, nil
}

// refused is the error of a channel that the server did not open.
func (l *link) refused(err error) error {
	var reason *ssh.OpenChannelError
	if !errors.As(err, &reason) || reason.Reason == ssh.ConnectionFailed {
		// The connection has ended, or is about to: another one may do.
		return fmt.Errorf("open a channel: %w", err)
	}
	return spec.Refuse(spec.Unavailable, "", "", "%s opens no channel: %s", l.addr, reason.Message)
}

// close ends the connection and waits for what belongs to it.
func (l *link) close() error {
	l.mu.Lock()
	l.closed = true
	for conn := range l.channels {
		_ = conn.Close()
	}
	l.mu.Unlock()
	err := l.ssh.Close()
	l.serving.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil // the peer, or the end of a context, was first
	}
	return err
}
