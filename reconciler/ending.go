package reconciler

import (
	"fmt"
	"slices"

	"kita/reconciler/plan"
	"kita/spec"
)

// Kill stops every child and then closes Ended. A child that cannot be stopped
// does not hold that up for ever, see Unstopped. Desired state is not changed, but
// noted as a session that was ended: the next server goes by its startup
// mode. It returns at once.
func (r *Reconciler) Kill(by string) {
	r.mu.Lock()
	all, first := r.beginEnd()
	r.mu.Unlock()
	if first {
		r.end(by, all)
	}
}

// ExitStatus is what the server is to exit with once Ended is closed: 0, or what
// the end of the child that exit_with names asks for; 1 in place of 0 when a child
// could not be stopped.
func (r *Reconciler) ExitStatus() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.exitStatus
}

// Unstopped are the children of which something lived on when Ended was closed,
// or may have, sorted. The next server goes on stopping them.
func (r *Reconciler) Unstopped() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.unstopped)
}

// beginEnd makes every pass from now on stop its child. It returns all of them;
// false when that has been done before. mu is held.
func (r *Reconciler) beginEnd() (all []*entry, first bool) {
	if r.ending {
		return nil, false
	}
	r.ending = true
	for _, e := range r.children {
		all = append(all, e)
		e.wasAlive = e.obs.Process != nil
	}
	for _, cancel := range r.hooks {
		cancel()
	}
	return all, true
}

// end closes Ended once nothing of all is alive, or nothing more can be done.
func (r *Reconciler) end(by string, all []*entry) {
	r.record(spec.Event{Type: spec.EventServer, Server: spec.ServerEnds, By: by, Message: "ends, all children are stopped first"})
	r.Logger.Info("ending: all children are stopped", "by", by)
	if err := r.Store.MarkEnded(); err != nil {
		r.Logger.Error("cannot save that the session was ended", "err", err)
		r.oweThis(func(d *debts) { d.ended = true })
	}
	for _, e := range all {
		r.queue.Add(e.name)
	}
	r.running.Go(func() {
		for _, e := range all {
			if !r.awaitEnd(e) {
				return
			}
		}
		r.tellUnstopped(all)
		close(r.ended)
	})
}

// tellUnstopped says what is left of which children. Their facts stay, with how far
// their stop has come.
func (r *Reconciler) tellUnstopped(all []*entry) {
	var names []string
	for _, e := range all {
		r.mu.Lock()
		incarnation, reason := e.obs.Incarnation, e.status.Reason
		var pids []int
		if e.obs.Strays != nil {
			pids = e.obs.Strays.PIDs
		}
		// What was left by a stop before that has been told then.
		isPending, isLeft := e.obs.Process != nil, isUnkillable(e.status) && e.wasAlive
		r.mu.Unlock()
		switch {
		case isPending:
			pids = r.runtime.Survivors(e.name, incarnation)
		case !isLeft:
			continue
		}
		names = append(names, e.name)
		r.Logger.Error("a child is not stopped, the server ends all the same",
			"child", e.name, "incarnation", incarnation, "reason", reason, "pids", pids)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unstopped = slices.Sorted(slices.Values(names))
	if len(names) > 0 && r.exitStatus == 0 {
		r.exitStatus = notStopped
	}
}

// awaitEnd waits until nothing of a child is alive, or nothing more can be done
// about it.
func (r *Reconciler) awaitEnd(e *entry) bool {
	for {
		r.mu.Lock()
		done, changed := e.atRest || e.removed, e.onChange()
		r.mu.Unlock()
		if done {
			return true
		}
		select {
		case <-changed:
		case <-r.ctx.Done():
			return false
		}
	}
}

// rest notes, while the server ends, that a child is dead and stays so, or that
// it cannot be killed. mu is held.
func (r *Reconciler) rest(e *entry, s spec.Status, idle bool) {
	if r.ending && !e.atRest && (idle && e.obs.Process == nil || isUnkillable(s)) {
		e.atRest = true
		r.touch(e)
	}
}

// isUnkillable tells whether something outlived, or may have, all that can be done
// to stop a child.
func isUnkillable(s spec.Status) bool { return s.Failure != nil && s.Failure.Code == spec.NotStopped }

// endWith ends the server when the child that exit_with names has ended by
// itself and nothing will start it again. Each pass asks, with what it decided.
// mu is held.
func (r *Reconciler) endWith(e *entry, p plan.Plan) {
	if e.name != r.exitWith || e.desired.Run != spec.Running || e.obs.Process != nil || e.obs.Hook != nil || e.obs.End == nil {
		return
	}
	_, forget := p.Action.(plan.Forget)
	switch s := p.Status; {
	case forget && r.away(e.child):
		// Its file may come back, and with it the restart policy.
		return
	case !forget && (p.Action != nil || s.NextStart != nil || s.RepeatAt != nil):
		return
	case !forget && s.Phase != spec.PhaseExited && s.Phase != spec.PhaseFailed:
		return
	}
	all, first := r.beginEnd()
	if !first {
		return
	}
	r.exitStatus = exitStatus(&e.obs)
	r.Logger.Info("the child of exit_with has ended, the server ends with its status", "child", e.name, "status", r.exitStatus)
	// Beside the pass, as it writes to the disk.
	r.running.Go(func() { r.end("exit_with "+e.name, all) })
}

// notStopped is the exit status where a child could not be stopped.
const notStopped = 1

// exitStatus is how a shell would put the end of a child in a number (POSIX,
// Shell Command Language, 2.8.2).
func exitStatus(o *plan.Observed) int {
	const (
		unknown     = 1
		notLaunched = 127
		signalled   = 128
	)
	switch exit := o.LastExit; {
	case o.End.LaunchError != "":
		return notLaunched
	case exit == nil || !exit.Known:
		return unknown
	case exit.Signal != 0:
		return signalled + int(exit.Signal)
	default:
		return exit.Code
	}
}

// exitWithProblem says that the child of exit_with has no file, so that its end
// is not to be expected.
func (r *Reconciler) exitWithProblem() []string {
	if r.exitWith == "" || !r.Catalogue.Lookup(r.exitWith).Missing {
		return nil
	}
	return []string{fmt.Sprintf("exit_with: no file %s.yml or %s.yaml in the load paths", r.exitWith, r.exitWith)}
}
