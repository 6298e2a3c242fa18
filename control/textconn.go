package control

import (
	"context"
	"errors"
	"time"

	"kita/control/legacy"
	"kita/spec"
)

// serveText answers one request of the text protocol.
func (s *Server) serveText(ctx context.Context, c *conn) { s.answerText(ctx, c, nil) }

// answerText is serveText, and carries on what an earlier server left.
func (s *Server) answerText(ctx context.Context, c *conn, resume *spec.Pending) {
	svc := &textService{observed: s.observed(), gate: s.gate, conn: c, resume: resume}
	answer, kill := s.textAnswer(ctx, svc, c)
	if svc.pending != nil {
		s.surrender(c, Handed{Stage: StageText, Read: c.read, Ended: c.ended, Pending: svc.pending})
		return
	}
	s.recordText(svc, answer)
	_ = c.SetWriteDeadline(time.Now().Add(s.opt.Timing.Write))
	_, _ = c.Write(answer)
	s.finish(c)
	if kill {
		s.opt.Service.Kill(c.asker.by())
	}
	s.linger(c)
}

func (s *Server) textAnswer(ctx context.Context, svc *textService, c *conn) (answer []byte, kill bool) {
	if c.refusal != nil {
		return []byte(c.refusal.Message), false
	}
	isPacket := c.transport.encrypt
	if svc.resume != nil {
		// The server that took it may have run in the other mode.
		isPacket = c.asker.via == viaOld
	}
	return legacy.Answer(ctx, svc, c.read, legacy.Options{
		Encrypt: isPacket, Open: svc.open, By: c.asker.by(), May: svc.may,
	})
}

// recordText writes down what became of a request.
func (s *Server) recordText(svc *textService, answer []byte) {
	c := svc.conn
	switch {
	case svc.verb == spec.VerbHelp:
	case svc.verb != "":
		s.recordAnswer(c.asker, string(svc.verb), svc.child, svc.refusal)
	case c.refusal != nil:
		s.recordRefused(c.asker, c.refusal.Code, c.refusal.Message)
	case svc.sealed != nil:
		s.recordBadKey(c.asker, svc.sealed.Error())
	case len(c.read) > legacy.MaxPacket:
		s.recordRefused(c.asker, codeTooLarge, string(answer))
	case c.transport.encrypt && c.asker.key == "":
		s.recordRefused(c.asker, codeForbidden, "a request of the text protocol to a server that takes nothing over TCP without a key: "+string(answer))
	default:
		s.recordRefused(c.asker, spec.BadRequest, string(answer))
	}
}

// textService is what one request of the text protocol is answered with.
type textService struct {
	observed
	gate *gate
	conn *conn
	// resume is what Do waits for in place of doing its command again.
	resume *spec.Pending
	// pending is what Do left to the next server.
	pending *spec.Pending

	// sealed is why a packet could not be opened.
	sealed error
	// verb and child are the command once it has been understood, refusal is
	// why it was not carried out.
	verb    spec.Verb
	child   string
	refusal *spec.Refusal
}

// open opens a packet of encrypt mode. One that an earlier server has opened
// need not be opened again, and might not be: its key may be gone.
func (t *textService) open(name string, body []byte) (command []byte, by string, err error) {
	if t.resume != nil {
		return []byte(string(t.resume.Command.Verb) + " " + t.resume.Command.Child), t.conn.asker.by(), nil
	}
	command, t.sealed = t.conn.s.unseal(t.conn, name, body)
	return command, t.conn.asker.by(), t.sealed
}

// may tells whether the asker may do the command. One that an earlier server
// has begun was allowed there.
func (t *textService) may(verb spec.Verb, child string) error {
	t.verb, t.child = verb, child
	if verb == spec.VerbHelp || t.resume != nil {
		return nil
	}
	switch verb {
	case spec.VerbInfo:
		child = ""
	case spec.VerbKill:
		child = spec.All
	case spec.VerbCheck:
		if child == spec.All {
			child = ""
		}
	}
	if refusal := t.gate.may(t.conn.asker, string(verb), rightTo(string(verb)), child); refusal != nil {
		t.refusal = refusal
		return refusal
	}
	if !t.conn.transport.crowd.settle(t.conn) {
		t.refusal = errGaveWay
		return errGaveWay
	}
	return nil
}

func (t *textService) List() []spec.View {
	return t.gate.readable(t.conn.asker, t.observed.List())
}

func (t *textService) Info() spec.Info {
	return t.gate.inform(t.conn.asker, t.observed.Info())
}

func (t *textService) Do(ctx context.Context, c spec.Command) (out spec.Outcome, err error) {
	if t.resume != nil {
		out, err = t.observed.Resume(ctx, *t.resume)
	} else {
		out, err = t.observed.Do(ctx, c)
	}
	t.pending = pendingIn(err)
	if err != nil {
		t.refusal = refusalOf(err, c)
	}
	var refusal *spec.Refusal
	if errors.As(err, &refusal) {
		err = t.gate.told(t.conn.asker, c.Child, refusal)
	}
	return t.gate.outcome(t.conn.asker, out), err
}
