package plan

import (
	"reflect"
	"testing"
	"time"

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
	o.Launched(launch(2), c, d, at(9*second))
	if o.Restarts != 1 || o.Starts != 2 {
		t.Errorf("starts %d, restarts %d, want 2, 1", o.Starts, o.Restarts)
	}
	o.Launched(launch(3), c, running(2, 2), at(10*second))
	if o.Restarts != 0 || o.Starts != 3 {
		t.Errorf("starts %d, restarts %d after a command, want 3, 0", o.Starts, o.Restarts)
	}
}

func TestStaleFactsChangeNothing(t *testing.T) {
	c := newChild(prehooked)
	d := running(2, 2)
	hook := HookRun{Kind: Prehook, Hook: startDB, For: Ticket{2, 2}, Deadline: at(hour)}
	alive := func() *Observed { return live(c) }
	orphaned := func() *Observed { return live(c, exited(1, at(second), false)) }
	dead := func() *Observed { return over(c, 1, at(second)) }
	hooked := func() *Observed { return live(c, func(o *Observed) { o.HookStarted(hook) }) }
	tests := []struct {
		name string
		o    *Observed
		fact func(*Observed) bool
	}{
		{"exit of an older run", alive(), func(o *Observed) bool { return o.Exited(exitOf(0, 1, at(second)), true, 0) }},
		{"exit of a run to come", alive(), func(o *Observed) bool { return o.Exited(exitOf(2, 1, at(second)), true, 0) }},
		{"exit told again, the group alive", orphaned(), func(o *Observed) bool { return o.Exited(exitOf(1, 2, at(hour)), true, 1) }},
		{"exit told again, the group empty", dead(), func(o *Observed) bool { return o.Exited(exitOf(1, 2, at(hour)), true, 1) }},
		{"exit of a child that never ran", &Observed{}, func(o *Observed) bool { return o.Exited(exitOf(0, 1, at(second)), true, 0) }},
		{"empty group while the leader lives", alive(), func(o *Observed) bool { return o.Emptied(1) }},
		{"empty group of an older run", orphaned(), func(o *Observed) bool { return o.Emptied(0) }},
		{"empty group told again", dead(), func(o *Observed) bool { return o.Emptied(1) }},
		{"last lines of an older run", over(c, 1, at(second)), func(o *Observed) bool { return o.Wrote(lastOf(0)) }},
		{"last lines of a run to come", alive(), func(o *Observed) bool { return o.Wrote(lastOf(2)) }},
		{"last lines told again", over(c, 1, at(second), wrote(1)), func(o *Observed) bool { return o.Wrote(lastOf(1)) }},
		{"last lines of a child that never ran", &Observed{}, func(o *Observed) bool { return o.Wrote(lastOf(0)) }},
		{"output fault of an older run", alive(), func(o *Observed) bool { return o.OutputFault(0, []string{"gone"}) }},
		{"output fault of a run to come", alive(), func(o *Observed) bool { return o.OutputFault(2, []string{"gone"}) }},
		{"output fault of a run that is over", dead(), func(o *Observed) bool { return o.OutputFault(1, []string{"gone"}) }},
		{"no output fault where there is none", alive(), func(o *Observed) bool { return o.OutputFault(1, nil) }},
		{"hook that nobody runs", alive(), func(o *Observed) bool { return o.HookDone(Prehook, hook.For, "", d, 0, at(second)) }},
		{"hook of the other kind", hooked(), func(o *Observed) bool { return o.HookDone(Posthook, hook.For, "", d, 0, at(second)) }},
		{"hook of an older wish", hooked(), func(o *Observed) bool { return o.HookDone(Prehook, Ticket{2, 1}, "", d, 0, at(second)) }},
		{"hook of an older run", hooked(), func(o *Observed) bool { return o.HookDone(Prehook, Ticket{1, 2}, "x", d, 0, at(second)) }},
		{"repeat of an older run", alive(), func(o *Observed) bool { return o.RepeatAgain(Repeat{At: at(hour)}, 0) }},
		{"repeat while one is pending", live(newChild(repeats(spec.VerbStop, hour))), func(o *Observed) bool { return o.RepeatAgain(Repeat{At: at(hour)}, 1) }},
	}
	for _, tt := range tests {
		before := deepCopy(tt.o)
		if tt.fact(tt.o) {
			t.Errorf("%s is taken", tt.name)
		}
		if !reflect.DeepEqual(*tt.o, before) {
			t.Errorf("%s changes %+v to %+v", tt.name, before, *tt.o)
		}
	}
}

