package tunnel

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"kita/control/keyring"
	"kita/spec"
)

// Time limits of Dial.
const (
	connectTimeout = 5 * time.Second
	// handshakeTimeout is also what the server gives a client to authenticate.
	handshakeTimeout = 10 * time.Second
)

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

// Conn is the way to a server, a control.Opener. Its methods may be called from
// many goroutines.
type Conn struct {
	addr   string
	config Config

	mu     sync.Mutex // held while it connects
	link   *link      // owned by mu
	closed bool       // owned by mu
}

// Dial connects to the server at addr, a host:port, and authenticates. The
// error is a *keyring.HostKeyError when the server is not to be trusted, a
// *KeyRefused when it does not admit the key, a *NotSSH when it does not speak
// SSH, a *Failed when the two cannot agree for another reason, the cause of
// ctx when that ended, and otherwise one of the network.
func Dial(ctx context.Context, addr string, config Config) (*Conn, error) {
	l, err := connect(ctx, addr, config)
	if err != nil {
		return nil, err
	}
	return &Conn{addr: addr, config: config, link: l}, nil
}

// String is the server's host:port.
func (c *Conn) String() string { return c.addr }

// Open opens a channel to the HTTP API. Where the connection has ended, because
// the server was replaced by another version, it connects anew. The error is a
// *spec.Refusal when the server takes no more channels, otherwise one of Dial.
// The end of ctx ends the whole connection.
func (c *Conn) Open(ctx context.Context) (net.Conn, error) {
	l, err := c.current(ctx)
	if err != nil {
		return nil, err
	}
	nc, err := l.open(ctx)
	var refusal *spec.Refusal
	if err == nil || ctx.Err() != nil || errors.As(err, &refusal) {
		return nc, err
	}
	// It has ended since it was looked at, and nothing was asked yet.
	_ = l.close()
	if l, err = c.current(ctx); err != nil {
		return nil, err
	}
	return l.open(ctx)
}

// current is a connection that has not ended, as far as is known.
func (c *Conn) current(ctx context.Context) (*link, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return nil, net.ErrClosed
	case !c.link.ended():
		return c.link, nil
	}
	l, err := connect(ctx, c.addr, c.config)
	if err == nil {
		_ = c.link.close()
		c.link = l
	}
	return l, err
}

// Close ends the connection with all its channels, and returns when everything
// has ended that they began.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return c.link.close()
}
