package plan

import (
	"math"
	"testing"
	"time"

	"kita/spec"
)

func TestForEnded(t *testing.T) {
	always, onFailure, never := newChild(policy(spec.Always)), newChild(policy(spec.OnFailure)), newChild()
	lenient := newChild(policy(spec.OnFailure), success(spec.ExitClass{Code: 3}))
	limited := newChild(policy(spec.Always), limit(1, 10*second))
	code := func(n int) *Observed { return over(always, n, at(second)) }
	byLimit := func(n int) *Observed { return over(limited, n, at(second)) }
	unlaunched := func(c *spec.Child) *Observed {
		var o Observed
		o.LaunchFailed("no such file", c, running(1, 1), 0, at(second))
		return &o
	}
	status := func(phase spec.Phase, n int, reason string) spec.Status {
		return spec.Status{Phase: phase, Since: at(second), ObservedGeneration: 1, Starts: 1, Reason: reason,
			LastExit: ref(exitOf(1, n, at(second)))}
	}
	noLaunch := func(phase spec.Phase) spec.Status {
		return spec.Status{Phase: phase, Since: at(second), ObservedGeneration: 1, Reason: "no such file",
			Failure: &spec.Failure{Generation: 1, Code: spec.CannotStart, Message: "no such file"}}
	}
	backoff := func(s spec.Status) Plan {
		s.NextStart = ref(at(1500 * ms))
		return Plan{WakeAt: at(1500 * ms), Status: s}
	}
	due := spec.Status{Phase: spec.PhaseStarting, Since: at(1500 * ms), ObservedGeneration: 1, Starts: 1,
		LastExit: ref(exitOf(1, 1, at(second)))}
	unsettled := code(1)
	unsettled.Settled = 0
	const tooOften = "start limit reached, 1 starts within 10s: "
	d, now := running(1, 1), at(second)
	runCases(t, []forCase{
		{"never, failure", never, false, d, code(1), now, Plan{Status: status(spec.PhaseFailed, 1, "exit 1")}},
		{"never, success", never, false, d, code(0), now, Plan{Status: status(spec.PhaseExited, 0, "")}},
		{"never, not launched", never, false, d, unlaunched(never), now, Plan{Status: noLaunch(spec.PhaseFailed)}},
		{"on failure, failure", onFailure, false, d, code(1), now, backoff(status(spec.PhaseBackOff, 1, "exit 1"))},
		{"on failure, success", onFailure, false, d, code(0), now, Plan{Status: status(spec.PhaseExited, 0, "")}},
		{"on failure, a code that counts as success", lenient, false, d, code(3), now, Plan{Status: status(spec.PhaseExited, 3, "")}},
		{"on failure, not launched", onFailure, false, d, unlaunched(onFailure), now, backoff(noLaunch(spec.PhaseBackOff))},
		{"always, success", always, false, d, code(0), now, backoff(status(spec.PhaseBackOff, 0, "exit 0"))},
		{"always, at the end of its back-off", always, false, d, code(1), at(1500 * ms), Plan{Action: Start{2}, Status: due}},
		{"its command is done although no pass saw it idle", always, false, d, unsettled, at(1500 * ms), Plan{Action: Start{2}, Status: due}},
		{"at its start limit", limited, false, d, byLimit(1), now, Plan{Status: status(spec.PhaseFailed, 1, tooOften+"exit 1")}},
		{"at its start limit, though a success", limited, false, d, byLimit(0), now,
			Plan{Status: status(spec.PhaseFailed, 0, tooOften+"exit 0")}},
		{"at its start limit, not launched", limited, false, d, unlaunched(limited), now, Plan{Status: func() spec.Status {
			s := noLaunch(spec.PhaseFailed)
			s.Reason = tooOften + s.Reason
			return s
		}()}},
		{"wanted anew while in back-off", always, false, running(2, 2), code(1), now, Plan{Action: Start{2}, Status: func() spec.Status {
			s := status(spec.PhaseStarting, 1, "")
			return s
		}()}},
		{"its file gone", always, true, d, code(1), now, Plan{Action: Forget{}, Status: status(spec.PhaseStopped, 1, "")}},
	})
}

func TestBackoffDoublesToItsCapWithJitter(t *testing.T) {
	c := newChild(policy(spec.Always))
	tests := []struct {
		failures int
		jitter   float64
		want     time.Duration
	}{
		{0, 0, 500 * ms}, {1, 0, 500 * ms}, {2, 0, second}, {3, 0, 2 * second}, {4, 0, 4 * second},
		{5, 0, 8 * second}, {6, 0, 16 * second}, {7, 0, 30 * second}, {8, 0, 30 * second},
		{1000000, 0, 30 * second}, {math.MaxInt, 0, 30 * second},
		{1, 0.5, 525 * ms}, {1, 1, 550 * ms}, {8, 1, 33 * second},
	}
	for _, tt := range tests {
		o := over(c, 1, at(second))
		o.Failures, o.End.Jitter = tt.failures, tt.jitter
		p := decide(t, c, false, running(1, 1), o, at(second))
		if got := p.WakeAt.Sub(at(second)); got != tt.want || p.Status.NextStart == nil || *p.Status.NextStart != p.WakeAt {
			t.Errorf("after %d failures with jitter %v it waits %v until %v, want %v", tt.failures, tt.jitter, got, p.Status.NextStart, tt.want)
		}
	}
}

func TestBackoffStartsOverAfterLivingItsMaximum(t *testing.T) {
	c := newChild(policy(spec.Always))
	for _, tt := range []struct {
		lived time.Duration
		want  int
	}{{0, 8}, {30*second - 1, 8}, {30 * second, 1}, {hour, 1}, {-hour, 8}} {
		o := live(c)
		o.Failures = 7
		o.Exited(exitOf(1, 1, at(tt.lived)), true, 0)
		if o.Failures != tt.want {
			t.Errorf("lived %v: %d failures, want %d", tt.lived, o.Failures, tt.want)
		}
	}
}