func TestHookDone(t *testing.T) {
	c := newChild(prehooked)
	failure := func(generation uint64) *spec.Failure {
		return &spec.Failure{Generation: generation, Code: spec.HookFailed, Message: "no db"}
	}
	tests := []struct {
		name    string
		o       *Observed
		hook    HookRun
		message string
		d       spec.Desired
		change  func(*Observed)
	}{
		{"prehook succeeds", &Observed{}, HookRun{Kind: Prehook, For: Ticket{1, 1}}, "", running(1, 1),
			func(o *Observed) { o.Prehooked = Ticket{1, 1} }},
		{"prehook of an older wish succeeds", &Observed{}, HookRun{Kind: Prehook, For: Ticket{1, 1}}, "", running(2, 2),
			func(o *Observed) { o.Prehooked = Ticket{1, 1} }},
		{"prehook fails before the first start", &Observed{}, HookRun{Kind: Prehook, For: Ticket{1, 1}}, "no db", running(1, 1),
			func(o *Observed) {
				o.Attempted, o.Failures, o.Failure = 1, 1, failure(1)
				o.End = &End{At: at(hour), LaunchError: "no db", Jitter: 0.25}
			}},
		{"prehook of an older wish fails", &Observed{}, HookRun{Kind: Prehook, For: Ticket{1, 1}}, "no db", running(2, 2),
			func(*Observed) {}},
		{"prehook of a restart fails", live(c), HookRun{Kind: Prehook, For: Ticket{2, 2}}, "no db", running(2, 2),
			func(o *Observed) { o.Attempted, o.Failure = 2, failure(2) }},
		{"prehook of a restart by policy fails", over(c, 1, at(second)), HookRun{Kind: Prehook, For: Ticket{2, 1}}, "no db", running(1, 1),
			func(o *Observed) {
				o.Failures, o.Failure = 2, failure(1)
				o.End = &End{At: at(hour), LaunchError: "no db", Jitter: 0.25}
			}},
		{"posthook succeeds", &Observed{}, HookRun{Kind: Posthook, For: Ticket{Generation: 2}}, "", unwanted(3, 1),
			func(o *Observed) { o.Posthooked = 2 }},
		{"posthook fails", &Observed{}, HookRun{Kind: Posthook, For: Ticket{Generation: 2}}, "no db", unwanted(3, 1),
			func(o *Observed) { o.Posthooked, o.Failure = 2, failure(2) }},
	}
	for _, tt := range tests {
		want := deepCopy(tt.o)
		tt.change(&want)
		tt.o.HookStarted(tt.hook)
		if !tt.o.HookDone(tt.hook.Kind, tt.hook.For, tt.message, tt.d, 0.25, at(hour)) {
			t.Errorf("%s: dropped", tt.name)
		}
		if !reflect.DeepEqual(*tt.o, want) {
			t.Errorf("%s: observed is\n%+v, want\n%+v", tt.name, *tt.o, want)
		}
	}
}

func TestLaunchKeepsOnlyTheFailureItsCommandHasStillToHear(t *testing.T) {
	c := newChild()
	tests := []struct {
		name       string
		generation uint64 // of the failure
		attempted  uint64
		kept       bool
	}{
		{"posthook of this trystart", 2, 1, true},
		{"posthook of an older stop", 1, 1, false},
		{"launch that failed before, by policy", 2, 2, false},
	}
	for _, tt := range tests {
		o := Observed{Attempted: tt.attempted, Failure: &spec.Failure{Generation: tt.generation}}
		o.Launched(launch(1), c, running(2, 2), epoch)
		if kept := o.Failure != nil; kept != tt.kept {
			t.Errorf("%s: kept is %v, want %v", tt.name, kept, tt.kept)
		}
	}
}

