package reconciler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"kita/spec"
)

// maxTold is how many refusals the answer to a command for all children has in
// words.
const maxTold = 20

// doAll carries out a command on every child that it is for: stop and restart
// on what runs, start on what does not, trystart on all. What all of them wish
// is written to the disk at once. One child that cannot be started holds up no
// other, and is told of in the end.
func (r *Reconciler) doAll(ctx context.Context, c spec.Command) (spec.Outcome, error) {
	out := spec.Outcome{Verb: c.Verb, Child: c.Child}
	if r.Ending() {
		return out, spec.Refuse(spec.Unavailable, c.Verb, c.Child, "the server is ending")
	}
	var wishes []wish
	var failed failures
	if c.Verb == spec.VerbStop {
		wishes = r.proposeStops(c)
	} else {
		wishes, out.LeftRunning, failed = r.proposeStarts(c)
	}
	if err := r.keep(ctx, c, wishes, &out); err != nil {
		return spec.Outcome{}, err
	}
	var all []written
	for _, w := range wishes {
		if w.leftStopped {
			out.LeftStopped = append(out.LeftStopped, w.e.name)
			continue
		}
		out.Children = append(out.Children, w.part())
		if !w.unchanged {
			all = append(all, w.written)
			r.queue.Add(w.e.name)
		}
	}
	out.Unchanged = c.IfChanged && len(all) == 0 && len(failed.texts) == 0
	if c.NoWait || len(all) == 0 {
		return out, failed.refuse(c)
	}
	return r.finishAll(ctx, c, all, failed, out)
}

// wish is what a command for all children makes of one of them.
type wish struct {
	written
	// desired and before are equal where there is nothing to be written.
	desired, before spec.Desired
}

func (w written) part() spec.Part {
	p := spec.Part{Child: w.e.name, Generation: w.generation, Unchanged: w.unchanged}
	if w.unchanged {
		p.Incarnation = w.incarnation
	}
	return p
}

// proposeStops puts in force, in memory, that nothing is to run. No posthook runs.
func (r *Reconciler) proposeStops(c spec.Command) (wishes []wish) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.sorted() {
		down := c.LeaveDown && e.hasFailed() && !e.stoppable()
		if !e.stoppable() && !down {
			continue
		}
		w := wish{before: e.desired}
		w.written = written{e: e, generation: e.desired.Generation, incarnation: e.obs.Incarnation, wasRunning: !down}
		if e.desired.Run == spec.Running {
			posthook := e.desired.Posthook
			e.desired = e.next(request{Command: c})
			e.desired.Posthook = posthook
			w.generation = e.desired.Generation
			r.recordWritten(e.name, c.Verb, e.desired)
			r.touch(e)
		}
		w.desired = e.desired
		wishes = append(wishes, w)
	}
	return wishes
}

// proposeStarts reads the load paths and puts in force, in memory, what start,
// restart or trystart wishes of each child. It returns also who runs on without a
// file, and why others are left out.
func (r *Reconciler) proposeStarts(c spec.Command) (wishes []wish, leftRunning []string, failed failures) {
	r.Refresh()
	r.mu.Lock()
	children := slices.Clone(r.sorted())
	r.mu.Unlock()
	for _, e := range children {
		q := request{Command: c, ofAll: true}
		q.Child = e.name
		w, err := r.proposeStart(q)
		var refusal *spec.Refusal
		isRefused := errors.As(err, &refusal)
		switch {
		case err == nil:
			wishes = append(wishes, w)
		case isRefused && (refusal.Code == spec.AlreadyRunning || refusal.Code == spec.NotRunning),
			isRefused && refusal.Code == spec.NotFound && !r.isActive(e.name):
			// The command is not for such a child.
		case isRefused && refusal.Code == spec.NotFound && !r.isAway(e):
			// It was taken from the configuration, which stops nothing, and the others
			// can be rolled out all the same.
			leftRunning = append(leftRunning, e.name)
			if !c.IfChanged {
				r.recordRefused(q, err)
			}
		default:
			failed.add(err)
			r.recordRefused(q, err)
		}
	}
	return wishes, leftRunning, failed
}

// isAway: the child's file may be there, and is out of reach.
func (r *Reconciler) isAway(e *entry) bool {
	r.mu.Lock()
	child := e.child
	r.mu.Unlock()
	return r.away(child)
}