// TestStartLimitIsSlidingWindow crashes a child at the given times of start; the
// last of them reaches the limit of 3 within 10 s, or not.
func TestStartLimitIsSlidingWindow(t *testing.T) {
	tests := []struct {
		name   string
		starts []time.Duration
		want   spec.Phase
	}{
		{"two", []time.Duration{0, second}, spec.PhaseBackOff},
		{"three at once", []time.Duration{0, 0, 0}, spec.PhaseFailed},
		{"just within", []time.Duration{0, 4 * second, 10*second - 1}, spec.PhaseFailed},
		{"just not", []time.Duration{0, 4 * second, 10 * second}, spec.PhaseBackOff},
		{"the first has left the window", []time.Duration{0, 9 * second, 18 * second, 27 * second}, spec.PhaseBackOff},
		{"not the first three but the last", []time.Duration{0, 9 * second, 18 * second, 18 * second}, spec.PhaseFailed},
	}
	for _, tt := range tests {
		c := newChild(policy(spec.Always), limit(3, 10*second))
		d := running(1, 1)
		var o Observed
		for i, start := range tt.starts {
			o.Launched(launch(uint64(i+1)), c, d, at(start))
			o.Exited(exitOf(uint64(i+1), 1, at(start)), true, 0)
		}
		if len(o.Window) > 3 {
			t.Errorf("%s: the window holds %d starts", tt.name, len(o.Window))
		}
		last := at(tt.starts[len(tt.starts)-1])
		p := decide(t, c, false, d, &o, last)
		if p.Status.Phase != tt.want {
			t.Errorf("%s: phase is %v, want %v", tt.name, p.Status.Phase, tt.want)
		}
		if tt.want != spec.PhaseFailed {
			continue
		}
		for _, later := range []time.Duration{second, hour, year} {
			if p := decide(t, c, false, d, &o, last.Add(later)); p.Action != nil || !p.WakeAt.IsZero() || p.Status.Phase != spec.PhaseFailed {
				t.Errorf("%s: %v later the plan is %s", tt.name, later, show(t, p))
			}
		}
		checkAction(t, decide(t, c, false, running(2, 2), &o, last), Start{Incarnation: uint64(len(tt.starts) + 1)})
	}
}

func TestForRepeat(t *testing.T) {
	c := newChild(repeats(spec.VerbRestart, 5*second))
	in, due := at(4*second), at(5*second)
	dead := func() *Observed { return over(c, 0, at(2*second)) }
	alive := func() *Observed { return live(c, settled(1), withPhase(spec.PhaseRunning, at(second))) }
	running1 := spec.Status{Phase: spec.PhaseRunning, Since: at(second), ObservedGeneration: 1, Starts: 1, Process: process(c), RepeatAt: &due}
	exited1 := spec.Status{Phase: spec.PhaseExited, ObservedGeneration: 1, Starts: 1,
		LastExit: ref(exitOf(1, 0, at(2*second))), RepeatAt: &due}
	since := func(s spec.Status, t time.Time) spec.Status { s.Since = t; return s }
	void := func(s spec.Status, phase spec.Phase, observed uint64, now time.Time) spec.Status {
		s.Phase, s.Since, s.ObservedGeneration, s.RepeatAt = phase, now, observed, nil
		return s
	}
	trigger := Trigger{1, spec.VerbRestart}
	unset := newChild()
	runCases(t, []forCase{
		{"pending while alive", c, false, running(1, 1), alive(), in, Plan{WakeAt: due, Status: running1}},
		{"pending before it counts as running", c, false, running(1, 1), live(c, settled(1)), at(ms), Plan{WakeAt: at(MinAlive),
			Status: spec.Status{Phase: spec.PhaseStarting, Since: epoch, ObservedGeneration: 1, Starts: 1, Process: process(c), RepeatAt: &due}}},
		{"due while alive", c, false, running(1, 1), alive(), due, Plan{Action: trigger, Status: running1}},
		{"removed from the file: the pending one stays", unset, false, running(1, 1), alive(), due, Plan{Action: trigger, Status: running1}},
		{"pending after the end", c, false, running(1, 1), dead(), in, Plan{WakeAt: due, Status: since(exited1, in)}},
		{"due after the end", c, false, running(1, 1), dead(), due, Plan{Action: trigger, Status: since(exited1, due)}},
		{"void after a stop", c, false, unwanted(2, 1), dead(), due, Plan{Status: void(exited1, spec.PhaseStopped, 2, due)}},
		{"void after a restart", c, false, running(2, 2), alive(), due,
			Plan{Action: Signal{1, sigterm}, Status: void(running1, spec.PhaseStopping, 1, due)}},
		{"the old run's, once another is wanted", c, false, running(2, 2), dead(), due,
			Plan{Action: Start{2}, Status: void(exited1, spec.PhaseStarting, 1, due)}},
	})
}

func TestRepeatComesBeforeTheEndOfBackoff(t *testing.T) {
	c := newChild(policy(spec.Always), repeats(spec.VerbRestart, 5*second), func(c *spec.Child) {
		c.Restart.Backoff.Initial = spec.Duration(10 * second)
	})
	o := over(c, 1, at(second))
	if p := decide(t, c, false, running(1, 1), o, at(2*second)); p.WakeAt != at(5*second) || *p.Status.NextStart != at(11*second) {
		t.Errorf("plan is %s", show(t, p))
	}
	checkAction(t, decide(t, c, false, running(1, 1), o, at(5*second)), Trigger{Incarnation: 1, Verb: spec.VerbRestart})
}
