package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"kita/control/keyring"
	"kita/control/sshchan"
	"kita/spec"
)

// Time limits of Dial.
const (
	connectTimeout = 5 * time.Second
	// handshakeTimeout is also what the server gives a client to authenticate.
	handshakeTimeout = 10 * time.Second
)

// version is what the client calls itself in the handshake.
const version = "SSH-2.0-kita"

// subsystem is the one in which a server speaks its HTTP API.
const subsystem = "kita"

// Config says who connects and who may answer. All fields are required.
type Config struct {
	// User is the login, the name of the key. Where a key lies under several
	// names at the server it chooses one.
	User string
	// Signer is the private key. Its algorithms are without SHA-1.
	Signer ssh.MultiAlgorithmSigner
	// HostKeys are the servers that are known.
	HostKeys *keyring.KnownHosts
}

// Conn is a connection to a server, a control.Opener. Its methods may be called
// from many goroutines.
type Conn struct {
	addr string
	ssh  ssh.Conn
	// serving are the goroutines that end with the connection.
	serving sync.WaitGroup

	mu sync.Mutex
	// closed and channels are guarded by mu; nothing is added to serving by
	// Open once closed is set.
	closed   bool
	channels map[*sshchan.Conn]struct{}
}

// Dial connects to the server at addr, a host:port, and authenticates. The
// error is a *keyring.HostKeyError when the server is not to be trusted, a
// *KeyRefused when it does not admit the key, a *NotSSH when it does not speak
// SSH, a *Failed when the two cannot agree for another reason, the cause of
// ctx when that was cancelled, and otherwise one of the network.
func Dial(ctx context.Context, addr string, config Config) (*Conn, error) {
	dialer := net.Dialer{Timeout: connectTimeout}
	nc, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, interrupted(ctx, err)
	}
	_ = nc.SetDeadline(time.Now().Add(handshakeTimeout))
	// Closing the connection is what ends a handshake under way.
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	c, err := handshake(nc, addr, config)
	if !stop() && err == nil {
		_ = c.Close()
		return nil, context.Cause(ctx)
	}
	if err != nil {
		_ = nc.Close()
		return nil, interrupted(ctx, err)
	}
	_ = nc.SetDeadline(time.Time{})
	return c, nil
}

// interrupted is the cause of ctx where that is why err came about.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func handshake(nc net.Conn, addr string, config Config) (*Conn, error) {
	h := newHandshaking(nc, addr, config)
	conn, channels, requests, err := ssh.NewClientConn(h.first, addr, h.clientConfig())
	if err != nil {
		return nil, h.explain(err)
	}
	c := &Conn{addr: addr, ssh: conn, channels: map[*sshchan.Conn]struct{}{}}
	// A server has nothing to ask of a client.
	c.serving.Go(func() { ssh.DiscardRequests(requests) })
	c.serving.Go(func() {
		for offered := range channels {
			_ = offered.Reject(ssh.Prohibited, "a client takes no channels")
		}
	})
	return c, nil
}

// String is the server's host:port.
func (c *Conn) String() string { return c.addr }

// Open opens a channel to the HTTP API. The error is a *spec.Refusal when the
// server takes no more of them, otherwise one of the connection. The end of ctx
// ends the whole connection.
func (c *Conn) Open(ctx context.Context) (net.Conn, error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, net.ErrClosed
	}
	c.serving.Add(1)
	c.mu.Unlock()
	defer c.serving.Done()

	stop := context.AfterFunc(ctx, func() { _ = c.ssh.Close() })
	ch, err := c.open()
	if !stop() && err == nil {
		err = context.Cause(ctx)
		_ = ch.Close()
	}
	if err != nil {
		return nil, interrupted(ctx, err)
	}
	return ch, nil
}

func (c *Conn) open() (*sshchan.Conn, error) {
	ch, requests, err := c.ssh.OpenChannel("session", nil)
	if err != nil {
		return nil, c.refused(err)
	}
	c.serving.Go(func() { ssh.DiscardRequests(requests) })
	ok, err := ch.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{subsystem}))
	if err == nil && !ok {
		err = spec.Refuse(spec.BadRequest, "", "", "%s speaks SSH and is no kita server; a host's own sshd is asked with `on ssh://USER@HOST`", c.addr)
	}
	if err != nil {
		_ = ch.Close()
		return nil, err
	}
	conn := sshchan.New(ch, c.ssh.LocalAddr(), c.ssh.RemoteAddr())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.channels[conn] = struct{}{}
	if c.closed {
		_ = conn.Close()
	}
	c.serving.Go(func() {
		<-conn.Done()
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.channels, conn)
	})
	return conn, nil
}

// refused is the error of a channel that the server did not open.
func (c *Conn) refused(err error) error {
	var reason *ssh.OpenChannelError
	if !errors.As(err, &reason) {
		return fmt.Errorf("open a channel: %w", err)
	}
	return spec.Refuse(spec.Unavailable, "", "", "%s opens no channel: %s", c.addr, reason.Message)
}

// Close ends the connection with all its channels, and returns when everything
// has ended that they began.
func (c *Conn) Close() error {
	c.mu.Lock()
	c.closed = true
	for conn := range c.channels {
		_ = conn.Close()
	}
	c.mu.Unlock()
	err := c.ssh.Close()
	_ = c.ssh.Wait()
	c.serving.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil // the peer, or the end of a context, was first
	}
	return err
}
