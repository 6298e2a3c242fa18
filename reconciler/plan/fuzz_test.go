package plan

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"kita/spec"
)

// FuzzPlan drives one child through a simulated world. Each byte is a step of
// the world (a command, an end, a fact delivered late or twice, a new server,
// a jump of the clock) and is followed by passes until there is nothing to do.
// The invariants of the package are checked at every step, and at the end the
// child must settle as stopped.
func FuzzPlan(f *testing.F) {
	for _, story := range []string{
		"RS.", "Re.R", "RDS.De.", "RVS.", "Rx.Ds.", // commands and old facts
		"NR.h.RhS.h.", "NRS.h.", "NRj.wh.", "NRJ.h.", "NRh.Rj.", "NRh.Re.h.", // prehooks
		"NOR.h.T.h..h.h.S.h.", "ORS.R.h.", "OR.T.j.S.J.h.", "ORS.Zh.", // posthooks
		"CRe.wRe.e.w.e.w.e.w", "CRlx.w.m.we.", "QRe.wx.wR", "C,Re.we.we.wwR.e.", "CfRwwfwe.w", "CNfRh.wh.fwh.", // policies
		"GRwwe.wwS.", "GRx.wwx.ww", "HRwwww", "GRfwwwfR", "GrRwwrww", "CGRe.we.wwRw", // repeats
		"iRSwwww.", "iuRSwwwwwuw.", "qRlS.", "KiRlx.wwww", "RlxSw.", // stops
		"RLe.R", "RLS.", "MRS.R", "RMTe.", "NRMh.", // files
		"CRe.BwFwe.wJw", "KiRSFww.", "GRFwBw", "C9Re.we.Fwe.we.we.", // clocks
		"RZe.", "ReZ.", "RlxZ.Zm.", "NRZh.", "iRSZw.", "CRe.Zww", // new servers
	} {
		f.Add([]byte(story))
	}
	f.Fuzz(func(t *testing.T, story []byte) {
		if len(story) > 400 {
			t.Skip("long stories find nothing that short ones do not")
		}
		w := newWorld(t)
		for i, b := range story {
			w.step(b)
			w.trace("after %q", story[:i+1])
			w.passes()
		}
		w.finish()
	})
}

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

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	var log strings.Builder
	for _, l := range w.log {
		fmt.Fprintf(&log, l.format+"\n", l.args...)
	}
	w.t.Fatalf("%s\n%sobserved %s", fmt.Sprintf(format, args...), log.String(), snapshot(w.t, w.file, w.desired, &w.o))
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

// plan asks For, checks that it is a function of its input and leaves it alone.
func (w *world) plan() Plan {
	w.t.Helper()
	before := deepCopy(&w.o)
	p := For(w.file, w.gone, w.desired, &w.o, w.now)
	if !reflect.DeepEqual(p, For(w.file, w.gone, w.desired, &w.o, w.now)) {
		w.fail("For decides differently the second time")
	}
	if !reflect.DeepEqual(w.o, before) || w.file != nil && !reflect.DeepEqual(*w.file, w.child) {
		w.fail("For changed its input, observed was %+v", before)
	}
	if p.Status.ObservedGeneration > w.desired.Generation {
		w.fail("observed generation %d is ahead of the desired one", p.Status.ObservedGeneration)
	}
	if p.Action == nil && !p.WakeAt.IsZero() && !p.WakeAt.After(w.now) {
		w.fail("wakes at %v, which has passed", p.WakeAt)
	}
	return p
}

// passes does what the reconciler does until a pass has no action.
func (w *world) passes() {
	w.t.Helper()
	for range 20 {
		p := w.plan()
		w.trace("  %v: %v, wake %v, %v, observed %d", w.now.Sub(epoch), actionText(p.Action), p.WakeAt, p.Status.Phase,
			p.Status.ObservedGeneration)
		if p.Status.ObservedGeneration < w.observed {
			w.fail("observed generation went back from %d to %d", w.observed, p.Status.ObservedGeneration)
		}
		w.observed = p.Status.ObservedGeneration
		w.o.Published(p.Status)
		if p.Action == nil {
			w.checkAwake(p)
			return
		}
		w.do(p.Action)
		if _, forgotten := p.Action.(Forget); forgotten {
			return
		}
	}
	w.fail("twenty passes at one instant and still not done")
}

// checkAwake fails when work is left and nothing would ever make a pass.
func (w *world) checkAwake(p Plan) {
	w.t.Helper()
	left := p.Status.ObservedGeneration != w.desired.Generation ||
		w.desired.Run != spec.Running && (len(w.alive) > 0 || w.members[w.o.Incarnation] > 0)
	outstanding := len(w.facts) > 0 || w.hook != nil
	if left && p.WakeAt.IsZero() && !outstanding {
		w.fail("work is left and nothing to wait for: %s", show(w.t, p))
	}
	switch p.Status.Phase {
	case spec.PhaseBackOff:
		if p.WakeAt.IsZero() || p.Status.NextStart == nil {
			w.fail("a back-off without an end: %s", show(w.t, p))
		}
	case spec.PhaseStopping:
		if p.WakeAt.IsZero() && !outstanding {
			w.fail("a stop without an end: %s", show(w.t, p))
		}
	}
	if w.o.Repeat != nil && w.o.Hook == nil && p.Status.RepeatAt != nil && p.WakeAt.IsZero() && w.o.Process != nil && w.o.Process.Exit == nil {
		w.fail("a repeat that nobody wakes for: %s", show(w.t, p))
	}
	if a := p.Status.Process; a != nil && a.Incarnation != w.o.Incarnation {
		w.fail("status shows incarnation %d of %d", a.Incarnation, w.o.Incarnation)
	}
}

// deepCopy shares nothing with o but the configuration of its process, which is
// compared on its own.
func deepCopy(o *Observed) Observed {
	c := *o
	if c.Process = clone(o.Process); c.Process != nil {
		c.Process.Exit, c.Process.Stop = clone(o.Process.Exit), clone(o.Process.Stop)
	}
	c.LastExit, c.End, c.Failure = clone(o.LastExit), clone(o.End), clone(o.Failure)
	c.Repeat, c.Hook = clone(o.Repeat), clone(o.Hook)
	c.Window, c.Killed.PIDs = slices.Clone(o.Window), slices.Clone(o.Killed.PIDs)
	return c
}
