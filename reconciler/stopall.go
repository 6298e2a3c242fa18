package reconciler

import (
	"context"
	"errors"
	"slices"
	"strings"

	"kita/spec"
)

// stopAll stops every child that runs. No posthook runs.
func (r *Reconciler) stopAll(ctx context.Context, c spec.Command) (spec.Outcome, error) {
	r.mu.Lock()
	if r.ending {
		r.mu.Unlock()
		return spec.Outcome{}, spec.Refuse(spec.Unavailable, c.Verb, c.Child, "the server is ending")
	}
	changes := map[string]spec.Desired{}
	var all []written
	for name, e := range r.children {
		if !e.stoppable() {
			continue
		}
		w := written{e: e, generation: e.desired.Generation, incarnation: e.obs.Incarnation, wasRunning: true}
		if e.desired.Run == spec.Running {
			posthook := e.desired.Posthook
			e.desired = e.next(request{Command: c})
			e.desired.Posthook = posthook
			w.generation = e.desired.Generation
			changes[name] = e.desired
			r.touch(e)
		}
		all = append(all, w)
	}
	r.mu.Unlock()
	slices.SortFunc(all, func(a, b written) int { return strings.Compare(a.e.name, b.e.name) })
	out := spec.Outcome{Verb: c.Verb, Child: c.Child}
	if err := r.Store.SetDesired(context.WithoutCancel(ctx), changes); err != nil {
		r.Logger.Error("cannot save desired states", "err", err)
		out.Note = unsavedNote(err)
		r.owe(changes)
	}
	for name := range changes {
		r.queue.Add(name)
	}
	if c.NoWait {
		return out, nil
	}
	return r.finishAll(ctx, c, all, out)
}

// finishAll waits for the children of stop all, which are sorted by name.
func (r *Reconciler) finishAll(ctx context.Context, c spec.Command, all []written, out spec.Outcome) (spec.Outcome, error) {
	pending := spec.Pending{Command: c, Note: out.Note, All: []spec.Pending{}}
	for _, w := range all {
		one := c
		one.Child = w.e.name
		pending.All = append(pending.All, w.pending(one))
	}
	err := r.awaitAll(ctx, c, all, &out)
	return out, orPending(ctx, err, pending)
}

func (r *Reconciler) awaitAll(ctx context.Context, c spec.Command, all []written, out *spec.Outcome) error {
	var failed []string
	for _, w := range all {
		one := c
		one.Child = w.e.name
		_, err := r.await(ctx, w, one)
		var refusal *spec.Refusal
		switch {
		case errors.As(err, &refusal):
			failed = append(failed, refusal.Message)
		case err != nil:
			return err
		}
		r.mu.Lock()
		note := w.e.obs.KilledNote(w.incarnation)
		r.mu.Unlock()
		if note != "" {
			out.Note = strings.TrimPrefix(out.Note+"; "+w.e.name+": "+note, "; ")
		}
	}
	if len(failed) > 0 {
		return spec.Refuse(spec.NotStopped, c.Verb, c.Child, "%s", strings.Join(failed, "; "))
	}
	return nil
}
