package reconciler

import (
	"context"
	"errors"
	"strings"
	"time"

	"kita/reconciler/plan"
	"kita/spec"
)

// request is a command on its way to a desired state.
type request struct {
	spec.Command
	// run, when set, is the incarnation a repeat action was meant for. Restart
	// then also starts a run that has ended by itself.
	run uint64
	// ofAll: it is the part of one child in a command for all.
	ofAll bool
}

// written is a desired state that has been put in force.
type written struct {
	e           *entry
	child       *spec.Child
	generation  uint64
	incarnation uint64 // live when it was written
	wasRunning  bool
	note        string
	// unchanged: it runs with what its file says, or has run so to its successful
	// end, and leftStopped: it was stopped before. Nothing was written.
	unchanged, leftStopped bool
	// givesUp: what a former server left and cannot be killed is not waited for.
	givesUp bool
}

// Do carries out a command: it writes the desired state, and unless c.NoWait
// waits until the loop has done or failed what it asks. The error is a
// *spec.Refusal, or ctx.Err(): then what was written stays written. Where ctx
// ended with the cause spec.ErrHandover it is a *spec.PendingError, which
// Resume of another Reconciler takes.
func (r *Reconciler) Do(ctx context.Context, c spec.Command) (spec.Outcome, error) {
	if c.Verb.Changes() && c.Child == spec.All {
		return r.doAll(ctx, c)
	}
	w, err := r.write(ctx, request{Command: c})
	if err != nil {
		return spec.Outcome{}, err
	}
	if c.NoWait || w.unchanged {
		out := w.outcome(c)
		v, _ := r.Get(c.Child)
		out.Status = v.Status
		return out, nil
	}
	return r.finish(ctx, w, c)
}

// finish waits for what was written and tells how it came out.
func (r *Reconciler) finish(ctx context.Context, w written, c spec.Command) (spec.Outcome, error) {
	out := w.outcome(c)
	status, err := r.await(ctx, w, c)
	if err != nil {
		return out, orPending(ctx, err, w.pending(c))
	}
	out.Status = status
	r.describe(&out, w)
	return out, nil
}

func (w written) outcome(c spec.Command) spec.Outcome {
	return spec.Outcome{Verb: c.Verb, Child: c.Child, Generation: w.generation, WasRunning: w.wasRunning, Note: w.note, Unchanged: w.unchanged}
}

// describe adds what else happened on the way.
func (r *Reconciler) describe(out *spec.Outcome, w written) {
	r.mu.Lock()
	note := w.e.obs.KilledNote(w.incarnation)
	r.mu.Unlock()
	if note != "" && w.incarnation != 0 {
		out.Note = strings.TrimPrefix(out.Note+"; "+note, "; ")
	}
	if w.child == nil {
		return
	}
	if out.Verb != spec.VerbStop {
		out.Prehook, out.Repeat = w.child.Prehook, w.child.Repeat
	}
	if out.Verb == spec.VerbStop && !w.wasDown() || out.Verb == spec.VerbTrystart && w.wasRunning {
		out.Posthook = w.child.Posthook
	}
}

// write checks a request and puts its desired state in force: in memory, then
// on disk, then in the queue.
func (r *Reconciler) write(ctx context.Context, q request) (written, error) {
	w, err := r.tryWrite(ctx, q)
	if err != nil {
		r.recordRefused(q, err)
	}
	return w, err
}

// tryWrite is write, without telling the history of a refusal.
func (r *Reconciler) tryWrite(ctx context.Context, q request) (written, error) {
	if !q.Verb.Changes() || q.Child == "" || spec.Reserved(q.Child) {
		return written{}, spec.Refuse(spec.BadRequest, q.Verb, q.Child, "cannot %s %q: not a child's name", q.Verb, q.Child)
	}
	if q.Verb != spec.VerbStop {
		if err := r.readFile(q); err != nil {
			return written{}, err
		}
	}
	w, desired, before, err := r.propose(q)
	if err != nil || w.generation == before.Generation {
		return w, err
	}
	// It is in force in memory: a caller who leaves now takes nothing back.
	ctx = context.WithoutCancel(ctx)
	if err := r.Store.SetDesired(ctx, map[string]spec.Desired{q.Child: desired}); err != nil {
		if err := r.notSaved(&w, q, before, err); err != nil {
			return written{}, err
		}
	}
	r.queue.Add(q.Child)
	return w, nil
}

// readFile reads the child's file afresh, checks it and its hooks, and makes it
// the child's configuration. A start of a child that runs is not told about
// its file.
func (r *Reconciler) readFile(q request) error {
	r.refreshSettings()
	found, changed := r.Catalogue.Fresh(q.Child)
	if changed {
		r.apply(found)
		r.queue.Add(q.Child)
	}
	if found.Child != nil && found.Err == nil && !found.Missing {
		r.apply(found)
	}
	return r.checkFile(q, found, r.freshChild)
}

