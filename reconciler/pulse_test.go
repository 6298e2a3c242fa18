package reconciler

import (
	"fmt"
	"testing"

	"kita/spec"
)

// TestHeadcountCountsWhatIsWanted has children by what is wanted and where they are.
func TestHeadcountCountsWhatIsWanted(t *testing.T) {
	type child struct {
		wanted bool
		phase  spec.Phase
	}
	up, ended := child{true, spec.PhaseRunning}, child{false, spec.PhaseStopped}
	tests := []struct {
		name     string
		children []child
		ending   bool
		want     string
	}{
		{"all run", []child{up, up}, false, "2 of 2 wanted children run"},
		{"one is to be stopped", []child{up, up, {false, spec.PhaseRunning}}, false, "2 of 2 wanted children run"},
		{"one is being stopped", []child{up, {false, spec.PhaseStopping}}, false, "1 of 1 wanted children run, 1 being stopped"},
		{"one is restarted", []child{up, {true, spec.PhaseStopping}}, false, "1 of 2 wanted children run, 1 being stopped"},
		{"all are starting", []child{{true, spec.PhaseStarting}, {true, spec.PhaseStarting}}, false, "0 of 2 wanted children run, 2 starting"},
		{"one waits, one has failed", []child{up, {true, spec.PhaseBackOff}, {true, spec.PhaseFailed}}, false, "1 of 3 wanted children run, 1 in back-off, 1 failed"},
		{"a job that is done", []child{up, {true, spec.PhaseExited}}, false, "1 of 1 wanted children run"},
		{"none is wanted", []child{ended, ended}, false, "no child is wanted, 2 are known"},
		{"the last is to be stopped", []child{{false, spec.PhaseRunning}}, false, "no child is wanted, 1 are known"},
		{"the end", []child{up, {false, spec.PhaseStopping}, ended}, true, "ending, 2 children still run"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &Reconciler{children: map[string]*entry{}, ending: tt.ending}
			for i, c := range tt.children {
				e := &entry{desired: spec.Desired{Run: spec.Stopped}, status: spec.Status{Phase: c.phase}}
				if c.wanted {
					e.desired.Run = spec.Running
				}
				switch c.phase {
				case spec.PhaseStarting, spec.PhaseRunning, spec.PhaseStopping:
					e.status.Process = &spec.Process{PID: 100 + i}
				}
				r.children[fmt.Sprint(i)] = e
			}
			if got := r.Headcount(); got != tt.want {
				t.Errorf("it says %q, want %q", got, tt.want)
			}
		})
	}
}