// proposeStart is propose for a child whose file is good.
func (r *Reconciler) proposeStart(q request) (w wish, err error) {
	if q.Verb == spec.VerbRestart && !r.isActive(q.Child) {
		return w, notRunning(q)
	}
	if err := r.checkFile(q, r.Catalogue.Lookup(q.Child), r.Catalogue.Child); err != nil {
		return w, err
	}
	w.written, w.desired, w.before, err = r.propose(q)
	return w, err
}

func (r *Reconciler) isActive(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.children[name]
	return e != nil && e.active()
}

// keep writes what is wished to the disk. Where that cannot be, starts are taken
// back; stops stay in force, and are owed.
func (r *Reconciler) keep(ctx context.Context, c spec.Command, wishes []wish, out *spec.Outcome) error {
	changes := map[string]spec.Desired{}
	for _, w := range wishes {
		if w.desired != w.before {
			changes[w.e.name] = w.desired
		}
	}
	// It is in force in memory: a caller who leaves now takes nothing back.
	err := r.Store.SetDesired(context.WithoutCancel(ctx), changes)
	if err == nil {
		return nil
	}
	r.Logger.Error("cannot save desired states", "verb", c.Verb, "err", err)
	if c.Verb == spec.VerbStop {
		out.Note = unsavedNote(err)
		r.owe(changes)
		return nil
	}
	owed := map[string]spec.Desired{}
	r.mu.Lock()
	for _, w := range wishes {
		if w.desired != w.before {
			r.takeBack(w.written, w.before, owed)
		}
	}
	r.mu.Unlock()
	r.owe(owed)
	for name := range owed {
		r.queue.Add(name)
		q := request{Command: c}
		q.Child = name
		r.recordRefused(q, notKept(q, err))
	}
	return notKept(request{Command: c}, err)
}

// finishAll waits for the children of a command for all of them, which are sorted
// by name. failed are those that were left out, in words.
func (r *Reconciler) finishAll(ctx context.Context, c spec.Command, all []written, failed failures, out spec.Outcome) (spec.Outcome, error) {
	pending := spec.Pending{Command: c, Note: out.Note, Failed: failed.texts, FailedCode: failed.code,
		Parts: out.Children, LeftStopped: out.LeftStopped, LeftRunning: out.LeftRunning, All: []spec.Pending{}}
	for _, w := range all {
		one := c
		one.Child = w.e.name
		pending.All = append(pending.All, w.pending(one))
	}
	err := r.awaitAll(ctx, c, all, failed, &out)
	return out, orPending(ctx, err, pending)
}

func (r *Reconciler) awaitAll(ctx context.Context, c spec.Command, all []written, failed failures, out *spec.Outcome) error {
	for _, w := range all {
		one := c
		one.Child = w.e.name
		_, err := r.await(ctx, w, one)
		var refusal *spec.Refusal
		switch {
		case errors.As(err, &refusal):
			failed.add(refusal)
		case err != nil:
			return err
		}
		r.mu.Lock()
		note := w.e.obs.KilledNote(w.incarnation)
		r.mu.Unlock()
		if note != "" && w.incarnation != 0 {
			out.Note = strings.TrimPrefix(out.Note+"; "+w.e.name+": "+note, "; ")
		}
	}
	return failed.refuse(c)
}

// failures are why a command for all children failed for some.
type failures struct {
	texts []string
	// code is that of the worst.
	code spec.Code
}

func (f *failures) add(err error) {
	code := spec.CannotStart
	var refusal *spec.Refusal
	if errors.As(err, &refusal) {
		code = refusal.Code
	}
	if len(f.texts) > 0 {
		code = spec.Worse(f.code, code)
	}
	f.texts, f.code = append(f.texts, err.Error()), code
}

// refuse is the error of the command, a child's after the other's as lines of its own;
// nil where it failed for none.
func (f failures) refuse(c spec.Command) error {
	if len(f.texts) == 0 {
		return nil
	}
	code := f.code
	switch {
	case c.Verb == spec.VerbStop:
		code = spec.NotStopped
	case code == "":
		// As a former version has handed them over that differ.
		code = spec.CannotStart
	}
	text := strings.Join(f.texts[:min(len(f.texts), maxTold)], "\n")
	if more := len(f.texts) - maxTold; more > 0 {
		text += fmt.Sprintf("\nand %d more", more)
	}
	return spec.Refuse(code, c.Verb, c.Child, "%s", text)
}
