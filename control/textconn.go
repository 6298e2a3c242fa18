package control

import (
	"context"
	"time"

	"kita/control/legacy"
	"kita/spec"
)

// serveText answers one request of the text protocol.
func (s *Server) serveText(ctx context.Context, c *conn) { s.answerText(ctx, c, nil) }

// answerText is serveText, and carries on what an earlier server left.
func (s *Server) answerText(ctx context.Context, c *conn, resume *spec.Pending) {
	svc := &textService{observed: s.observed(), resume: resume}
	answer, kill := s.textAnswer(ctx, svc, c)
	if svc.pending != nil {
		s.surrender(c, Handed{Stage: StageText, Read: c.read, Ended: c.ended, Pending: svc.pending})
		return
	}
	_ = c.SetWriteDeadline(time.Now().Add(s.opt.Timing.Write))
	_, _ = c.Write(answer)
	s.finish(c)
	if kill {
		s.opt.Service.Kill(c.asker.by())
	}
	s.linger(c)
}

func (s *Server) textAnswer(ctx context.Context, svc legacy.Service, c *conn) (answer []byte, kill bool) {
	if c.refusal != nil {
		return []byte(c.refusal.Message), false
	}
	return legacy.Answer(ctx, svc, c.read, legacy.Options{Encrypt: c.transport.encrypt, By: c.asker.by()})
}

// textService is what one request of the text protocol is answered with.
type textService struct {
	observed
	// resume is what Do waits for in place of doing its command again.
	resume *spec.Pending
	// pending is what Do left to the next server.
	pending *spec.Pending
}

func (t *textService) Do(ctx context.Context, c spec.Command) (out spec.Outcome, err error) {
	if t.resume != nil {
		out, err = t.observed.Resume(ctx, *t.resume)
	} else {
		out, err = t.observed.Do(ctx, c)
	}
	t.pending = pendingIn(err)
	return out, err
}
