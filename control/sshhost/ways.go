package sshhost

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"

	"kita/spec"
)

// rootSocket is that of a server of root, see store.DefaultDirs.
const rootSocket = "/run/kita/kita.sock"

// stepTimeout is what one way has to show that it works.
const stepTimeout = 10 * time.Second

// way leads from the host's sshd to its kita.
type way interface {
	open(ctx context.Context, h *Host) (net.Conn, error)
	// String is what messages call it.
	String() string
}

// errForbidden: sshd does not forward at all, so nothing like it has to be tried.
var errForbidden = errors.New("sshd forbids it")

// unixWay is the server's unix socket, forwarded by sshd.
type unixWay struct{ path string }

func (w unixWay) String() string { return w.path }

func (w unixWay) open(ctx context.Context, h *Host) (net.Conn, error) {
	return h.forward(ctx, "direct-streamlocal@openssh.com", directStreamlocal{Path: w.path})
}

// tcpWay is the server's port on loopback.
type tcpWay struct{}

func (tcpWay) String() string { return "127.0.0.1:" + strconv.Itoa(spec.DefaultPort) }

func (tcpWay) open(ctx context.Context, h *Host) (net.Conn, error) {
	return h.forward(ctx, "direct-tcpip", directTCPIP{Host: "127.0.0.1", Port: spec.DefaultPort, Origin: "127.0.0.1"})
}

// forward opens a connection that sshd makes.
func (h *Host) forward(ctx context.Context, kind string, payload any) (net.Conn, error) {
	ch, requests, err := h.channel(ctx, h.last(), kind, payload)
	var refused *ssh.OpenChannelError
	switch {
	case errors.As(err, &refused) && (refused.Reason == ssh.Prohibited || refused.Reason == ssh.UnknownChannelType):
		return nil, errForbidden
	case errors.As(err, &refused):
		// sshd does not say which it is, for a unix socket not even that it
		// forbids it.
		return nil, networkErrorf("no server answers there, or sshd may not forward to it")
	case err != nil:
		return nil, err
	}
	h.start(func() { ssh.DiscardRequests(requests) })
	return h.conn(ch)
}

// proxyWay is kita itself, run there to pass the bytes on to the server.
type proxyWay struct {
	kita string
	// socket is the server's; empty leaves it to kita.
	socket string
}

func (w proxyWay) String() string {
	if w.socket != "" {
		return "`" + w.kita + " proxy --socket " + w.socket + "` there"
	}
	return "`" + w.kita + " proxy` there"
}

// ProxyReady is the line that `kita proxy --announce` writes to its standard
// error when it has reached the server.
const ProxyReady = "kita proxy: connected"

func (w proxyWay) open(ctx context.Context, h *Host) (net.Conn, error) {
	line := quote(w.kita) + " proxy --announce"
	if w.socket != "" {
		line += " --socket " + quote(w.socket)
	}
	s, err := h.exec(ctx, line)
	if err != nil {
		return nil, err
	}
	said, ready := h.firstLine(ctx, s, ProxyReady)
	if ready {
		return h.conn(s.ch)
	}
	_ = s.ch.Close()
	if said == "" {
		said = "it ended without a word"
	}
	return nil, networkErrorf("%s", said)
}

// Reach finds the way to the host's kita, the first that works: its unix socket,
// its port on loopback, `kita proxy` run there. The errors are *NoServerError
// and *OnlyOldError, that of a ctx that was cancelled, and *NetworkError where
// the time or the connection is over. The connection that it made is the first
// that Open returns.
func (h *Host) Reach(ctx context.Context) error {
	conn, err := h.Open(ctx)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reached = append(h.reached, conn)
	return nil
}

// Open connects to the host's kita, by the way that worked before, or else as
// Reach does and with its errors.
func (h *Host) Open(ctx context.Context) (net.Conn, error) {
	h.mu.Lock()
	found := h.found
	if last := len(h.reached) - 1; last >= 0 {
		conn := h.reached[last]
		h.reached = h.reached[:last]
		h.mu.Unlock()
		return conn, nil
	}
	h.mu.Unlock()
	if found != nil {
		// A server that has moved since is looked for anew.
		if conn, err := within(ctx, h, found); err == nil {
			return conn, nil
		}
	}
	if err := h.over(ctx); err != nil {
		return nil, err
	}
	s := &search{h: h}
	conn, err := s.run(ctx)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	h.found = s.found
	h.mu.Unlock()
	return conn, nil
}

// within opens a way that has a limited time.
func within(ctx context.Context, h *Host, w way) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	return w.open(ctx, h)
}

// search tries one way after the other.
type search struct {
	h     *Host
	tried []string
	found way
}

func (s *search) run(ctx context.Context) (net.Conn, error) {
	conn, err := s.try(ctx, unixWay{rootSocket}, nil)
	if conn != nil || s.h.over(ctx) != nil {
		return conn, s.h.over(ctx)
	}
	// What is there is asked for only where the usual place has nothing.
	there := s.h.look(ctx)
	for _, w := range there.ways(errors.Is(err, errForbidden)) {
		conn, _ := s.try(ctx, w.way, w.check)
		if conn != nil || s.h.over(ctx) != nil {
			return conn, s.h.over(ctx)
		}
	}
	switch {
	case there.old != "":
		return nil, &OnlyOldError{Client: there.old}
	case there.err != nil:
		s.tried = append(s.tried, fmt.Sprintf("kita there: %v", there.err))
	case there.kita == "":
		s.tried = append(s.tried, "kita is not installed there")
	}
	return nil, &NoServerError{Tried: s.tried}
}

// try returns a connection by this way, once check has approved of another one.
func (s *search) try(ctx context.Context, w way, check func(net.Conn) error) (net.Conn, error) {
	conn, err := within(ctx, s.h, w)
	if err == nil && check != nil {
		err = check(conn)
		_ = conn.Close()
		if err == nil {
			conn, err = within(ctx, s.h, w)
		}
	}
	if err == nil {
		s.found = w
		return conn, nil
	}
	s.tried = append(s.tried, fmt.Sprintf("%s: %v", w, reason(err)))
	return nil, err
}

// answersAsKita asks what is at the other end whether it is a kita that would
// take commands.
func answersAsKita(conn net.Conn) error {
	_ = conn.SetDeadline(time.Now().Add(stepTimeout))
	request := "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, maxErrors)), nil)
	if err != nil {
		return errors.New("what answers there is no kita")
	}
	defer response.Body.Close()
	media, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	switch {
	case response.StatusCode == http.StatusForbidden && media == "application/problem+json":
		return errors.New("the server there takes keys only, ask it without ssh://: `on HOST with KEY`")
	case response.StatusCode == http.StatusOK && media == "application/json":
		var answer struct{ Status string }
		if json.NewDecoder(response.Body).Decode(&answer) == nil && answer.Status == "ok" {
			return nil
		}
	}
	return errors.New("what answers there is no kita")
}
