package plan

import (
	"reflect"
	"testing"

	"kita/spec"
)

func lastOf(incarnation uint64) spec.LastLines {
	return spec.LastLines{Incarnation: incarnation, Stream: spec.Err, Lines: []string{"no port", "giving up"}}
}

func wrote(incarnation uint64) func(*Observed) {
	return func(o *Observed) { o.Wrote(lastOf(incarnation)) }
}

func TestLastLinesAreThoseOfARunThatFailed(t *testing.T) {
	c := newChild(success(spec.ExitClass{Code: 3}))
	stopped := func(o *Observed) { o.Signalled(10*second, at(second)) }
	tests := []struct {
		name string
		o    *Observed
		d    spec.Desired
		want bool
	}{
		{"it failed", live(c, wrote(1), exited(1, at(second), true)), running(1, 1), true},
		{"it failed, and the lines come after its end", over(c, 1, at(second), wrote(1)), running(1, 1), true},
		{"it failed and was stopped afterwards", live(c, wrote(1), exited(1, at(second), true)), unwanted(2, 1), true},
		{"it failed, others of its group live on", live(c, wrote(1), exited(1, at(second), false)), running(1, 1), true},
		{"it ended well", live(c, wrote(1), exited(0, at(second), true)), running(1, 1), false},
		{"its end counts as success", live(c, wrote(1), exited(3, at(second), true)), running(1, 1), false},
		{"it was stopped", live(c, wrote(1), stopped, exited(1, at(second), true)), unwanted(2, 1), false},
		{"it was replaced", live(c, wrote(1), stopped, exited(1, at(second), true)), running(2, 2), false},
		{"it lives", live(c, wrote(1)), running(1, 1), false},
		{"lines of another run", live(c, wrote(2), exited(1, at(second), true)), running(1, 1), false},
		{"no lines", over(c, 1, at(second)), running(1, 1), false},
		{"the next run lives", over(c, 1, at(second), wrote(1), launchedAgain(c)), running(1, 1), false},
		{"the next run wrote nothing", over(c, 1, at(second), wrote(1), launchedAgain(c),
			func(o *Observed) { o.Exited(exitOf(2, 1, at(3*second)), true, 0) }), running(1, 1), false},
		{"the next run could not be launched", over(c, 1, at(second), wrote(1),
			func(o *Observed) { o.LaunchFailed("no such file", c, running(1, 1), 0, at(2*second)) }), running(1, 1), false},
		{"what became of the next run is not known", over(c, 1, at(second), wrote(1),
			func(o *Observed) { o.Launching(2); o.LaunchLost(0, at(2*second)) }), running(1, 1), false},
		{"the prehook of the next run failed", over(c, 1, at(second), wrote(1), func(o *Observed) {
			ticket := Ticket{Incarnation: 2, Generation: 2}
			o.HookStarted(HookRun{Kind: Prehook, For: ticket})
			o.HookDone(Prehook, ticket, "no db", running(2, 2), 0, at(2*second))
		}), running(2, 2), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var want *spec.LastLines
			if tt.want {
				want = ref(lastOf(1))
			}
			for _, o := range []Observed{*tt.o, reload(t, *tt.o)} {
				o.Hook = nil
				if got := decide(t, c, false, tt.d, &o, at(5*second)).Status.LastLines; !reflect.DeepEqual(got, want) {
					t.Errorf("got %+v, want %+v", got, want)
				}
			}
		})
	}
}

func launchedAgain(c *spec.Child) func(*Observed) {
	return func(o *Observed) { o.Launched(launch(2), c, running(1, 1), at(2*second)) }
}

func TestOutputFaultsAreWarningsWhileTheyHold(t *testing.T) {
	c := newChild()
	const limits, gone, full = "memory is not limited", "out.log was removed", "disk full"
	o := live(c, func(o *Observed) { o.Process.Warnings = []string{limits} })
	d := running(1, 1)
	shown := func(want ...string) {
		t.Helper()
		if got := decide(t, c, false, d, o, at(5*second)).Status.Warnings; !reflect.DeepEqual(got, want) {
			t.Errorf("warnings are %q, want %q", got, want)
		}
	}
	if !o.OutputFault(1, []string{gone, full}) {
		t.Error("the faults are not taken")
	}
	shown(limits, gone, full)
	if !o.OutputFault(1, []string{full}) {
		t.Error("the other faults are not taken")
	}
	shown(limits, full)
	if !o.OutputFault(1, nil) {
		t.Error("that all is well is not taken")
	}
	shown(limits)

	o.OutputFault(1, []string{gone})
	if read := reload(t, *o); read.OutputFaults != nil {
		t.Errorf("the next server reads %q before its runtime has looked", read.OutputFaults)
	}
	o.Exited(exitOf(1, 1, at(6*second)), false, 0)
	shown(gone)
	o.Emptied(1)
	shown()
	o.Launched(launch(2), c, d, at(7*second))
	shown()
}