func TestCloneSharesNothingThatChanges(t *testing.T) {
	c := newChild(policy(spec.Always), limit(3, hour), repeats(spec.VerbStop, hour))
	o := live(c)
	o.Signalled(10*second, at(second))
	o.HookStarted(HookRun{Kind: Posthook})
	before := deepCopy(o)
	n := o.Clone()
	if !reflect.DeepEqual(n, before) {
		t.Fatalf("the clone is %+v, want %+v", n, before)
	}
	d := running(2, 2)
	n.HookCancelled()
	n.HookDone(Posthook, Ticket{}, "no proxy", d, 0, at(second))
	n.KillSent([]int{1}, at(11*second))
	n.Process.Adopted = true
	n.Repeat.At = at(year)
	n.Exited(exitOf(1, 1, at(12*second)), false, 0)
	n.End.Jitter = 1
	n.Emptied(1)
	n.LaunchFailed("no such file", c, running(1, 1), 0, at(13*second))
	n.Launched(launch(2), c, d, at(14*second))
	n.Published(spec.Status{Phase: spec.PhaseRunning, ObservedGeneration: 2})
	if !reflect.DeepEqual(*o, before) {
		t.Errorf("what was done to the clone changed the original to %+v, from %+v", *o, before)
	}
}

// TestObservedGenerationSaysWhatIsSettled names for each state of a child that
// has served generation 1 what is shown once generation 2 is wanted.
func TestObservedGenerationSaysWhatIsSettled(t *testing.T) {
	c := newChild(policy(spec.Always), prehooked, posthooked)
	owing := unwanted(2, 1)
	owing.Posthook = 2
	launchFailed := over(c, 1, at(second))
	launchFailed.LaunchFailed("no such file", c, running(2, 2), 0, at(second))
	restarted := over(c, 1, at(second))
	restarted.Launched(launch(2), c, running(2, 2), at(second))
	repeating := live(c, settled(1), func(o *Observed) { o.Repeat = &Repeat{Action: spec.VerbStop, At: at(second)} })
	tests := []struct {
		name string
		d    spec.Desired
		o    *Observed
		want uint64
	}{
		{"a repeat is still to be carried out", running(2, 1), repeating, 1},
		{"stop, alive", unwanted(2, 1), live(c, settled(1)), 1},
		{"stop, leader dead, group alive", unwanted(2, 1), live(c, settled(1), exited(1, at(second), false)), 1},
		{"stop, dead", unwanted(2, 1), over(c, 1, at(second)), 2},
		{"stop, dead, posthook owed", owing, over(c, 1, at(second)), 1},
		{"start, prehook to run", running(2, 2), over(c, 1, at(second)), 1},
		{"start, prehook in flight", running(2, 2), over(c, 1, at(second), withHook), 1},
		{"start, launched", running(2, 2), restarted, 2},
		{"start, launch failed and in back-off", running(2, 2), launchFailed, 2},
		{"restart, old process alive", running(2, 2), live(c, settled(1)), 1},
		{"a wish that changes nothing", running(2, 1), live(c, settled(1)), 2},
		{"in back-off since before", running(1, 1), over(c, 1, at(second)), 1},
	}
	for _, tt := range tests {
		if p := decide(t, c, false, tt.d, tt.o, at(second)); p.Status.ObservedGeneration != tt.want {
			t.Errorf("%s: observed is %d, want %d (%s)", tt.name, p.Status.ObservedGeneration, tt.want, show(t, p))
		}
	}
}

