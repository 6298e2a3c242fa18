package sshd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"kita/control/sshchan"
)

// subsystem is the one that is served.
const subsystem = "kita"

// Exit statuses that are not a command's own.
const (
	statusDefect = 1
	statusUsage  = 2
)

// errClient is the cause with which a command ends whose client has gone, or
// has sent it a signal.
var errClient = errors.New("the client has ended the command")

// session is a channel of type "session": one request and what serves it.
type session struct {
	c     *Conn
	guest Guest
	ch    ssh.Channel
	// ctx ends when the client has closed the channel or sent a signal, and with
	// the connection.
	ctx context.Context
	end context.CancelCauseFunc
	// gone is closed when the client has closed the channel.
	gone chan struct{}
	// serving is what serves the request.
	serving sync.WaitGroup
	asked   bool
	// patience is how long a write may take, 0 for Options.Write. It belongs to
	// what serves the request.
	patience time.Duration
}

// session returns when both sides have closed the channel, or the connection
// has ended.
func (c *Conn) session(guest Guest, offered ssh.NewChannel) {
	ch, requests, err := offered.Accept()
	if err != nil {
		// The connection has ended, and with it the channel.
		return
	}
	s := &session{c: c, guest: guest, ch: ch, gone: make(chan struct{})}
	s.ctx, s.end = context.WithCancelCause(c.broken)
	s.discard(ch.Stderr())
	unasked := time.AfterFunc(c.opt.Handshake, s.giveUp)
	for r := range requests {
		s.request(r)
		if s.asked {
			unasked.Stop()
		}
	}
	unasked.Stop()
	close(s.gone)
	s.end(errClient)
	s.serving.Wait()
}

// giveUp ends the connection of a client that does not do its part. To close
// the channel would not do: it stays until the client closes it, too.
func (s *session) giveUp() { _ = s.c.wire.Close() }

// request answers a request of the channel.
func (s *session) request(r *ssh.Request) {
	switch {
	case r.Type == "signal" && s.asked:
		s.end(errClient)
	case s.asked:
		// One request a channel: what follows, such as another size of a window
		// that there is not, is about nothing.
	case r.Type == "exec":
		s.begin(r, func() { s.exec(text(r.Payload)) })
		return
	case r.Type == "shell":
		s.guest.Refused("a shell")
		s.discard(s.ch)
		s.begin(r, func() { s.exit(statusUsage, "kita has no shell, give a command: ssh … check") })
		return
	case r.Type == "subsystem" && text(r.Payload) == subsystem:
		s.begin(r, s.api)
		return
	case r.Type == "subsystem":
		s.guest.Refused(fmt.Sprintf("the subsystem %.100q", text(r.Payload)))
	case r.Type == "pty-req":
		s.guest.Refused("a terminal")
	default:
		// Clients send along with a command what their user has set once and for
		// all: the environment, the agent.
	}
	_ = r.Reply(false, nil)
}

// text is the string that a payload consists of, "" if it is none.
func text(payload []byte) string {
	var message struct{ Text string }
	if ssh.Unmarshal(payload, &message) != nil {
		return ""
	}
	return message.Text
}

// begin grants a request and serves it.
func (s *session) begin(r *ssh.Request, serve func()) {
	s.asked = true
	_ = r.Reply(true, nil)
	s.serving.Go(func() {
		defer s.contain()
		serve()
	})
}

// contain keeps a panic to its channel.
func (s *session) contain() {
	if v := recover(); v != nil {
		s.c.opt.Panicked(v, debug.Stack())
		s.exit(statusDefect, "the command met a defect of the server, which its log describes")
	}
}

// discard reads what nobody wants: it would stay in this process, up to the two
// megabytes of a channel's window.
func (s *session) discard(r io.Reader) {
	s.serving.Go(func() { _, _ = io.Copy(io.Discard, r) })
}

// exec carries out a command line.
func (s *session) exec(line string) {
	s.discard(s.ch)
	if len(line) > MaxLine {
		tooLong := fmt.Sprintf("the command line is longer than %d bytes", MaxLine)
		s.guest.Refused(tooLong)
		s.exit(statusUsage, tooLong)
		return
	}
	status := s.guest.Exec(s.ctx, line, s.writer(s.ch), s.writer(s.ch.Stderr()))
	message := ""
	if s.c.broken.Err() != nil {
		message = context.Cause(s.c.broken).Error()
	}
	s.exit(status, message)
}

// exit ends the channel as a command ends that prints the message and has the
// status.
func (s *session) exit(status int, message string) {
	if message != "" {
		_, _ = fmt.Fprintf(s.writer(s.ch.Stderr()), "kita: %s\n", message)
	}
	_ = s.ch.CloseWrite()
	// The status goes before the close, and is lost after it (RFC 4254, 6.10).
	_, _ = s.ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(status)}))
	_ = s.ch.Close()
	s.awaitClose()
}

// awaitClose returns when the client has closed the channel, which it must do in
// the time for a write.
func (s *session) awaitClose() {
	defer s.giveUpLate()()
	<-s.gone
}

// api serves the HTTP API on the channel.
func (s *session) api() {
	nc := &apiConn{Conn: sshchan.New(s.ch, s.c.wire.LocalAddr(), s.c.wire.RemoteAddr()), closed: make(chan struct{})}
	// A connection that is broken off must not have another request served.
	defer context.AfterFunc(s.ctx, func() { _ = nc.Conn.Close() })()
	s.guest.API(nc)
	<-nc.closed
	s.awaitClose()
}

// apiConn tells when it is closed.
type apiConn struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

func (c *apiConn) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		err = c.Conn.Close()
		close(c.closed)
	})
	return err
}

// writer writes to a client that must read.
func (s *session) writer(w io.Writer) io.Writer { return &paced{s, w} }

// paced gives up where a piece of what is written is not taken in time.
type paced struct {
	s *session
	w io.Writer
}

// pieceSize is that of a packet.
const pieceSize = 32 << 10

// SetPatience sets how long the client may take to read a piece, and in the end
// the rest. A command line calls it before it writes what is looked at as it
// comes.
func (p *paced) SetPatience(limit time.Duration) { p.s.patience = limit }

func (p *paced) Write(all []byte) (n int, err error) {
	for len(all) > 0 && err == nil {
		piece := all[:min(len(all), pieceSize)]
		stop := p.s.giveUpLate()
		var written int
		written, err = p.w.Write(piece)
		stop()
		n, all = n+written, all[written:]
	}
	return n, err
}

// giveUpLate gives the client its time for something. A server that leaves does
// not have the patience.
func (s *session) giveUpLate() (stop func()) {
	if s.patience == 0 {
		late := time.AfterFunc(s.c.opt.Write, s.giveUp)
		return func() { late.Stop() }
	}
	late := time.AfterFunc(s.patience, s.giveUp)
	hurry := context.AfterFunc(s.c.leaving, func() { late.Reset(s.c.opt.Linger) })
	return func() {
		hurry()
		late.Stop()
	}
}
