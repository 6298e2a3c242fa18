package plan

import (
	"reflect"

	"kita/spec"
)

// do carries out an action as the reconciler and the runtime would, and checks
// that it is aimed at the right process.
func (w *world) do(a Action) {
	w.t.Helper()
	switch a := a.(type) {
	case Start:
		w.start(a)
	case Signal:
		w.aimed(a, a.Incarnation)
		if !w.stubborn {
			w.killGroup(a.Incarnation)
		}
		w.o.Signalled(w.stop().Grace.D(), w.now)
	case Kill:
		w.aimed(a, a.Incarnation)
		met := []int{1000 + int(a.Incarnation)}
		if !w.unkillable {
			w.killGroup(a.Incarnation)
		}
		w.o.KillSent(met, w.now)
	case RunHook:
		if w.hook != nil || w.o.Hook != nil {
			w.fail("%v while another hook runs", a)
		}
		if a.Kind == Posthook && (len(w.alive) > 0 || w.members[w.o.Incarnation] > 0) {
			w.fail("%v while something of the child is alive", a)
		}
		h := HookRun{Kind: a.Kind, Hook: a.Hook, For: a.For, Deadline: w.now.Add(HookTimeout)}
		w.hook, w.cancelled = &h, false
		w.o.HookStarted(h)
	case CancelHook:
		if w.o.Hook == nil || w.o.Hook.Kind != a.Kind || w.o.Hook.Cancelled {
			w.fail("%v: no such hook to cancel", a)
		}
		w.cancelled = true
		w.o.HookCancelled()
	case SkipPosthook:
		w.o.PosthookSkipped(a.Generation)
	case Trigger:
		if a.Incarnation != w.o.Incarnation || w.desired.Run != spec.Running {
			w.fail("%v for a run that is history", a)
		}
		w.trigger(a)
	case Forget:
		if len(w.alive) > 0 || w.o.Process != nil || !w.gone {
			w.fail("forgets a child that is there")
		}
		// Its file comes back as another child of the same name, none before.
		w.o, w.desired, w.observed = Observed{}, spec.Desired{}, 0
		w.facts, w.old, w.hook = nil, nil, nil
		w.alive, w.members = map[uint64]bool{}, map[uint64]int{}
		w.edit(func(*spec.Child) {})
	}
}

// aimed fails unless inc is the run that is left.
func (w *world) aimed(a Action, inc uint64) {
	w.t.Helper()
	if w.o.Process == nil || inc != w.o.Incarnation || inc != w.o.Process.Identity.Incarnation {
		w.fail("%v, and the live run is #%d", a, w.o.Incarnation)
	}
}

func (w *world) start(a Start) {
	w.t.Helper()
	if len(w.alive) > 0 || w.members[w.o.Incarnation] > 0 {
		w.fail("%v while #%d is alive", a, w.o.Incarnation)
	}
	if a.Incarnation != w.o.Incarnation+1 {
		w.fail("%v after #%d", a, w.o.Incarnation)
	}
	if w.desired.Run != spec.Running {
		w.fail("%v and nobody wants it", a)
	}
	if w.desired.Posthook > w.o.Posthooked {
		w.fail("%v before the posthook that is owed", a)
	}
	if w.file.Prehook != nil && w.o.Prehooked != (Ticket{Incarnation: a.Incarnation, Generation: w.desired.Generation}) {
		w.fail("%v without its prehook", a)
	}
	if w.failLaunch {
		w.o.LaunchFailed("no such file", w.file, w.desired, 0.5, w.now)
		return
	}
	w.alive[a.Incarnation] = true
	w.o.Launched(launch(a.Incarnation), w.file, w.desired, w.now)
}

// killGroup ends every process of a group.
func (w *world) killGroup(inc uint64) {
	if w.alive[inc] {
		w.members[inc] = 0
		w.end(inc, 0)
		return
	}
	w.emptyGroup(inc)
}

// stop is how the child is stopped now.
func (w *world) stop() spec.Stop {
	if w.file != nil {
		return w.file.Stop
	}
	return w.o.Process.Config.Stop
}

// trigger writes desired state for a repeat action, as the reconciler does.
func (w *world) trigger(a Trigger) {
	taken := *w.o.Repeat
	w.o.RepeatTaken()
	if w.refuse {
		taken.At = w.now.Add(5 * second)
		if w.o.RepeatAgain(taken, a.Incarnation+1) || w.o.RepeatAgain(taken, a.Incarnation-1) {
			w.fail("the repeat of another run was armed again")
		}
		if !w.o.RepeatAgain(taken, a.Incarnation) || w.o.RepeatAgain(taken, a.Incarnation) {
			w.fail("a refused repeat is armed again once")
		}
		return
	}
	switch a.Verb {
	case spec.VerbStop:
		w.command('S')
	case spec.VerbRestart:
		w.command('R')
	default:
		w.fail("%v was never configured", a)
	}
}

// finish wants the child stopped and lets the world take its course: every fact
// arrives, every deadline passes, SIGKILL works. Nothing may be left alive, and
// the stop must be settled.
func (w *world) finish() {
	w.t.Helper()
	w.trace("finish")
	w.unkillable = false
	w.step('S')
	for range 60 {
		w.passes()
		for len(w.facts) > 0 {
			w.deliver()
			w.passes()
		}
		if w.hook != nil {
			w.endHook(false)
			continue
		}
		p := w.plan()
		done := p.Action == nil && p.Status.ObservedGeneration == w.desired.Generation
		if done && len(w.alive) == 0 && w.o.Process == nil && w.members[w.o.Incarnation] == 0 {
			w.checkStill()
			return
		}
		w.clock('w')
	}
	w.fail("the child does not converge to stopped")
}

// checkStill passes deadlines and repeats facts on a stopped child: nothing may
// happen.
func (w *world) checkStill() {
	w.t.Helper()
	w.deliverAgain()
	before := deepCopy(&w.o)
	for _, later := range []byte{'W', 'J', 'F'} {
		w.clock(later)
		p := w.plan()
		if _, forget := p.Action.(Forget); p.Action != nil && !forget {
			w.fail("%v on a stopped child", p.Action)
		}
		if !p.WakeAt.IsZero() {
			w.fail("a stopped child wakes at %v", p.WakeAt)
		}
	}
	if !reflect.DeepEqual(w.o, before) {
		w.fail("a stopped child changed, it was %+v", before)
	}
}
