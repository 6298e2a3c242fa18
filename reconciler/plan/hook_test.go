package plan

import (
	"testing"

	"kita/spec"
)

// withHook puts a prehook for restart generation 2 in flight.
func withHook(o *Observed) {
	o.Settled = 1
	o.HookStarted(HookRun{Kind: Prehook, Hook: startDB, For: o.next(2), Deadline: at(hour)})
}

func TestPhaseDuringPrehookOfRestartIsThatOfTheOldProcess(t *testing.T) {
	c := newChild(prehooked)
	d := running(2, 2)

	young := live(c, settled(1))
	if p := decide(t, c, false, d, young, at(500*ms)); p.Status.Phase != spec.PhaseStarting {
		t.Errorf("before the prehook a young process is %v, want starting", p.Status.Phase)
	}
	withHook(young)
	if p := decide(t, c, false, d, young, at(500*ms)); p.Status.Phase != spec.PhaseStarting {
		t.Errorf("during the prehook a young process is %v, want starting", p.Status.Phase)
	}
	if p := decide(t, c, false, d, young, at(5*second)); p.Status.Phase != spec.PhaseRunning {
		t.Errorf("during the prehook an old process is %v, want running", p.Status.Phase)
	}

	orphaned := live(c, withHook)
	orphaned.Exited(exitOf(1, 1, at(3*second)), false, 0)
	if p := decide(t, c, false, d, orphaned, at(5*second)); p.Status.Phase != spec.PhaseStopping {
		t.Errorf("a group without its leader is %v, want stopping", p.Status.Phase)
	}
}

func TestPosthookOfChildWithoutConfigurationIsNotKeptForLater(t *testing.T) {
	c := newChild(posthooked)
	o := over(c, 0, at(second))
	d := unwanted(2, 1)
	d.Posthook = 2
	p := decide(t, nil, false, d, o, at(2*second))
	checkAction(t, p, SkipPosthook{Generation: 2})
	o.Published(p.Status)
	o.PosthookSkipped(2)
	p = decide(t, nil, false, d, o, at(2*second))
	checkAction(t, p, nil)
	if o.Published(p.Status); o.Settled != 2 {
		t.Fatalf("settled is %d, want 2", o.Settled)
	}
	// Its file is mended an hour later: the stop is history.
	checkAction(t, decide(t, c, false, d, o, at(hour)), nil)
}
