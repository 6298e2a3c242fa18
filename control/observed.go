package control

import (
	"context"
	"errors"

	"kita/spec"
)

// observed reports the commands that pass through it, and ends their waiting
// when the server hands over.
type observed struct {
	Service
	observe func(verb, result string)
	handing context.Context
}

func (s *Server) observed() observed {
	return observed{Service: s.opt.Service, observe: s.opt.ObserveCommand, handing: s.handing}
}

func (o observed) Do(ctx context.Context, c spec.Command) (spec.Outcome, error) {
	return o.watched(ctx, c, func(ctx context.Context) (spec.Outcome, error) { return o.Service.Do(ctx, c) })
}

func (o observed) Resume(ctx context.Context, p spec.Pending) (spec.Outcome, error) {
	return o.watched(ctx, p.Command, func(ctx context.Context) (spec.Outcome, error) { return o.Service.Resume(ctx, p) })
}

// Rotate is seen to its end, which does not take long.
func (o observed) Rotate(ctx context.Context, name string) ([]spec.Archive, error) {
	archives, err := o.Service.Rotate(ctx, name)
	o.observe(verbRotate, resultOf(err))
	return archives, err
}

func (o observed) watched(ctx context.Context, c spec.Command, do func(context.Context) (spec.Outcome, error)) (spec.Outcome, error) {
	ctx, stop := untilHandover(ctx, o.handing)
	defer stop()
	out, err := do(ctx)
	// What is pending is reported by the server that sees its end.
	if pendingIn(err) == nil {
		o.observe(string(c.Verb), resultOf(err))
	}
	return out, err
}

// untilHandover is ctx, ended with the cause spec.ErrHandover when handing ends.
func untilHandover(ctx, handing context.Context) (waiting context.Context, stop func()) {
	waiting, cancel := context.WithCancelCause(ctx)
	unregister := context.AfterFunc(handing, func() { cancel(spec.ErrHandover) })
	return waiting, func() {
		unregister()
		cancel(nil)
	}
}

// pendingIn is what err leaves to the next server, or nil.
func pendingIn(err error) *spec.Pending {
	var pending *spec.PendingError
	if errors.As(err, &pending) {
		return &pending.Pending
	}
	return nil
}

func resultOf(err error) string {
	var refusal *spec.Refusal
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &refusal):
		return string(refusal.Code)
	}
	return "gone"
}
