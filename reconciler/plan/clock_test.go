package plan

import (
	"testing"
	"time"

	"kita/spec"
)

// jumps are what a clock may do between two passes. Times that were saved have
// lost their monotonic reading, so a new server sees the jump.
var jumps = []struct {
	name string
	by   time.Duration
}{
	{"back an hour", -hour},
	{"back a year", -year},
	{"forward an hour", hour},
	{"forward a year", year},
}

// TestClockJumpDoesNotStallOrStormBackoff lets a child crash at once, again and
// again, with a jump in the middle: it must go on, and at most one start may
// come early.
func TestClockJumpDoesNotStallOrStormBackoff(t *testing.T) {
	for _, jump := range jumps {
		t.Run(jump.name, func(t *testing.T) {
			c := newChild(policy(spec.Always))
			d := running(1, 1)
			var o Observed
			now, waited, starts := epoch, time.Duration(0), 0
			for step := 0; starts < 20; step++ {
				if step > 200 {
					t.Fatalf("only %d starts in %v", starts, waited)
				}
				p := decide(t, c, false, d, &o, now)
				o.Published(p.Status)
				switch {
				case p.Action != nil:
					checkAction(t, p, Start{Incarnation: o.Incarnation + 1})
					o.Launched(launch(o.Incarnation+1), c, d, now)
					o.Exited(exitOf(o.Incarnation, 1, now), true, 0)
					if starts++; starts == 10 {
						now = now.Add(jump.by)
					}
				case !p.WakeAt.After(now):
					t.Fatalf("wakes at %v, which is not after %v", p.WakeAt, now)
				default:
					waited += p.WakeAt.Sub(now)
					now = p.WakeAt
				}
			}
			// 0.5 s doubling to 30 s makes 7 waits below the maximum, then 12 of
			// 30 s; one may be skipped and one doubled.
			const full = 31500*ms + 13*30*second
			if waited < full-2*30*second || waited > full+30*second {
				t.Errorf("20 starts took %v, want about %v", waited, full)
			}
		})
	}
}

func TestClockSetBackGivesStopItsGraceAgain(t *testing.T) {
	c := newChild()
	d := unwanted(2, 1)
	for _, back := range []time.Duration{hour, year} {
		o := live(c)
		o.Signalled(c.Stop.Grace.D(), at(second))
		now := at(second - back)
		checkAction(t, decide(t, c, false, d, o, now), Signal{Incarnation: 1, Signal: sigterm})
		o.Signalled(c.Stop.Grace.D(), now)
		p := decide(t, c, false, d, o, now)
		checkAction(t, p, nil)
		if want := now.Add(10 * second); p.WakeAt != want {
			t.Errorf("kills at %v, want %v", p.WakeAt, want)
		}
		o.KillSent([]int{1001}, p.WakeAt)
		checkAction(t, decide(t, c, false, d, o, p.WakeAt.Add(-back)), Kill{Incarnation: 1})
	}
}

func TestClockSetBackABitOnlyDelaysTheKill(t *testing.T) {
	c := newChild()
	o := live(c)
	o.Signalled(c.Stop.Grace.D(), at(5*second))
	p := decide(t, c, false, unwanted(2, 1), o, at(4*second))
	checkAction(t, p, nil)
	if p.WakeAt != at(15*second) {
		t.Errorf("kills at %v, want %v", p.WakeAt, at(15*second))
	}
}

func TestClockSetForwardKillsEarlyOnce(t *testing.T) {
	c := newChild()
	d := unwanted(2, 1)
	o := live(c)
	o.Signalled(c.Stop.Grace.D(), at(second))
	now := at(year)
	checkAction(t, decide(t, c, false, d, o, now), Kill{Incarnation: 1})
	o.KillSent(nil, now)
	checkAction(t, decide(t, c, false, d, o, now), nil)
}

func TestClockSetBackDoesNotReachTheStartLimit(t *testing.T) {
	c := newChild(policy(spec.Always), limit(2, 10*second))
	d := running(1, 1)
	o := over(c, 1, at(hour))
	o.Launched(launch(2), c, d, at(2*hour))
	o.Exited(exitOf(2, 1, at(2*hour-year)), true, 0)
	if p := decide(t, c, false, d, o, at(2*hour-year)); p.Status.Phase != spec.PhaseBackOff {
		t.Errorf("plan is %s: two starts an hour apart are not two within 10s", show(t, p))
	}
}

func TestClockSetBackDoesNotStallRepeat(t *testing.T) {
	c := newChild(repeats(spec.VerbRestart, time.Minute))
	d := running(1, 1)
	for name, o := range map[string]*Observed{"live": live(c), "ended": over(c, 0, at(second))} {
		checkAction(t, decide(t, c, false, d, o, at(-year)), Trigger{Incarnation: 1, Verb: spec.VerbRestart})
		if p := decide(t, c, false, d, o, at(-30*second)); p.Action != nil || p.WakeAt != at(time.Minute) {
			t.Errorf("%s: set back by less than the period, plan is %s", name, show(t, p))
		}
	}
}

func TestClockSetBackKeepsRunningProcessRunning(t *testing.T) {
	c := newChild(policy(spec.Always))
	for _, jump := range jumps {
		o := live(c)
		o.Phase, o.Since, o.Settled = spec.PhaseRunning, at(second), 1
		checkPlan(t, decide(t, c, false, running(1, 1), o, at(jump.by)), Plan{Status: spec.Status{
			Phase: spec.PhaseRunning, Since: at(second), ObservedGeneration: 1, Starts: 1,
			Process: &spec.Process{PID: 1001, Incarnation: 1, StartedAt: epoch, Config: c},
		}})
	}
}
