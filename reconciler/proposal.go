package reconciler

import (
	"strings"
	"time"

	"kita/spec"
)

// propose puts a request's desired state in force in memory. before is what it
// replaced; a generation that is the same joins a request under way.
func (r *Reconciler) propose(q request) (w written, desired, before spec.Desired, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ending {
		return w, desired, before, spec.Refuse(spec.Unavailable, q.Verb, q.Child, "the server is ending")
	}
	e := r.children[q.Child]
	if e == nil {
		return w, desired, before, notRunning(q)
	}
	before = e.desired
	w = written{e: e, child: e.child, generation: before.Generation, wasRunning: e.active()}
	if e.obs.Process != nil {
		w.incarnation = e.obs.Incarnation
	}
	if changes, err := e.judge(q, &w); err != nil || !changes {
		return w, before, before, err
	}
	desired = e.next(q)
	if w.wasDown() {
		// Nothing is stopped that a posthook would follow.
		desired.Posthook = before.Posthook
	}
	w.generation = desired.Generation
	e.desired, e.asFile = desired, q.Verb != spec.VerbStop
	r.recordWritten(e.name, q.Verb, desired)
	r.touch(e)
	return w, desired, before, nil
}

// judge tells whether a request changes what is wanted of a child, or why it is
// refused; w is what is known of it so far. mu is held.
func (e *entry) judge(q request, w *written) (changes bool, err error) {
	before := e.desired
	if q.run != 0 && (e.obs.Incarnation != q.run || before.Run != spec.Running || e.startPending()) {
		return false, spec.Refuse(spec.Superseded, q.Verb, q.Child, "%s is another run by now", q.Child)
	}
	switch q.Verb {
	case spec.VerbStart:
		if before.Run == spec.Running && (e.obs.Alive() || e.startPending()) {
			return false, alreadyRunning(q)
		}
	case spec.VerbTrystart:
		switch {
		case !q.IfChanged:
		case q.ofAll && before.Run == spec.Stopped:
			// Who stopped it has not asked for this.
			w.leftStopped = true
			return false, nil
		case e.current():
			w.unchanged, w.incarnation = true, e.obs.Incarnation
			return false, nil
		case e.startPending() && e.asFile:
			// Somebody else has just asked for the same: wait for that.
			return false, nil
		}
	case spec.VerbRestart:
		if !w.wasRunning && q.run == 0 {
			refusal := notRunning(q)
			refusal.LastLines = e.status.LastLines
			return false, refusal
		}
	case spec.VerbStop:
		if before.Run != spec.Running && (e.obs.Process != nil || before.Posthook > e.obs.Posthooked) {
			return false, nil // it is being stopped: wait for that
		}
		if !e.stoppable() {
			if !q.LeaveDown || !e.hasFailed() {
				return false, notRunning(q)
			}
			w.note = noteDown
		}
	}
	return true, nil
}

// next is the desired state after a request. mu is held.
func (e *entry) next(q request) spec.Desired {
	d := e.desired
	// Facts may be newer than a desired state that was lost with its disk.
	d.Generation = max(d.Generation, e.obs.Settled) + 1
	d.Cause, d.By, d.At = q.Cause, q.By, time.Now()
	if d.Cause == "" {
		d.Cause = spec.CauseCommand
	}
	switch q.Verb {
	case spec.VerbStop:
		d.Run, d.Posthook = spec.Stopped, d.Generation
	case spec.VerbTrystart:
		if e.obs.Process != nil {
			d.Posthook = d.Generation
		}
		fallthrough
	default:
		d.Run = spec.Running
		d.RestartGeneration = max(d.RestartGeneration, e.obs.Attempted) + 1
	}
	return d
}

// noteDown begins the note of a stop of one that has failed.
const noteDown = "it was not running"

// wasDown: it had failed, and what was written is that it stays down.
func (w written) wasDown() bool { return strings.HasPrefix(w.note, noteDown) }

// startPending: a start was asked for and has not been attempted. mu is held.
func (e *entry) startPending() bool {
	return e.desired.Run == spec.Running && e.desired.RestartGeneration > e.obs.Attempted
}

// active: the child runs, is about to (its policy may be at its prehook or at
// the fork), or will again by its policy. mu is held.
func (e *entry) active() bool {
	waits := e.status.Phase == spec.PhaseBackOff || e.status.Phase == spec.PhaseStarting
	return e.desired.Run == spec.Running && (e.obs.Alive() || e.startPending() || waits)
}

// stoppable: something would happen without a stop, be it only the repeat of a
// run that has ended. mu is held.
func (e *entry) stoppable() bool {
	return e.active() || e.obs.Process != nil || e.desired.Run == spec.Running && e.obs.Repeat != nil
}

// hasFailed: it is wanted, and has ended for good. mu is held.
func (e *entry) hasFailed() bool {
	return e.desired.Run == spec.Running && e.obs.Process == nil && e.status.Phase == spec.PhaseFailed
}

// current: its process runs, and a new one would be the same; or it has done what it
// was started for, and would do that again. One that is still to be replaced is not
// meant. mu is held.
func (e *entry) current() bool {
	if e.desired.Run != spec.Running || e.startPending() || e.child == nil {
		return false
	}
	if !e.obs.Alive() {
		return e.obs.Done(e.child)
	}
	p := e.obs.Process
	return p.Stop == nil && p.Config != nil && !spec.Stale(p.Config, e.child)
}

func alreadyRunning(q request) error {
	return spec.Refuse(spec.AlreadyRunning, q.Verb, q.Child, "%s is already running", q.Child)
}

func notRunning(q request) *spec.Refusal {
	return spec.Refuse(spec.NotRunning, q.Verb, q.Child, "%s is not running", q.Child)
}
