package plan

import (
	"testing"
	"time"

	"kita/spec"
)

// forCase is one call of For and the whole of its answer.
type forCase struct {
	name    string
	child   *spec.Child
	gone    bool
	desired spec.Desired
	o       *Observed
	now     time.Time
	want    Plan
}

func runCases(t *testing.T, cases []forCase) {
	t.Helper()
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			checkPlan(t, decide(t, tt.child, tt.gone, tt.desired, tt.o, tt.now), tt.want)
		})
	}
}

func withPhase(p spec.Phase, since time.Time) func(*Observed) {
	return func(o *Observed) { o.Phase, o.Since = p, since }
}

func exited(code int, when time.Time, empty bool) func(*Observed) {
	return func(o *Observed) { o.Exited(exitOf(1, code, when), empty, 0) }
}

// process is how the first process of c is shown.
func process(c *spec.Child) *spec.Process {
	return &spec.Process{PID: 1001, Incarnation: 1, StartedAt: epoch, Config: c}
}

func TestForNeverRan(t *testing.T) {
	plain, hooked := newChild(), newChild(prehooked)
	runCases(t, []forCase{
		{"no wish", plain, false, spec.Desired{}, &Observed{}, epoch,
			Plan{Status: spec.Status{Phase: spec.PhaseStopped, Since: epoch}}},
		{"wanted", plain, false, running(1, 1), &Observed{}, epoch,
			Plan{Action: Start{Incarnation: 1}, Status: spec.Status{Phase: spec.PhaseStarting, Since: epoch}}},
		{"wanted with a prehook", hooked, false, running(1, 1), &Observed{}, epoch,
			Plan{Action: RunHook{Prehook, startDB, Ticket{1, 1}}, Status: spec.Status{Phase: spec.PhaseStarting, Since: epoch}}},
		{"wanted, its prehook has run", hooked, false, running(1, 1), &Observed{Prehooked: Ticket{1, 1}}, epoch,
			Plan{Action: Start{Incarnation: 1}, Status: spec.Status{Phase: spec.PhaseStarting, Since: epoch}}},
		{"wanted, its prehook has run for an older wish", hooked, false, running(2, 2), &Observed{Prehooked: Ticket{1, 1}}, epoch,
			Plan{Action: RunHook{Prehook, startDB, Ticket{1, 2}}, Status: spec.Status{Phase: spec.PhaseStarting, Since: epoch}}},
		{"attempted by a server that left no end", plain, false, running(1, 1), &Observed{Attempted: 1, Incarnation: 4}, epoch,
			Plan{Action: Start{Incarnation: 5}, Status: spec.Status{Phase: spec.PhaseStarting, Since: epoch}}},
		{"invalid file, no earlier version", nil, false, running(1, 1), &Observed{}, epoch,
			Plan{Status: spec.Status{Phase: spec.PhaseStopped, Since: epoch, ObservedGeneration: 1,
				Reason: "its file is invalid and there is no earlier version"}}},
		{"file gone, never seen", nil, true, spec.Desired{}, &Observed{}, epoch,
			Plan{Action: Forget{}, Status: spec.Status{Phase: spec.PhaseStopped, Since: epoch}}},
		{"file gone, wish not yet served", plain, true, running(1, 1), &Observed{}, epoch,
			Plan{Action: Start{Incarnation: 1}, Status: spec.Status{Phase: spec.PhaseStarting, Since: epoch}}},
	})
}

