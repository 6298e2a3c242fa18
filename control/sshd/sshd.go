package sshd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/crypto/ssh"
)

// MaxChannels is how many channels a connection may have open at once.
const MaxChannels = 16

// MaxLine is the longest command line, in bytes.
const MaxLine = 64 << 10

// Options of New. All fields are required.
type Options struct {
	// HostKey is what the server proves itself with.
	HostKey ssh.Signer
	// Admit returns who a key belongs to. It is asked before the client has
	// proved that the key is its own, so it must change nothing. The error is
	// for Refused, the client does not see it.
	Admit func(login string, key ssh.PublicKey) (Guest, error)
	// Authenticated hears that the client has proved its key.
	Authenticated func(Guest)
	// Channels has room for the channels of all connections together.
	Channels chan struct{}
	// Panicked hears of a panic of a Guest.
	Panicked func(v any, stack []byte)
	// Begun is when the connection was accepted. The client has Handshake from
	// then on to authenticate, and as long to say what a channel is for.
	Begun     time.Time
	Handshake time.Duration
	// Idle is how long a connection without a channel is kept.
	Idle time.Duration
	// Write is how long a client may take to read, and to close a channel that
	// the server has closed.
	Write time.Duration
	// Linger is how long channels have to end after Break.
	Linger time.Duration
}

// Guest is a client that has been let in. Its methods are called from several
// goroutines at once.
type Guest interface {
	// Check is nil while the client may still be here. It is asked before each
	// new channel; the error is told to the client.
	Check() error
	// Channels has room for the channels of all connections of its key.
	Channels() chan struct{}
	// API serves HTTP on nc, which is the Guest's to close. It may return before
	// it has.
	API(nc net.Conn)
	// Exec carries out a command line and returns its exit status. ctx ends when
	// the client goes away or sends a signal.
	Exec(ctx context.Context, line string, stdout, stderr io.Writer) int
	// Refused hears of what the client asked for and does not get, such as a
	// terminal, in words fit for a log.
	Refused(what string)
}

// Conn is a connection of a client.
type Conn struct {
	wire *wire
	opt  Options
	// broken ends with Break, leaving with Leave and with Break.
	broken   context.Context
	breakOff context.CancelCauseFunc
	leaving  context.Context
	leave    context.CancelFunc
}

// New makes a Conn of nc, from which the bytes first have been read already.
func New(nc net.Conn, first []byte, opt Options) *Conn {
	c := &Conn{wire: newWire(nc, first, opt.Write), opt: opt}
	c.broken, c.breakOff = context.WithCancelCause(context.Background())
	c.leaving, c.leave = context.WithCancel(c.broken)
	return c
}

// errServed is the cause with which everything ends that belongs to a
// connection.
var errServed = errors.New("the connection has ended")

// Serve returns when the connection has ended, which is closed then. The error
// is a *Refused when the client did not get in, nil otherwise. It is called
// once.
func (c *Conn) Serve() error {
	defer c.breakOff(errServed)
	defer c.wire.Close()
	conn, channels, requests, err := c.handshake()
	if err != nil {
		return err
	}
	guest := conn.Permissions.ExtraData[guestKey{}].(Guest)
	c.opt.Authenticated(guest)
	c.attend(guest, channels, requests)
	drain(conn.Conn)
	return nil
}

// Leave ends the connection when the channels that are open now have ended; at
// once while the client is not authenticated.
func (c *Conn) Leave() { c.leave() }

// Break ends the connection. Command lines that are under way are told to end
// and then print reason; there is Options.Linger for that.
func (c *Conn) Break(reason error) { c.breakOff(reason) }

// attend lets channels be opened until the connection is at its end.
func (c *Conn) attend(guest Guest, channels <-chan ssh.NewChannel, requests <-chan *ssh.Request) {
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		refuseAll(guest, requests)
	}()
	h := host{c: c, guest: guest, ended: make(chan struct{}), idle: time.NewTimer(c.opt.Idle)}
	defer h.idle.Stop()
	h.attend(channels)

	_ = c.wire.Close()
	c.breakOff(errServed)
	for offered := range channels {
		_ = offered.Reject(ssh.ConnectionFailed, "the connection is at its end")
	}
	for ; h.open > 0; h.open-- {
		<-h.ended
	}
	<-answered
}

// refuseAll refuses whatever a client asks of the whole connection, such as to
// listen on a port. A keep-alive is answered by that, too.
func refuseAll(guest Guest, requests <-chan *ssh.Request) {
	for r := range requests {
		switch r.Type {
		case "tcpip-forward", "streamlocal-forward@openssh.com":
			guest.Refused("it asks to listen on a port of the server")
		}
		if r.WantReply {
			_ = r.Reply(false, nil)
		}
	}
}

// host is the goroutine that counts the channels of a connection.
type host struct {
	c     *Conn
	guest Guest
	open  int
	// ended gets a token from each channel that is at its end at both sides.
	ended chan struct{}
	idle  *time.Timer
}

func (h *host) attend(channels <-chan ssh.NewChannel) {
	leaving, broken := h.c.leaving.Done(), h.c.broken.Done()
	var lingered <-chan time.Time
	for {
		select {
		case offered, ok := <-channels:
			if !ok {
				return
			}
			h.receive(offered)
		case <-h.ended:
			h.open--
			if h.open == 0 {
				h.idle.Reset(h.c.opt.Idle)
			}
		case <-h.idle.C:
			if h.open == 0 {
				return
			}
		case <-leaving:
			leaving = nil
		case <-broken:
			broken = nil
			lingered = time.After(h.c.opt.Linger)
		case <-lingered:
			return
		}
		if h.open == 0 && leaving == nil {
			return
		}
	}
}

// receive opens a channel or refuses it.
func (h *host) receive(offered ssh.NewChannel) {
	reason, message := h.refusal(offered)
	if message != "" {
		if h.c.leaving.Err() == nil {
			h.guest.Refused(fmt.Sprintf("a channel of the kind %.100q: %s", offered.ChannelType(), message))
		}
		_ = offered.Reject(reason, message)
		return
	}
	h.open++
	h.idle.Stop()
	go func() {
		h.c.session(h.guest, offered)
		<-h.guest.Channels()
		<-h.c.opt.Channels
		h.ended <- struct{}{}
	}()
}

// refusal is why a channel is not opened, "" if it is: then it has its place
// among those of its key and Options.Channels.
func (h *host) refusal(offered ssh.NewChannel) (ssh.RejectionReason, string) {
	switch {
	case offered.ChannelType() != "session":
		return ssh.Prohibited, "kita forwards nothing: it serves commands and its own API only"
	case h.c.leaving.Err() != nil:
		return ssh.ConnectionFailed, "the server is about to end or to be upgraded, ask it again"
	case h.open >= MaxChannels:
		return ssh.ResourceShortage, "too many channels are open on this connection"
	}
	if err := h.guest.Check(); err != nil {
		h.c.Break(err)
		return ssh.Prohibited, err.Error()
	}
	select {
	case h.guest.Channels() <- struct{}{}:
	default:
		return ssh.ResourceShortage, "too many channels are open with this key"
	}
	select {
	case h.c.opt.Channels <- struct{}{}:
		return 0, ""
	default:
		<-h.guest.Channels()
		return ssh.ResourceShortage, "too many channels are open at this server"
	}
}