// checkFile tells why a child cannot be started because of its file, or of its
// hooks, whose children lookup knows.
func (r *Reconciler) checkFile(q request, found spec.Entry, lookup func(string) (*spec.Child, bool)) error {
	if q.Verb == spec.VerbStart && r.isRunning(q.Child) {
		return alreadyRunning(q)
	}
	var ambiguous *spec.AmbiguousError
	switch {
	case found.Missing:
		return spec.Refuse(spec.NotFound, q.Verb, q.Child, "cannot %s %s: no file %s.yml or %s.yaml in the load paths",
			q.Verb, q.Child, q.Child, q.Child)
	case errors.As(found.Err, &ambiguous):
		return spec.Refuse(spec.Ambiguous, q.Verb, q.Child, "cannot %s %s: %v", q.Verb, q.Child, found.Err)
	case found.Err != nil:
		return spec.Refuse(spec.InvalidFile, q.Verb, q.Child, "%v", found.Err)
	}
	if err := spec.CheckHooks(q.Child, lookup); err != nil {
		return spec.Refuse(spec.BadHook, q.Verb, q.Child, "cannot %s %s: %v", q.Verb, q.Child, err)
	}
	return nil
}

// freshChild looks a child up for the check of the hooks.
func (r *Reconciler) freshChild(name string) (*spec.Child, bool) {
	found, changed := r.Catalogue.Fresh(name)
	if changed {
		r.apply(found)
		r.queue.Add(name)
	}
	return found.Child, found.Child != nil && !found.Missing
}

func (r *Reconciler) isRunning(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.children[name]
	return e != nil && e.desired.Run == spec.Running && (e.obs.Alive() || e.startPending())
}

// await waits until the loop has settled what was written, and tells how it
// came out.
func (r *Reconciler) await(ctx context.Context, w written, c spec.Command) (spec.Status, error) {
	want := spec.Running
	if c.Verb == spec.VerbStop {
		want = spec.Stopped
	}
	for {
		r.mu.Lock()
		status, desired, changed, removed := w.e.status, w.e.desired, w.e.onChange(), w.e.removed
		ending := r.ending
		r.mu.Unlock()
		f := status.Failure
		// A later request for the same may have been carried out in its stead.
		joined := f != nil && f.Generation > w.generation && want == spec.Running && !status.Alive()
		settled := status.ObservedGeneration >= w.generation || w.givesUp && isUnkillable(status)
		if f != nil && (f.Generation == w.generation || joined) && settled {
			refusal := spec.Refuse(f.Code, c.Verb, c.Child, "cannot %s %s: %s", c.Verb, c.Child, f.Message)
			refusal.WasRunning, refusal.LastLines = w.wasRunning, status.LastLines
			return status, refusal
		}
		switch {
		case ending && want == spec.Running:
			// What settles now settles without having been started.
			return status, spec.Refuse(spec.Unavailable, c.Verb, c.Child, "the server is ending")
		case removed:
			return status, nil
		case desired.Generation > w.generation && desired.Run != want:
			return status, superseded(c, desired)
		case status.ObservedGeneration >= w.generation:
			return status, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return status, ctx.Err()
		case <-r.ctx.Done():
			return status, spec.Refuse(spec.Unavailable, c.Verb, c.Child, "the server is ending")
		}
	}
}

// trigger carries out a repeat action. One that is refused because of a file or
// a hook is tried again after the same time: a run that should repeat must not
// end for good with a typing error.
func (r *Reconciler) trigger(name string, incarnation uint64, repeat plan.Repeat) {
	r.running.Go(func() {
		c := spec.Command{Verb: repeat.Action, Child: name, NoWait: true, By: "repeat", Cause: spec.CauseRepeat}
		_, err := r.write(r.ctx, request{Command: c, run: incarnation})
		if err == nil {
			r.Logger.Info("repeat", "child", name, "incarnation", incarnation, "action", repeat.Action)
			return
		}
		r.Logger.Warn("repeat action refused", "child", name, "action", repeat.Action, "err", err)
		var refusal *spec.Refusal
		if !errors.As(err, &refusal) {
			return
		}
		switch refusal.Code {
		case spec.NotFound, spec.Ambiguous, spec.InvalidFile, spec.BadHook, spec.Unavailable:
			repeat.At = time.Now().Add(repeat.Every.D())
			r.post(name, repeatFact{incarnation, repeat})
		}
	})
}

// superseded refuses c, whose child is to be something else by now. Who reads it may
// be on any host.
func superseded(c spec.Command, by spec.Desired) *spec.Refusal {
	return spec.Refuse(spec.Superseded, c.Verb, c.Child, "cannot %s %s: a later command changed it: %s by %s",
		c.Verb, c.Child, by.Run, spec.Who(by.By, "the host of the server"))
}
