package reconciler

import (
	"errors"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"kita/reconciler/plan"
	"kita/spec"
)

// This file says what becomes an event of the history, and when: all but the place
// where each is recorded. Events are recorded where they are decided, most of them
// with mu held, so that their order is that of causes: a command comes before the
// start that it brings about.

// History takes down what happens. Its methods must not block.
type History interface {
	Add(events ...spec.Event)
	// AddOnce is Add for what a former server may have taken down already.
	AddOnce(e spec.Event)
}

// noHistory forgets.
type noHistory struct{}

func (noHistory) Add(...spec.Event)  {}
func (noHistory) AddOnce(spec.Event) {}

// refusals are those of each child since its last other event. Whoever asks again
// and again for what is refused must not push out the rest.
type refusals struct {
	mu    sync.Mutex
	seed  maphash.Seed
	known map[string][]uint64 // guarded by mu, what they were, by child
}

// maxRefusals is how many different ones of a child are recorded in a row.
const maxRefusals = 4

func newRefusals() refusals { return refusals{seed: maphash.MakeSeed(), known: map[string][]uint64{}} }

// isNews tells whether a refusal is to be recorded.
func (r *refusals) isNews(e spec.Event) bool {
	what := maphash.Comparable(r.seed, [3]string{string(e.Verb), e.By, string(e.Code)})
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.known[e.Child]
	if len(known) >= maxRefusals || slices.Contains(known, what) {
		return false
	}
	r.known[e.Child] = append(known, what)
	return true
}

// another event of the child has come.
func (r *refusals) another(child string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, child)
}

func (r *Reconciler) record(e spec.Event) {
	r.refusals.another(e.Child)
	r.History.Add(e)
}

// recordLearned is record for what happened before this server began.
func (r *Reconciler) recordLearned(e spec.Event) {
	r.refusals.another(e.Child)
	r.History.AddOnce(e)
}

// recordWritten is for a desired state that has been put in force.
func (r *Reconciler) recordWritten(child string, verb spec.Verb, d spec.Desired) {
	r.record(spec.Event{Child: child, Type: spec.EventCommand, Verb: verb, By: d.By, Cause: d.Cause, Generation: d.Generation})
}

// recordRefused is for a command that was refused before anything was done. What a
// hook finds done already is no refusal to anybody, nor is a repeat of a run that is
// over.
func (r *Reconciler) recordRefused(q request, err error) {
	var refusal *spec.Refusal
	if !errors.As(err, &refusal) || !r.exists(q.Child) {
		return
	}
	cause := q.Cause
	if cause == "" {
		cause = spec.CauseCommand
	}
	switch refusal.Code {
	case spec.AlreadyRunning, spec.NotRunning:
		if cause == spec.CauseHook {
			return
		}
	case spec.Superseded:
		if cause == spec.CauseRepeat {
			return
		}
	default:
	}
	e := spec.Event{Child: q.Child, Type: spec.EventRefused, Verb: q.Verb, By: q.By, Cause: cause, Code: refusal.Code, Message: refusal.Message}
	if r.refusals.isNews(e) {
		r.History.Add(e)
	}
}

func (r *Reconciler) exists(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.children[name] != nil
}

// past is what an event tells of a child that its next fact may take away.
type past struct {
	pid     int
	started time.Time
	asked   bool
	end     *plan.End
	hook    *plan.HookRun
}

func (e *entry) past() past {
	was := past{end: e.obs.End, hook: e.obs.Hook}
	if p := e.obs.Process; p != nil {
		was.pid, was.started, was.asked = p.Identity.PID, p.StartedAt, p.Stop != nil
	}
	return was
}

// recordFact is for a fact that was folded. mu is held.
func (r *Reconciler) recordFact(e *entry, f fact, was past, d spec.Desired) {
	switch f := f.(type) {
	case exitedFact:
		r.record(e.exited(f.exit, was))
	case wroteFact:
		if lines := e.failedLines(f.last.Incarnation); lines != nil {
			r.record(spec.Event{Child: e.name, Type: spec.EventOutput, Incarnation: f.last.Incarnation, LastLines: lines})
		}
	case hookFact:
		r.recordHook(e, f, was, d)
	}
}

// exited is the event of the end of a leader, which has been folded.
func (e *entry) exited(exit spec.Exit, was past) spec.Event {
	event := spec.Event{
		Child: e.name, Type: spec.EventExited, At: exit.At, Incarnation: exit.Incarnation, PID: was.pid, Exit: &exit,
		Success: e.child != nil && e.child.Restart.IsSuccess(exit), Asked: was.asked, LastLines: e.failedLines(exit.Incarnation),
	}
	if !was.started.IsZero() {
		// It has lived, however short that was.
		event.Ran = spec.Duration(max(time.Millisecond, exit.At.Sub(was.started).Round(time.Millisecond)))
	}
	return event
}

// failedLines are the last lines of a run, where it is the latest, has ended by
// itself and was no success.
func (e *entry) failedLines(incarnation uint64) []string {
	o := &e.obs
	l, exit := o.LastLines, o.LastExit
	switch {
	case l == nil || exit == nil || exit.Incarnation != incarnation || l.Incarnation != incarnation,
		o.End == nil || o.End.Asked || o.End.LaunchError != "",
		e.child != nil && e.child.Restart.IsSuccess(*exit):
		return nil
	}
	return l.Lines
}

