package reconciler

import (
	"context"
	"errors"

	"kita/spec"
)

// Resume waits for a command that Do of a former Reconciler on the same state
// has written and left as a *spec.PendingError. It is called once Start has
// returned, and answers as Do would have.
func (r *Reconciler) Resume(ctx context.Context, p spec.Pending) (spec.Outcome, error) {
	c := p.Command
	if c.Child != spec.All {
		return r.finish(ctx, r.waitFor(p), c)
	}
	var all []written
	for _, one := range p.All {
		all = append(all, r.waitFor(one))
	}
	failed := failures{texts: p.Failed, code: p.FailedCode}
	return r.finishAll(ctx, c, all, failed, spec.Outcome{Verb: c.Verb, Child: c.Child, Note: p.Note,
		Children: p.Parts, LeftStopped: p.LeftStopped, LeftRunning: p.LeftRunning})
}

// pending is w as the next server is told of it.
func (w written) pending(c spec.Command) spec.Pending {
	return spec.Pending{Command: c, Generation: w.generation, Incarnation: w.incarnation, WasRunning: w.wasRunning, Note: w.note}
}

// waitFor is the reverse of pending. A child that is not there any more was
// forgotten, which a child is only when nothing of it is left to be done.
func (r *Reconciler) waitFor(p spec.Pending) written {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.children[p.Command.Child]
	if e == nil {
		e = &entry{name: p.Command.Child, gone: true, removed: true}
	}
	return written{
		e: e, child: e.child, generation: p.Generation, incarnation: p.Incarnation,
		wasRunning: p.WasRunning, note: p.Note,
	}
}

// orPending is err, or p where the waiting ended for a handover.
func orPending(ctx context.Context, err error, p spec.Pending) error {
	var refusal *spec.Refusal
	if err == nil || errors.As(err, &refusal) || !errors.Is(context.Cause(ctx), spec.ErrHandover) {
		return err
	}
	return &spec.PendingError{Pending: p}
}

// Ending tells whether Kill was called: then everything is being stopped, and
// no other server is to carry on.
func (r *Reconciler) Ending() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ending
}