func TestForAlive(t *testing.T) {
	c, hooked := newChild(), newChild(prehooked)
	status := func(phase spec.Phase, since time.Time, observed uint64) spec.Status {
		return spec.Status{Phase: phase, Since: since, ObservedGeneration: observed, Starts: 1, Process: process(c)}
	}
	hookedStatus := status(spec.PhaseRunning, at(MinAlive), 1)
	hookedStatus.Process = process(hooked)
	failed := &spec.Failure{Generation: 2, Code: spec.HookFailed, Message: "no db"}
	afterFailure := status(spec.PhaseRunning, at(second), 2)
	afterFailure.Failure, afterFailure.Reason = failed, failed.Message
	afterOldFailure := afterFailure
	afterOldFailure.Reason, afterOldFailure.ObservedGeneration = "", 3
	failedRestart := func(o *Observed) { o.Attempted, o.Failure, o.Phase, o.Since = 2, failed, spec.PhaseRunning, at(second) }
	runCases(t, []forCase{
		{"just launched", c, false, running(1, 1), live(c), at(0),
			Plan{WakeAt: at(MinAlive), Status: status(spec.PhaseStarting, epoch, 1)}},
		{"a moment before it counts as running", c, false, running(1, 1), live(c), at(MinAlive - 1),
			Plan{WakeAt: at(MinAlive), Status: status(spec.PhaseStarting, epoch, 1)}},
		{"lived long enough", c, false, running(1, 1), live(c), at(MinAlive),
			Plan{Status: status(spec.PhaseRunning, at(MinAlive), 1)}},
		{"file gone", c, true, running(1, 1), live(c), at(5 * second),
			Plan{Status: status(spec.PhaseRunning, at(MinAlive), 1)}},
		{"file unknown", nil, false, running(1, 1), live(c), at(5 * second),
			Plan{Status: status(spec.PhaseRunning, at(MinAlive), 1)}},
		{"lived long enough, by a clock that was set back before it began", c, false, running(1, 1), live(c), at(-5 * second),
			Plan{Status: status(spec.PhaseRunning, at(-5*second), 1)}},
		{"restart", c, false, running(2, 2), live(c, settled(1)), at(5 * second),
			Plan{Action: Signal{1, sigterm}, Status: status(spec.PhaseStopping, at(5*second), 1)}},
		{"restart, prehook first", hooked, false, running(2, 2), live(hooked, settled(1)), at(5 * second),
			Plan{Action: RunHook{Prehook, startDB, Ticket{2, 2}}, Status: hookedStatus}},
		{"restart whose prehook failed", c, false, running(2, 2), live(c, failedRestart), at(5 * second),
			Plan{Status: afterFailure}},
		{"a later wish does not show the old failure as its reason", c, false, running(3, 2), live(c, failedRestart), at(5 * second),
			Plan{Status: afterOldFailure}},
		{"unwanted", c, false, unwanted(2, 1), live(c, settled(1)), at(5 * second),
			Plan{Action: Signal{1, sigterm}, Status: status(spec.PhaseStopping, at(5*second), 1)}},
		{"no wish any more", c, false, spec.Desired{Generation: 2, RestartGeneration: 1}, live(c, settled(1)), at(5 * second),
			Plan{Action: Signal{1, sigterm}, Status: status(spec.PhaseStopping, at(5*second), 1)}},
	})
}

