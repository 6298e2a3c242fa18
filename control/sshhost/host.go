package sshhost

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"kita/control/sshchan"
)

// keepAliveEvery is how often the far end is asked whether it is still there;
// it has as long again to answer.
const keepAliveEvery = 15 * time.Second

// errClosed is of no use to anybody but the one who called Close.
var errClosed = errors.New("the connection to the host is closed")

// Host is a host that one is logged in to. Its methods may be called from many
// goroutines at once.
type Host struct {
	name string
	// chain are the connections, the first host's first. It is complete before
	// anybody else has the Host.
	chain []*ssh.Client
	// ended is closed by Close, gone when the connection to the host has ended.
	ended, gone chan struct{}
	// tasks are the goroutines that Close waits for.
	tasks sync.WaitGroup

	mu     sync.Mutex
	closed bool
	// found is the way to kita that worked last, reached are connections that
	// nobody has taken yet.
	found   way
	reached []net.Conn
}

func newHost(s settings) *Host {
	return &Host{name: s.name(), ended: make(chan struct{}), gone: make(chan struct{})}
}

// name is what messages call the host.
func (s settings) name() string {
	u := url.URL{Scheme: "ssh", User: url.User(s.user), Host: s.alias}
	switch {
	case s.port != sshPort:
		u.Host = net.JoinHostPort(s.alias, strconv.Itoa(int(s.port)))
	case strings.Contains(s.alias, ":"):
		u.Host = "[" + s.alias + "]"
	}
	return u.String()
}

// String is the URL of the host, with the login and a port other than 22.
func (h *Host) String() string { return h.name }

// Close ends the connection and everything that goes through it.
func (h *Host) Close() error {
	h.mu.Lock()
	already := h.closed
	h.closed = true
	h.mu.Unlock()
	if already {
		return nil
	}
	close(h.ended)
	// The last goes first: a host before it closes in order what leads on.
	for i := len(h.chain) - 1; i >= 0; i-- {
		_ = h.chain[i].Close()
	}
	for _, client := range h.chain {
		_ = client.Wait()
	}
	h.tasks.Wait()
	return nil
}

// last is the connection to the host itself.
func (h *Host) last() *ssh.Client { return h.chain[len(h.chain)-1] }

// start runs a task that Close waits for; false where Close was called.
func (h *Host) start(task func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.tasks.Go(task)
	return true
}

// over is why nothing more can be asked: ctx has ended, or the connection.
func (h *Host) over(ctx context.Context) error {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		// Nothing was sent to kita, so its own deadline is not meant.
		return networkErrorf("it did not answer in time")
	case ctx.Err() != nil:
		return ctx.Err()
	}
	select {
	case <-h.ended:
		return errClosed
	default:
	}
	select {
	case <-h.gone:
		return networkErrorf("its sshd has closed the connection")
	default:
		return nil
	}
}

// watch notices the end of the connection, and brings it about where the other
// end has gone without a word.
func (h *Host) watch() {
	h.start(func() {
		_ = h.last().Wait()
		close(h.gone)
	})
	h.start(func() {
		ticker := time.NewTicker(keepAliveEvery)
		defer ticker.Stop()
		for {
			select {
			case <-h.gone:
				return
			case <-ticker.C:
			}
			late := time.AfterFunc(keepAliveEvery, func() { _ = h.last().Close() })
			_, _, err := h.last().SendRequest("keepalive@openssh.com", true, nil)
			late.Stop()
			if err != nil {
				return
			}
		}
	})
}

// await runs fn, which knows no context, and returns early when ctx ends; then
// drop gets what fn returns after that.
func await[T any](ctx context.Context, h *Host, fn func() (T, error), drop func(T)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer)
	gone := make(chan struct{})
	defer close(gone)
	started := h.start(func() {
		value, err := fn()
		select {
		case answers <- answer{value, err}:
		case <-gone:
			if err == nil {
				drop(value)
			}
		}
	})
	var none T
	if !started {
		return none, errClosed
	}
	select {
	case a := <-answers:
		return a.value, a.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// directTCPIP is the payload of RFC 4254, 7.2.
type directTCPIP struct {
	Host       string
	Port       uint32
	Origin     string
	OriginPort uint32
}

// directStreamlocal is that of direct-streamlocal@openssh.com (PROTOCOL of
// OpenSSH, 2.4).
type directStreamlocal struct {
	Path     string
	Reserved string
	Number   uint32
}

// channel opens one through a client of the chain.
func (h *Host) channel(ctx context.Context, client *ssh.Client, kind string, payload any) (ssh.Channel, <-chan *ssh.Request, error) {
	type opened struct {
		ch       ssh.Channel
		requests <-chan *ssh.Request
	}
	var data []byte
	if payload != nil {
		data = ssh.Marshal(payload)
	}
	o, err := await(ctx, h, func() (opened, error) {
		ch, requests, err := client.OpenChannel(kind, data)
		return opened{ch, requests}, err
	}, func(late opened) {
		_ = late.ch.Close()
		ssh.DiscardRequests(late.requests)
	})
	return o.ch, o.requests, err
}

// conn makes a connection of a channel. Close ends it as well.
func (h *Host) conn(ch ssh.Channel) (*sshchan.Conn, error) {
	local, remote := h.last().LocalAddr(), h.last().RemoteAddr()
	conn := sshchan.New(ch, local, remote)
	if !h.start(func() {
		select {
		case <-conn.Done():
		case <-h.ended:
			_ = conn.Close()
			<-conn.Done()
		}
	}) {
		_ = conn.Close()
		return nil, errClosed
	}
	return conn, nil
}

// isEnd tells a connection that just ended.
func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) }
