package control

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"kita/control/keyring"
	"kita/control/sshd"
	"kita/spec"
)

const noHostKey = "this server has no key to prove itself with, so it serves no SSH"

// serveSSH serves SSH, with encryption on or off: clients can be given keys
// before the plain protocols are switched off.
func (s *Server) serveSSH(_ context.Context, c *conn) {
	a := asker{via: viaSSH, peer: c.asker.peer}
	if s.opt.HostKey == nil {
		s.recordRefused(a, spec.Unavailable, noHostKey)
		s.refuseSSH(c)
		return
	}
	defer c.Close()
	conn := sshd.New(c.Conn, c.read, sshd.Options{
		HostKey: s.opt.HostKey,
		Admit: func(login string, key ssh.PublicKey) (sshd.Guest, error) {
			k, err := s.keys.Find(key, login)
			if err != nil {
				return nil, err
			}
			return &guest{s: s, over: c, key: k, asker: asker{via: viaSSH, peer: a.peer, key: k.Name}}, nil
		},
		Authenticated: func(g sshd.Guest) { s.welcome(c, g.(*guest)) },
		Channels:      s.channelSlots,
		Panicked: func(v any, stack []byte) {
			s.panics.Add(1)
			s.opt.Logger.Error("a command line's handler panicked", "by", a.by(), "panic", fmt.Sprint(v), "stack", string(stack))
		},
		Begun: c.begun, Handshake: s.opt.Timing.Request, Idle: s.opt.Timing.Idle, Write: s.opt.Timing.Write, Linger: s.opt.Timing.Linger,
	})
	if over := s.secure(c, conn); over {
		s.surrender(c, Handed{Stage: StageNew, Read: c.read})
		return
	}
	err := conn.Serve()
	s.guests.remove(c)
	if !c.gaveWay.Load() {
		s.reportSSH(a, err)
	}
}

// refuseSSH answers in place of the SSH protocol. A line before the banner is
// allowed by RFC 4253, 4.2, and shown by clients.
func (s *Server) refuseSSH(c *conn) {
	_ = c.SetWriteDeadline(time.Now().Add(s.opt.Timing.Write))
	_, _ = io.WriteString(c.Conn, noHostKey+": its log says why\r\n")
	s.finish(c)
	s.linger(c)
}

// secure makes a connection one of SSH, which ends by itself when it is told
// to. over means that the server hands its connections over, so that the next
// one is to serve it: nothing was answered yet.
func (s *Server) secure(c *conn, over *sshd.Conn) (handOver bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaving {
		return true
	}
	// Whatever waits for a request has set it.
	_ = c.Conn.SetReadDeadline(time.Time{})
	c.secured = over
	if s.closed {
		over.Leave()
	}
	return false
}

// reportSSH writes down why a client did not get in.
func (s *Server) reportSSH(a asker, err error) {
	refused, ok := err.(*sshd.Refused)
	if !ok {
		return
	}
	switch refused.Fault {
	case sshd.Ended:
	case sshd.Stalled:
		s.recordRefused(a, spec.TimedOut, refused.Reason)
	case sshd.Malformed:
		s.recordRefused(a, spec.BadRequest, refused.Reason)
	case sshd.BadKey:
		s.unadmitted.Add(1)
		// Nothing else says why where there is no audit log.
		if s.recordBadKey(a, refused.Reason) {
			s.opt.Logger.Info("a client's keys are refused", "by", a.by(), "reason", refused.Reason)
		}
	}
}

// guest is a client that has proved its key.
type guest struct {
	s *Server
	// over is the connection below SSH.
	over  *conn
	key   keyring.Key
	asker asker
	// channels are those of the key. They and isSurplus, which says that the key
	// has too many connections, are set before the guest may do anything.
	channels  chan struct{}
	isSurplus bool
	// expelled guards the one line that says why its connection ends.
	expelled sync.Once
}

var _ sshd.Guest = (*guest)(nil)

// Check is nil as long as the key is admitted.
func (g *guest) Check() error {
	if g.isSurplus {
		return g.s.surplus(g)
	}
	err := g.s.keys.Check(g.key)
	if err == nil {
		return nil
	}
	return g.s.revoked(g, err)
}

// Channels has room for those of the key.
func (g *guest) Channels() chan struct{} { return g.channels }

// API gives a channel to the HTTP server.
func (g *guest) API(nc net.Conn) { _ = g.api(nc, transport{network: viaSSH}) }

func (g *guest) api(nc net.Conn, t transport) error {
	c := &conn{Conn: nc, s: g.s, transport: t, asker: g.asker}
	if err := g.s.trackChannel(c); err != nil {
		_ = nc.Close()
		return err
	}
	g.s.give(c, g.s.apiConns)
	return nil
}

// Refused writes down what the client asked for in vain.
func (g *guest) Refused(what string) {
	g.s.record(g.asker, verbConnect, "", string(codeForbidden), what)
}

// Exec carries out a command line with the rights of the key. One that comes to
// no request, which would leave a line in the audit log, leaves one here, unless
// all is well with it, as with a question for help.
func (g *guest) Exec(ctx context.Context, line string, stdout, stderr io.Writer) int {
	if g.s.opt.Exec == nil {
		_, _ = io.WriteString(stderr, "kita: this server takes no command lines over SSH\n")
		return 2
	}
	var asked atomic.Bool
	status := g.s.opt.Exec(ctx, Exec{
		Line: line, By: g.asker.by(), Stdout: stdout, Stderr: stderr,
		Dial: func(context.Context) (net.Conn, error) {
			asked.Store(true)
			return g.dial(ctx)
		},
	})
	if status != 0 && !asked.Load() {
		g.s.record(g.asker, verbConnect, "", string(spec.BadRequest), fmt.Sprintf("the command line %.200q asks for nothing and ends with %d", line, status))
	}
	return status
}

// dial connects a command line to the API, until ctx ends.
func (g *guest) dial(ctx context.Context) (net.Conn, error) {
	if err := g.Check(); err != nil {
		return nil, spec.Refuse(codeForbidden, "", "", "%v", err)
	}
	client, server := net.Pipe()
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := g.api(server, transport{network: viaSSH, isOwn: true}); err != nil {
		_ = client.Close()
		return nil, err
	}
	return client, nil
}