func TestForStopping(t *testing.T) {
	c := newChild(func(c *spec.Child) { c.Stop = spec.Stop{Signal: 2, Grace: spec.Duration(3 * second)} })
	edited := newChild(grace(0))
	d := unwanted(2, 1)
	// The grace period of a stop that was signalled at 5 s ends at 8 s.
	signalled := func(o *Observed) { o.Settled = 1; o.Signalled(3*second, at(5*second)) }
	kills := func(n int, pids ...int) func(*Observed) {
		return func(o *Observed) {
			signalled(o)
			for i := range n {
				o.KillSent(pids, at(8*second+time.Duration(i)*second))
			}
		}
	}
	status := func(phase spec.Phase, now time.Time, edit func(*spec.Status)) spec.Status {
		s := spec.Status{Phase: phase, Since: now, ObservedGeneration: 1, Starts: 1, Process: process(c)}
		if edit != nil {
			edit(&s)
		}
		return s
	}
	orphaned := func(s *spec.Status) {
		s.Process, s.LastExit = nil, ref(exitOf(1, 3, at(6*second)))
		s.Reason = "exit 3, processes of its group are still alive"
	}
	const pending = "stop pending: processes are left although SIGKILL was sent"
	hopelessly := func(observed uint64) func(*spec.Status) {
		return func(s *spec.Status) {
			s.ObservedGeneration, s.Reason = observed, pending
			s.Failure = &spec.Failure{Generation: 2, Code: spec.NotStopped, Message: pending}
		}
	}
	stopping := spec.PhaseStopping
	runCases(t, []forCase{
		{"as its file says now", edited, false, d, live(c, settled(1)), at(5 * second),
			Plan{Action: Kill{1}, Status: status(stopping, at(5*second), nil)}},
		{"as its process was configured", nil, false, d, live(c, settled(1)), at(5 * second),
			Plan{Action: Signal{1, 2}, Status: status(stopping, at(5*second), nil)}},
		{"in its grace period", c, false, d, live(c, signalled), at(6 * second),
			Plan{WakeAt: at(8 * second), Status: status(stopping, at(6*second), nil)}},
		{"a stop is not taken back", c, false, running(3, 1), live(c, signalled), at(6 * second),
			Plan{WakeAt: at(8 * second), Status: status(stopping, at(6*second), nil)}},
		{"at the end of its grace period", c, false, d, live(c, signalled), at(8 * second),
			Plan{Action: Kill{1}, Status: status(stopping, at(8*second), nil)}},
		{"killed", c, false, d, live(c, kills(1)), at(8 * second),
			Plan{WakeAt: at(9 * second), Status: status(stopping, at(8*second), nil)}},
		{"killed and still there", c, false, d, live(c, kills(2)), at(10 * second),
			Plan{Action: Kill{1}, Status: status(stopping, at(10*second), nil)}},
		{"hopeless stop is settled as failed", c, false, d, live(c, kills(3)), at(10500 * ms),
			Plan{WakeAt: at(11 * second), Status: status(stopping, at(10500*ms), hopelessly(2))}},
		{"hopeless restart is not settled", c, false, running(2, 2), live(c, kills(3)), at(10500 * ms),
			Plan{WakeAt: at(11 * second), Status: status(stopping, at(10500*ms), hopelessly(1))}},
		{"leader gone, group alive, wanted", c, false, running(1, 1), live(c, settled(1), exited(3, at(6*second), false)), at(6 * second),
			Plan{Action: Signal{1, 2}, Status: status(stopping, at(6*second), orphaned)}},
		{"leader gone in its grace period, group alive", c, false, d, live(c, signalled, exited(3, at(6*second), false)), at(7 * second),
			Plan{WakeAt: at(8 * second), Status: status(stopping, at(7*second), orphaned)}},
		{"ended", c, false, d, live(c, signalled, exited(3, at(6*second), true)), at(6 * second),
			Plan{Status: status(spec.PhaseStopped, at(6*second), func(s *spec.Status) {
				orphaned(s)
				s.Reason, s.ObservedGeneration = "", 2
			})}},
		{"ended after it was killed", c, false, d, live(c, kills(1, 7, 8), exited(3, at(6*second), true)), at(9 * second),
			Plan{Status: status(spec.PhaseStopped, at(9*second), func(s *spec.Status) {
				orphaned(s)
				s.Reason, s.ObservedGeneration = "still alive after its grace period, killed: PIDs 7, 8", 2
			})}},
	})
}

