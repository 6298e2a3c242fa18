package plan

import (
	"reflect"
	"testing"
	"time"

	"kita/spec"
)

// world is what surrounds the planner: the processes, the hooks, the clock, and
// the facts on their way.
type world struct {
	t       testing.TB
	child   spec.Child // the file's configuration; edits replace it
	file    *spec.Child
	gone    bool
	desired spec.Desired
	o       Observed
	now     time.Time

	// alive are the live leaders by incarnation, members the others of their
	// groups; stubborn groups end by SIGKILL only.
	alive    map[uint64]bool
	members  map[uint64]int
	stubborn bool
	// unkillable: SIGKILL does not work either, as in state D.
	unkillable bool
	failLaunch bool
	// refuse: the command of a repeat action is refused.
	refuse    bool
	hook      *HookRun
	cancelled bool
	// facts are on their way; old ones have been delivered and may be again.
	facts, old []fact
	observed   uint64
	// log is formatted only when an invariant breaks.
	log []traced
}

type traced struct {
	format string
	args   []any
}

// fact is something the reconciler would find in a mailbox.
type fact struct {
	exit   *spec.Exit
	empty  bool
	inc    uint64
	hook   *HookRun
	failed string
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, now: epoch, child: *newChild(), alive: map[uint64]bool{}, members: map[uint64]int{}}
	w.edit(func(*spec.Child) {})
	return w
}

// edit writes the child's file anew.
func (w *world) edit(change func(*spec.Child)) {
	c := w.child
	change(&c)
	w.child = c
	w.file, w.gone = &c, false
}

func (w *world) trace(format string, args ...any) {
	w.log = append(w.log, traced{format, args})
}

// step lets one thing happen in the world.
func (w *world) step(b byte) {
	switch b {
	case 'R', 'S', 'T', 's', 'V':
		w.command(b)
	case 'e', 'x', 'm', 'l', 'i', 'u':
		w.processes(b)
	case 'h', 'j':
		w.endHook(b == 'j')
	case '.':
		w.deliver()
	case 'd':
		w.deliverLater()
	case 'D':
		w.deliverAgain()
	case 'w', 'W', 'J', 'B', 'F':
		w.clock(b)
	case 'r':
		w.refuse = !w.refuse
	case 'f':
		w.failLaunch = !w.failLaunch
	case 'Z':
		w.newServer()
	default:
		w.config(b)
	}
}

// command writes desired state as the verbs do.
func (w *world) command(b byte) {
	d := &w.desired
	d.Generation++
	switch b {
	case 'R':
		d.Run = spec.Running
		d.RestartGeneration++
	case 'S':
		d.Run, d.Posthook = spec.Stopped, d.Generation
	case 's':
		d.Run = spec.Stopped
	case 'V': // kill, the command: no wish is left
		d.Run = ""
	case 'T':
		if w.o.Process != nil {
			d.Posthook = d.Generation
		}
		d.Run = spec.Running
		d.RestartGeneration++
	}
}

// processes lets the latest run end, wholly or in part.
func (w *world) processes(b byte) {
	inc := w.o.Incarnation
	switch b {
	case 'e':
		if w.alive[inc] {
			w.members[inc] = 0
		}
		w.end(inc, 1)
	case 'x':
		w.end(inc, 0)
	case 'm':
		w.emptyGroup(inc)
	case 'l':
		if w.alive[inc] {
			w.members[inc]++
		}
	case 'i':
		w.stubborn = !w.stubborn
	case 'u':
		w.unkillable = !w.unkillable
	}
}

func (w *world) end(inc uint64, code int) {
	if !w.alive[inc] {
		return
	}
	delete(w.alive, inc)
	w.facts = append(w.facts, fact{exit: ref(exitOf(inc, code, w.now)), empty: w.members[inc] == 0, inc: inc})
}

func (w *world) emptyGroup(inc uint64) {
	if w.members[inc] == 0 {
		return
	}
	w.members[inc] = 0
	if !w.alive[inc] {
		w.facts = append(w.facts, fact{inc: inc})
	}
}

func (w *world) endHook(failed bool) {
	if w.hook == nil {
		return
	}
	f := fact{hook: w.hook}
	switch {
	case w.cancelled:
		f.failed = "cancelled"
	case failed:
		f.failed = "db has no file"
	}
	w.hook = nil
	w.facts = append(w.facts, f)
}

