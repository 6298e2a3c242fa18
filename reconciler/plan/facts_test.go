package plan

import (
	"reflect"
	"testing"

	"kita/spec"
)

func TestGraceZeroKillsAtOnceAndBlamesNobody(t *testing.T) {
	c := newChild(grace(0))
	o := live(c)
	d := unwanted(2, 1)
	checkAction(t, decide(t, c, false, d, o, at(5*second)), Kill{Incarnation: 1})
	o.KillSent([]int{1001}, at(5*second))
	if note := o.KilledNote(1); note != "" {
		t.Errorf("note is %q: nobody outlived a grace period of nothing", note)
	}
	if want := (&Stop{SignalledAt: at(5 * second), KillAt: at(6 * second), Kills: 1}); !reflect.DeepEqual(o.Process.Stop, want) {
		t.Errorf("stop is %+v, want %+v", o.Process.Stop, want)
	}
	p := decide(t, c, false, d, o, at(5*second))
	checkAction(t, p, nil)
	if p.WakeAt != at(6*second) {
		t.Errorf("wakes at %v, want %v", p.WakeAt, at(6*second))
	}
}

func TestPrehookOfCommandThatFailsClearsTheStartLimit(t *testing.T) {
	c := newChild(policy(spec.Always), limit(1, hour), prehooked)
	o := over(c, 1, at(second))
	if p := decide(t, c, false, running(1, 1), o, at(second)); p.Status.Phase != spec.PhaseFailed {
		t.Fatalf("phase is %v, want failed: the limit is one start", p.Status.Phase)
	}
	d := running(2, 2)
	ticket := Ticket{Incarnation: 2, Generation: 2}
	checkAction(t, decide(t, c, false, d, o, at(2*second)), RunHook{Kind: Prehook, Hook: startDB, For: ticket})
	o.HookStarted(HookRun{Kind: Prehook, Hook: startDB, For: ticket, Deadline: at(2*second + HookTimeout)})
	o.HookDone(Prehook, ticket, "start db: no such file", d, 0, at(3*second))
	p := decide(t, c, false, d, o, at(3*second))
	if p.Status.Phase != spec.PhaseBackOff || p.WakeAt != at(3500*ms) || p.Status.Reason != "start db: no such file" {
		t.Errorf("plan is %s, want the first back-off again", show(t, p))
	}
}

func TestRepeatOfStoppedRunDoesNotOutliveFailedLaunch(t *testing.T) {
	c := newChild(repeats(spec.VerbRestart, 10*second))
	o := live(c)
	o.Exited(exitOf(1, 0, at(second)), true, 0)
	// A stop and a start later, the run the repeat belongs to is history.
	d := running(3, 2)
	o.LaunchFailed("no such file", c, d, 0, at(2*second))
	p := decide(t, c, false, d, o, at(20*second))
	checkAction(t, p, nil)
	if p.Status.RepeatAt != nil {
		t.Errorf("repeat is still shown for %v", p.Status.RepeatAt)
	}
}

func TestRepeatSurvivesFailedLaunchByPolicy(t *testing.T) {
	c := newChild(policy(spec.Always), repeats(spec.VerbRestart, 10*second))
	o := over(c, 1, at(second))
	d := running(1, 1)
	o.LaunchFailed("no such file", c, d, 0, at(2*second))
	checkAction(t, decide(t, c, false, d, o, at(20*second)), Start{Incarnation: 2})
	o.LaunchFailed("no such file", c, d, 0, at(20*second))
	checkAction(t, decide(t, c, false, d, o, at(20*second)), Trigger{Incarnation: 1, Verb: spec.VerbRestart})
}

func TestRestartsCountLaunchesOnly(t *testing.T) {
	c := newChild(policy(spec.Always))
	o := over(c, 1, at(second))
	d := running(1, 1)
	for range 3 {
		o.LaunchFailed("no such file", c, d, 0, at(2*second))
	}
	if o.Restarts != 0 || o.Starts != 1 {
		t.Errorf("starts %d, restarts %d after three failed launches, want 1, 0", o.Starts, o.Restarts)
	}
	o.Launched(identity(2), c, d, at(9*second))
	if o.Restarts != 1 || o.Starts != 2 {
		t.Errorf("starts %d, restarts %d, want 2, 1", o.Starts, o.Restarts)
	}
	o.Launched(identity(3), c, running(2, 2), at(10*second))
	if o.Restarts != 0 || o.Starts != 3 {
		t.Errorf("starts %d, restarts %d after a command, want 3, 0", o.Starts, o.Restarts)
	}
}