func (r *Reconciler) recordHook(e *entry, f hookFact, was past, d spec.Desired) {
	event := spec.Event{Child: e.name, Type: spec.EventHook, Generation: f.ticket.Generation, Message: f.message}
	if was.hook != nil {
		event.Hook = string(f.kind) + " " + was.hook.Hook.String()
	}
	r.record(event)
	if f.kind == plan.Prehook && f.message != "" && e.obs.End != was.end {
		// It has counted as an attempt.
		r.record(e.cannotStart(f.message, d))
	}
}

func (e *entry) cannotStart(message string, d spec.Desired) spec.Event {
	return spec.Event{Child: e.name, Type: spec.EventCannotStart, Generation: d.Generation, Attempt: e.obs.Failures, Message: message}
}

// recordStatus is for what a decision means to people: the wait for the next start,
// or that there is none. before is what was shown. mu is held.
func (r *Reconciler) recordStatus(e *entry, before, after spec.Status) {
	switch after.Phase {
	case spec.PhaseBackOff:
		if after.NextStart == nil || before.Phase == spec.PhaseBackOff && before.NextStart != nil && before.NextStart.Equal(*after.NextStart) {
			return
		}
		next := after.NextStart.UTC()
		r.record(spec.Event{Child: e.name, Type: spec.EventBackOff, Attempt: e.obs.Failures, Next: &next, Message: after.Reason})
	case spec.PhaseFailed:
		// Its policy would start it, so its limit is in the way.
		if before.Phase != spec.PhaseFailed && e.child != nil && e.child.Restart.Policy != spec.Never {
			r.record(spec.Event{Child: e.name, Type: spec.EventGaveUp, Attempt: e.obs.Failures, Message: after.Reason})
		}
	default:
	}
}

// recordStart is for a launch that has made a process.
func (r *Reconciler) recordStart(s *step, incarnation uint64, l spec.Launch, cause spec.Cause) {
	e := spec.Event{Child: s.e.name, Type: spec.EventStarted, Incarnation: incarnation, PID: l.Identity.PID, Cause: cause, Hash: s.child.Hash}
	if cause != spec.CausePolicy {
		e.Generation, e.By = s.desired.Generation, s.desired.By
	}
	r.record(e)
}

// recordLaunchFailed is for one that has not.
func (r *Reconciler) recordLaunchFailed(s *step, message string) {
	r.record(spec.Event{Child: s.e.name, Type: spec.EventCannotStart, Generation: s.desired.Generation, Attempt: s.obs.Failures, Message: message})
}

// recordStopping is for a group that was asked to end, at a time before it did.
func (r *Reconciler) recordStopping(s *step, a plan.Signal, at time.Time) {
	e := spec.Event{Child: s.e.name, Type: spec.EventStopping, At: at, Incarnation: a.Incarnation, PID: s.obs.Process.Identity.PID, Signal: a.Signal}
	if stop := s.obs.Process.Stop; stop != nil {
		kill := stop.KillAt.UTC()
		e.Next = &kill
	}
	switch {
	case s.obs.Process.Exit != nil:
		e.Message = "its leader has ended, what is left of its group is stopped"
	case r.Ending():
		e.Message = "the server stops all children"
	default:
		e.Generation, e.By, e.Cause = s.desired.Generation, s.desired.By, s.desired.Cause
	}
	r.record(e)
}

// recordKilled is for the first SIGKILL of a stop.
func (r *Reconciler) recordKilled(s *step, a plan.Kill, at time.Time) {
	e := spec.Event{Child: s.e.name, Type: spec.EventKilled, At: at, Incarnation: a.Incarnation, PID: s.obs.Process.Identity.PID, Signal: spec.Signal(unix.SIGKILL)}
	if s.obs.Killed != nil && s.obs.Killed.Incarnation == a.Incarnation {
		e.PIDs = s.obs.Killed.PIDs
	}
	r.record(e)
}

// fileState is what of a child's file an event would tell a change of.
type fileState struct {
	gone bool
	err  string
	hash string
}

func (e *entry) fileState() fileState {
	f := fileState{gone: e.gone}
	if e.fileErr != nil {
		f.err = e.fileErr.Error()
	}
	if e.child != nil {
		f.hash = e.child.Hash
	}
	return f
}

// recordFile is for a file that was looked at. mu is held.
func (r *Reconciler) recordFile(e *entry, before fileState) {
	if r.begun && before != e.fileState() {
		r.fileChanged()
		r.recordChange(e, before, false)
	}
}

// recordChange tells what a file has become. down: while no server lived. mu is held.
func (r *Reconciler) recordChange(e *entry, before fileState, down bool) {
	after := e.fileState()
	event := spec.Event{Child: e.name, Type: spec.EventConfig, Hash: after.hash, Down: down}
	switch {
	case before == after:
		return
	case after.gone:
		if before.gone {
			return
		}
		event.Config, event.Hash = spec.ConfigGone, ""
	case after.err != "":
		if before.err == after.err && !before.gone {
			return
		}
		event.Config, event.Message, event.Hash = spec.ConfigBroken, after.err, ""
	case before.gone:
		event.Config = spec.ConfigNew
	case before.err != "":
		event.Config = spec.ConfigMended
	default:
		event.Config = spec.ConfigChanged
	}
	r.record(event)
}