// deliver puts the oldest fact into the child's mailbox.
func (w *world) deliver() {
	if len(w.facts) == 0 {
		return
	}
	f := w.facts[0]
	w.facts = w.facts[1:]
	if !w.fold(f) {
		w.fail("a fact of the current run was dropped: %+v", f)
	}
	w.old = append(w.old, f)
}

// deliverLater moves the oldest fact behind the others, where the order of
// their sources allows it: an exit comes before the end of its group.
func (w *world) deliverLater() {
	if len(w.facts) < 2 || w.facts[0].hook == nil {
		return
	}
	w.facts = append(w.facts[1:], w.facts[0])
}

// deliverAgain repeats every fact that was taken: nothing may change.
func (w *world) deliverAgain() {
	for _, f := range w.old {
		if f.hook != nil && w.o.Hook != nil && f.hook.Kind == w.o.Hook.Kind && f.hook.For == w.o.Hook.For {
			continue // the same hook for the same start again: told apart by its sender
		}
		before := deepCopy(&w.o)
		if w.fold(f) {
			w.fail("an old fact was taken again: %+v", f)
		}
		if !reflect.DeepEqual(w.o, before) {
			w.fail("an old fact changed something in %+v", before)
		}
	}
}

func (w *world) fold(f fact) bool {
	w.trace("fact %+v", f)
	switch {
	case f.hook != nil:
		return w.o.HookDone(f.hook.Kind, f.hook.For, f.failed, w.desired, 0.5, w.now)
	case f.exit != nil:
		return w.o.Exited(*f.exit, f.empty, 0.5)
	}
	return w.o.Emptied(f.inc)
}

func (w *world) clock(b byte) {
	switch b {
	case 'w': // the deadline passes
		if p := w.plan(); p.WakeAt.After(w.now) {
			w.now = p.WakeAt
		}
	case 'W': // a pass that nobody asked for
		w.now = w.now.Add(37 * ms)
	case 'J':
		w.now = w.now.Add(hour)
	case 'B':
		w.now = w.now.Add(-hour)
	case 'F':
		w.now = w.now.Add(-year)
	}
}

// newServer loses what is only in memory: hooks and facts in the mailbox. It
// adopts, so it finds out what became of the process.
func (w *world) newServer() {
	w.o, w.hook = reload(w.t, w.o), nil
	w.facts, w.old = nil, nil
	if p := w.o.Process; p != nil {
		p.Adopted = true
		inc := w.o.Incarnation
		if p.Exit == nil && !w.alive[inc] {
			w.facts = append(w.facts, fact{exit: &spec.Exit{Incarnation: inc, At: w.now}, empty: w.members[inc] == 0, inc: inc})
		} else if p.Exit != nil && w.members[inc] == 0 {
			w.facts = append(w.facts, fact{inc: inc})
		}
	}
}

// config edits the child's file; most bytes land here, the seeds use N prehook,
// O posthook, C always, Q on-failure, E never, "," and 9 start limits, G, H, I
// repeats, q and K grace periods, L deleted, M unknown.
func (w *world) config(b byte) {
	switch b % 13 {
	case 0:
		w.edit(func(c *spec.Child) { c.Prehook = toggle(c.Prehook, startDB) })
	case 1:
		w.edit(func(c *spec.Child) { c.Posthook = toggle(c.Posthook, stopProxy) })
	case 2:
		w.edit(policy(spec.Always))
	case 3:
		w.edit(policy(spec.OnFailure))
	case 4:
		w.edit(policy(spec.Never))
	case 5:
		w.edit(limit(int(b>>4), time.Minute))
	case 6:
		w.edit(repeats(spec.VerbRestart, 5*second))
	case 7:
		w.edit(repeats(spec.VerbStop, time.Minute))
	case 8:
		w.edit(func(c *spec.Child) { c.Repeat = nil })
	case 9:
		w.edit(grace(0))
	case 10:
		w.edit(grace(3 * second))
	case 11: // the file is deleted; its last good version stays known
		w.gone = true
	case 12: // a server that never saw a good version
		w.file = nil
	}
}

func toggle[T any](p *T, v T) *T {
	if p != nil {
		return nil
	}
	return &v
}