func TestLaunchedBeginsNewRun(t *testing.T) {
	c := newChild(policy(spec.Always), limit(2, hour))
	o := Observed{
		Incarnation: 3, Attempted: 2, Settled: 2, Posthooked: 1, Prehooked: Ticket{4, 2}, Starts: 3, Restarts: 1, Failures: 2,
		End:    &End{At: at(second), Jitter: 1},
		Repeat: &Repeat{Action: spec.VerbStop, At: at(hour), Every: spec.Duration(hour)},
		Window: []time.Time{at(0), at(second)},
	}
	o.Launched(launch(4), c, running(2, 2), at(2*second))
	want := Observed{
		Incarnation: 4, StartTicks: 4, Attempted: 2, Settled: 2, Posthooked: 1, Starts: 4, Restarts: 2, Failures: 2,
		Process: &Process{Launch: launch(4), Config: c, StartedAt: at(2 * second)},
		Window:  []time.Time{at(second), at(2 * second)},
	}
	if !reflect.DeepEqual(o, want) {
		t.Errorf("by policy, observed is\n%+v, want\n%+v", o, want)
	}

	o.Exited(exitOf(4, 1, at(3*second)), true, 0)
	c = newChild(repeats(spec.VerbStop, hour))
	o.Launched(launch(5), c, running(3, 3), at(4*second))
	want = Observed{
		Incarnation: 5, StartTicks: 5, Attempted: 3, Settled: 2, Posthooked: 1, Starts: 5,
		LastExit: ref(exitOf(4, 1, at(3*second))),
		History:  []spec.Exit{exitOf(4, 1, at(3*second))},
		Process:  &Process{Launch: launch(5), Config: c, StartedAt: at(4 * second)},
		Repeat:   &Repeat{Action: spec.VerbStop, At: at(hour + 4*second), Every: spec.Duration(hour)},
	}
	if !reflect.DeepEqual(o, want) {
		t.Errorf("by a command, observed is\n%+v, want\n%+v", o, want)
	}
}

func TestANumberThatWasReservedIsNotUsedAgain(t *testing.T) {
	c := newChild(policy(spec.Always), prehooked)
	var o Observed
	o.Launching(1)
	// Its server died; nothing is known of what came of it.
	if p := decide(t, newChild(), false, running(1, 1), &o, epoch); p.Action != (Start{Incarnation: 2}) {
		t.Errorf("the next is %v", p.Action)
	}
	o.Prehooked = Ticket{1, 1}
	if p := decide(t, c, false, running(1, 1), &o, epoch); p.Action != (RunHook{Prehook, startDB, Ticket{2, 1}}) {
		t.Errorf("with a prehook the next is %v", p.Action)
	}
	o.Launching(2)
	o.LaunchFailed("no such file", c, running(1, 1), 0, epoch)
	if o.next(1) != (Ticket{2, 1}) {
		t.Errorf("after a launch that is known to have failed: %v", o.next(1))
	}
	o.Launching(2)
	o.Launched(launch(2), c, running(1, 1), epoch)
	if o.Reserved != 0 || o.next(1) != (Ticket{3, 1}) {
		t.Errorf("after a launch: %v", o.next(1))
	}
}

func TestHistoryHasTheLatestExitsOnly(t *testing.T) {
	c := newChild(policy(spec.Always))
	var o Observed
	var before Observed
	for i := uint64(1); i <= remembered+3; i++ {
		o.Launched(launch(i), c, running(1, 1), epoch)
		o.Exited(exitOf(i, int(i), at(second)), true, 0)
		if i == remembered {
			before = o.Clone()
		}
	}
	if first, last := o.History[0], o.History[len(o.History)-1]; len(o.History) != remembered ||
		first != exitOf(4, 4, at(second)) || last != exitOf(remembered+3, remembered+3, at(second)) {
		t.Errorf("%d exits, from %v to %v", len(o.History), first, last)
	}
	if before.History[0].Incarnation != 1 || len(before.History) != remembered {
		t.Errorf("a copy changed with it: %v", before.History)
	}
}