func TestForPosthook(t *testing.T) {
	c, bare := newChild(posthooked), newChild()
	stop, trystart := unwanted(2, 1), running(2, 2)
	stop.Posthook, trystart.Posthook = 2, 2
	dead := func(edits ...func(*Observed)) *Observed { return over(c, 0, at(second), edits...) }
	status := func(phase spec.Phase, observed uint64) spec.Status {
		return spec.Status{Phase: phase, Since: at(5 * second), ObservedGeneration: observed, Starts: 1,
			LastExit: ref(exitOf(1, 0, at(second)))}
	}
	paid := func(o *Observed) { o.Posthooked = 2 }
	failed := func(o *Observed) {
		o.HookStarted(HookRun{Kind: Posthook, Hook: stopProxy, For: Ticket{Generation: 2}})
		o.HookDone(Posthook, Ticket{Generation: 2}, "no proxy", stop, 0, at(3*second))
	}
	withFailure := status(spec.PhaseStopped, 2)
	withFailure.Failure, withFailure.Reason = &spec.Failure{Generation: 2, Code: spec.HookFailed, Message: "no proxy"}, "no proxy"
	run := RunHook{Posthook, stopProxy, Ticket{Generation: 2}}
	now := at(5 * second)
	runCases(t, []forCase{
		{"owed by a stop", c, false, stop, dead(), now, Plan{Action: run, Status: status(spec.PhaseStopping, 1)}},
		{"owed by a trystart, before its start", c, false, trystart, dead(), now,
			Plan{Action: run, Status: status(spec.PhaseStopping, 1)}},
		{"owed and the file is gone", c, true, stop, dead(), now, Plan{Action: run, Status: status(spec.PhaseStopping, 1)}},
		{"owed and none configured", bare, false, stop, dead(), now,
			Plan{Action: SkipPosthook{2}, Status: status(spec.PhaseStopping, 1)}},
		{"paid by a stop", c, false, stop, dead(paid), now, Plan{Status: status(spec.PhaseStopped, 2)}},
		{"paid by a trystart", c, false, trystart, dead(paid), now, Plan{Action: Start{2}, Status: status(spec.PhaseStarting, 1)}},
		{"failed", c, false, stop, dead(failed), now, Plan{Status: withFailure}},
		{"not owed by an end by itself", c, false, running(1, 1), dead(), now, Plan{Status: status(spec.PhaseExited, 1)}},
		{"stopped and its file gone", c, true, stop, dead(paid, settled(2)), now,
			Plan{Action: Forget{}, Status: status(spec.PhaseStopped, 2)}},
	})
}

func TestForDuringHook(t *testing.T) {
	c := newChild(prehooked, posthooked)
	pre := HookRun{Kind: Prehook, Hook: startDB, For: Ticket{1, 1}, Deadline: at(HookTimeout)}
	post := HookRun{Kind: Posthook, Hook: stopProxy, For: Ticket{Generation: 1}, Deadline: at(HookTimeout)}
	during := func(h HookRun) *Observed { return &Observed{Hook: &h} }
	cancelled := pre
	cancelled.Cancelled = true
	status := func(phase spec.Phase, now time.Time, reason string) spec.Status {
		return spec.Status{Phase: phase, Since: now, Reason: reason}
	}
	const preRuns, postRuns = `prehook "start db" is running`, `posthook "stop proxy" is running`
	late := at(HookTimeout)
	runCases(t, []forCase{
		{"prehook", c, false, running(1, 1), during(pre), at(second),
			Plan{WakeAt: late, Status: status(spec.PhaseStarting, at(second), preRuns)}},
		{"prehook of an older wish", c, false, unwanted(2, 1), during(pre), at(second),
			Plan{Action: CancelHook{Prehook}, WakeAt: late, Status: status(spec.PhaseStarting, at(second), preRuns)}},
		{"prehook at its deadline", c, false, running(1, 1), during(pre), late,
			Plan{Action: CancelHook{Prehook}, WakeAt: late, Status: status(spec.PhaseStarting, late, preRuns)}},
		{"prehook cancelled", c, false, unwanted(2, 1), during(cancelled), at(hour),
			Plan{Status: status(spec.PhaseStarting, at(hour), preRuns)}},
		{"posthook", c, false, unwanted(1, 0), during(post), at(second),
			Plan{WakeAt: late, Status: status(spec.PhaseStopping, at(second), postRuns)}},
		{"posthook of an older wish goes on", c, false, running(2, 1), during(post), at(second),
			Plan{WakeAt: late, Status: status(spec.PhaseStopping, at(second), postRuns)}},
		{"posthook at its deadline", c, false, unwanted(1, 0), during(post), late,
			Plan{Action: CancelHook{Posthook}, WakeAt: late, Status: status(spec.PhaseStopping, late, postRuns)}},
		{"file gone", nil, true, running(1, 1), during(pre), at(second),
			Plan{WakeAt: late, Status: status(spec.PhaseStarting, at(second), preRuns)}},
	})
}
