package control

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"net/http"
	"time"

	"kita/spec"
)

// Resume carries on with connections that another Server has handed over. Who
// asked for the upgrade is answered with failure, or with what was done where
// that is nil. It takes the descriptors, and returns at once.
func (s *Server) Resume(handed []Handed, done spec.Upgraded, failure *spec.Refusal) {
	s.answers.last.Store(&upgradeOutcome{done, failure})
	for _, h := range handed {
		c, err := s.adopt(h)
		if err != nil {
			s.recordDropped(h, err, failure)
			continue
		}
		go func() {
			defer s.tasks.Done()
			defer s.contain(c)
			s.carryOn(c, h, done, failure)
		}()
	}
}

// recordDropped writes down what became of a request whose connection is not
// carried on. Its command is: what it wanted has been written.
func (s *Server) recordDropped(h Handed, why error, failure *spec.Refusal) {
	if !errors.Is(why, errLeft) {
		s.opt.Logger.Warn("cannot carry on with a connection", "stage", h.Stage, "error", why)
	}
	a := asker{via: cmp.Or(h.Via, h.Network), key: h.Key, peer: h.Peer}
	switch h.Stage {
	case StageUpgrade:
		s.recordAnswer(a, verbUpgrade, "", failure)
	case StageCommand, StageText:
		command := commandOf(h)
		s.opt.ObserveCommand(string(command.Verb), resultGone)
		s.record(a, string(command.Verb), command.Child, resultGone, "during the upgrade: "+why.Error())
	}
}

// errLeft: the client has reset the connection since it was handed over.
var errLeft = errors.New("the client has left")

// adopt makes a connection of this server of h, and takes its descriptor. It
// counts the goroutine that is to own it among the tasks.
func (s *Server) adopt(h Handed) (*conn, error) {
	nc, err := h.conn()
	if err != nil {
		return nil, err
	}
	if nc.RemoteAddr() == nil {
		_ = nc.Close()
		return nil, errLeft
	}
	t := s.overTCP
	switch {
	case h.Stage == StageMetrics:
		t = s.overMetrics
	case h.Network == viaUnix:
		t = s.overUnix
	}
	c := &conn{
		Conn: nc, s: s, transport: t, asker: asker{via: cmp.Or(h.Via, t.network), key: h.Key},
		read: h.Read, ended: h.Ended, isMetrics: h.Stage == StageMetrics,
	}
	if err := s.enter(c); err != nil {
		_ = nc.Close()
		return nil, err
	}
	switch h.Stage {
	case StageNew:
	case StageHTTP, StageMetrics:
		_ = t.crowd.settle(c)
		t.crowd.keep(c)
	default:
		_ = t.crowd.settle(c)
	}
	if err := s.include(c, func() {
		s.tasks.Add(1)
		s.beginHTTP()
	}); err != nil {
		return nil, err
	}
	return c, nil
}

// carryOn goes on where the former server left off.
func (s *Server) carryOn(c *conn, h Handed, done spec.Upgraded, failure *spec.Refusal) {
	if h.Stage == StageNew {
		s.handle(c)
		return
	}
	s.identify(c)
	inClear := c.transport.encrypt && c.asker.via == viaTCP
	// What was begun in clear before encrypt mode is answered, and no more.
	h.Close = h.Close || inClear
	switch h.Stage {
	case StageText:
		s.answerText(s.base, c, h.Pending)
	case StageCommand:
		s.answerCommand(c, h)
	case StageUpgrade:
		s.recordAnswer(c.asker, verbUpgrade, "", failure)
		s.answerHTTP(c, h, func(w http.ResponseWriter) { s.answers.upgraded(w, done, failure) })
	case StageWatch:
		if inClear {
			s.recordRefused(c.asker, codeForbidden, "the watch ends, because the server runs in encrypt mode now: over TCP it answers only to keys")
			s.endWatch(c, h)
			return
		}
		s.resumeWatch(c, h)
	case StageAnswered:
		s.linger(c)
	default:
		s.keep(c)
	}
}

// answerCommand waits for the command of an HTTP request and answers it.
func (s *Server) answerCommand(c *conn, h Handed) {
	out, err := s.observed().Resume(s.base, *h.Pending)
	if pending := pendingIn(err); pending != nil {
		h.Pending = pending
		s.surrender(c, h)
		return
	}
	command := commandOf(h)
	var refusal *spec.Refusal
	if err != nil {
		refusal = refusalOf(err, command)
	}
	s.recordAnswer(c.asker, string(command.Verb), command.Child, refusal)
	s.answerHTTP(c, h, func(w http.ResponseWriter) {
		if refusal != nil {
			s.answers.problem(w, s.told(c.asker, command.Child, refusal))
			return
		}
		s.answers.outcome(w, command, s.outcome(c.asker, out))
	})
}

// answerHTTP writes an answer to a request that another server read.
func (s *Server) answerHTTP(c *conn, h Handed, answer func(http.ResponseWriter)) {
	w := recorder{header: http.Header{
		"X-Content-Type-Options": {"nosniff"}, "Cache-Control": {"no-store"},
		"Date": {time.Now().UTC().Format(http.TimeFormat)},
	}}
	answer(&w)
	response := http.Response{
		StatusCode: w.status, ProtoMajor: 1, ProtoMinor: 1, Header: w.header, Close: h.Close,
		Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()),
	}
	_ = c.SetWriteDeadline(time.Now().Add(s.opt.Timing.Write))
	if err := response.Write(c.Conn); err != nil {
		_ = c.Close()
		return
	}
	_ = c.SetWriteDeadline(time.Time{})
	if h.Close {
		s.finish(c)
		s.linger(c)
		return
	}
	c.answered()
	s.keep(c)
}

// commandOf is the command of a connection that waits for one.
func commandOf(h Handed) spec.Command {
	if h.Pending == nil {
		return spec.Command{}
	}
	return h.Pending.Command
}

// recorder is the http.ResponseWriter of an answer that is written as a whole.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(p)
}
