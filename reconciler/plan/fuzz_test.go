package plan

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

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

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	var log strings.Builder
	for _, l := range w.log {
		fmt.Fprintf(&log, l.format+"\n", l.args...)
	}
	w.t.Fatalf("%s\n%sobserved %s", fmt.Sprintf(format, args...), log.String(), snapshot(w.t, w.file, w.desired, &w.o))
}