func TestStraysMakeAStopFail(t *testing.T) {
	c := newChild()
	o := live(c)
	if o.Strayed(2, []int{7}, false) {
		t.Error("taken for another run")
	}
	o.Signalled(10*second, at(second))
	if !o.Strayed(1, []int{7, 8}, false) {
		t.Error("not taken")
	}
	o.Exited(exitOf(1, 0, at(2*second)), true, 0)
	const want = "not fully killed: PIDs 7, 8 may be of it or of another child, having left its process group and cleared its environment"
	for range 2 {
		p := decide(t, c, false, unwanted(2, 1), o, at(2*second))
		if p.Status.Phase != spec.PhaseStopped || p.Status.ObservedGeneration != 2 || p.Status.Reason != want ||
			p.Status.Failure == nil || *p.Status.Failure != (spec.Failure{Generation: 2, Code: spec.NotStopped, Message: want}) {
			t.Fatalf("plan is %s", show(t, p))
		}
		o.Published(p.Status)
	}
	if got := o.KilledNote(1); got != want {
		t.Errorf("note is %q", got)
	}
	o.Launched(launch(2), c, running(3, 2), at(3*second))
	if got := o.KilledNote(2); got != "" {
		t.Errorf("note of the next run is %q", got)
	}
}

func TestSuspectedStraysAreANoteOnly(t *testing.T) {
	c := newChild()
	o := live(c)
	o.Signalled(10*second, at(second))
	o.Strayed(1, []int{7}, true)
	o.Exited(exitOf(1, 0, at(2*second)), true, 0)
	const want = "PID 7 may be left of it: orphans outside its process group and with another environment"
	p := decide(t, c, false, unwanted(2, 1), o, at(2*second))
	if p.Status.Reason != want || p.Status.Failure != nil || p.Status.ObservedGeneration != 2 {
		t.Errorf("plan is %s", show(t, p))
	}
}

func TestOnlyTheFirstKillTellsWhoOutlivedTheGracePeriod(t *testing.T) {
	o := live(newChild())
	o.Signalled(10*second, at(second))
	o.KillSent([]int{7, 8}, at(11*second))
	o.KillSent([]int{8, 9}, at(12*second))
	if want := "still alive after its grace period, killed: PIDs 7, 8"; o.KilledNote(1) != want {
		t.Errorf("note is %q, want %q", o.KilledNote(1), want)
	}
	if note := o.KilledNote(2); note != "" {
		t.Errorf("note of the next run is %q", note)
	}
	if want := (&Stop{SignalledAt: at(second), KillAt: at(13 * second), Kills: 2}); !reflect.DeepEqual(o.Process.Stop, want) {
		t.Errorf("stop is %+v, want %+v", o.Process.Stop, want)
	}
}

// What the startup mode passed over is told until somebody asks for something, and
// by the server that looked at it alone.
func TestPassedOver(t *testing.T) {
	failure := spec.Failure{Generation: 3, Code: spec.BadHook, Message: "mode full did not start it: no db"}
	o := &Observed{Settled: 3}
	if o.PassedOver(failure, running(3, 3)) || o.PassedOver(failure, spec.Desired{Generation: 4}) || o.Failure != nil {
		t.Errorf("taken after a command: %+v", o.Failure)
	}
	undecided := spec.Desired{Generation: 3}
	if !o.PassedOver(failure, undecided) || o.Failure == nil || *o.Failure != failure {
		t.Fatalf("not taken: %+v", o.Failure)
	}
	if s := For(newChild(), false, undecided, o, epoch).Status; s.Phase != spec.PhaseStopped || s.Reason != failure.Message {
		t.Errorf("status %+v", s)
	}
	o.Restored()
	if o.Failure != nil {
		t.Errorf("the next server says %+v", o.Failure)
	}
	o.Failure = &spec.Failure{Generation: 3, Code: spec.HookFailed}
	if o.Restored(); o.Failure == nil {
		t.Error("another failure was forgotten")
	}
}
