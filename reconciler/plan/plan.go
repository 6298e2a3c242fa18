package plan

import (
	"fmt"
	"math"
	"time"

	"kita/spec"
)

const (
	// MinAlive is how long a process must live to count as Running instead of
	// Starting (supervisord's startsecs and its default).
	MinAlive = time.Second
	// HookTimeout is how long a hook may take before it counts as failed.
	HookTimeout = 2 * time.Minute
	// rekill is the time between one SIGKILL and the next to a group that is
	// still not empty: a process in state D dies when it leaves the kernel, and
	// one that forks may have escaped the last one.
	rekill = time.Second
	// hopeless is how many SIGKILLs a command waits for before it is told that
	// something is left.
	hopeless = 3
)

// Plan is what one pass is to do.
type Plan struct {
	// Action is nil when there is nothing to do now.
	Action Action
	// WakeAt is when to look again if nothing happens; zero means never.
	WakeAt time.Time
	Status spec.Status
}

// decision is a Plan before its status is complete.
type decision struct {
	action Action
	wake   time.Time
	phase  spec.Phase
	reason string
	// settled: nothing is left to do of the desired generation.
	settled bool
	failure *spec.Failure
	next    *time.Time
}

// For decides what to do about one child. child is the last good version of its
// file, nil when there never was one; what still lives is then stopped as the
// configuration of its process says. gone says that the file no longer exists.
// observed is not changed.
func For(child *spec.Child, gone bool, desired spec.Desired, observed *Observed, now time.Time) Plan {
	var d decision
	switch {
	case observed.Hook != nil:
		d = duringHook(desired, observed, now)
	case observed.Process != nil:
		d = alive(child, desired, observed, now)
	default:
		d = dead(child, gone, desired, observed, now)
	}
	return Plan{Action: d.action, WakeAt: d.wake, Status: d.status(child, desired, observed, now)}
}

// duringHook waits for the hook in flight, or makes it give up: a prehook when
// a newer generation asks for something else, either kind at its deadline.
func duringHook(desired spec.Desired, o *Observed, now time.Time) decision {
	h := o.Hook
	d := decision{wake: h.Deadline, reason: fmt.Sprintf("%s %q is running", h.Kind, h.Hook)}
	switch {
	case o.Process != nil && (o.Process.Stop != nil || o.Process.Exit != nil):
		d.phase = spec.PhaseStopping
	case o.Process != nil:
		d.phase = lifePhase(o.Process, now)
	case h.Kind == Prehook:
		d.phase = spec.PhaseStarting
	default:
		d.phase = spec.PhaseStopping
	}
	superseded := h.Kind == Prehook && h.For.Generation != desired.Generation
	if (superseded || !now.Before(h.Deadline)) && !h.Cancelled {
		d.action = CancelHook{Kind: h.Kind}
	}
	if h.Cancelled {
		d.wake = time.Time{}
	}
	return d
}

// alive decides while anything of the latest process is left.
func alive(child *spec.Child, desired spec.Desired, o *Observed, now time.Time) decision {
	p := o.Process
	restart := desired.RestartGeneration > o.Attempted
	switch {
	case p.Stop != nil, p.Exit != nil, desired.Run != spec.Running:
		return stop(child, desired, o, now)
	case restart && child != nil && child.Prehook != nil && o.Prehooked != o.next(desired.Generation):
		return prehook(child, desired, o, now)
	case restart:
		return stop(child, desired, o, now)
	}
	d := decision{phase: lifePhase(p, now), settled: true}
	if d.phase == spec.PhaseStarting {
		d.wake = p.StartedAt.Add(MinAlive)
	}
	return d.repeat(desired, o, now)
}

// lifePhase tells a process that has just begun from one that runs.
func lifePhase(p *Process, now time.Time) spec.Phase {
	// An age below zero is a clock that was set back, not a young process.
	if age := now.Sub(p.StartedAt); age >= 0 && age < MinAlive {
		return spec.PhaseStarting
	}
	return spec.PhaseRunning
}

// stop ends what is left of the process: its signal and CONT, then KILL at the
// end of the grace period, and again until the group is empty.
func stop(child *spec.Child, desired spec.Desired, o *Observed, now time.Time) decision {
	p := o.Process
	d := decision{phase: spec.PhaseStopping}
	how := p.Config.Stop
	if child != nil {
		how = child.Stop
	}
	switch {
	case p.Stop == nil && how.Grace == 0:
		d.action = Kill{Incarnation: o.Incarnation}
	case p.Stop == nil, p.Stop.Kills == 0 && clockSetBack(p.Stop.KillAt, p.Stop.KillAt.Sub(p.Stop.SignalledAt), now):
		// Asked once more after such a jump, it has its whole grace again.
		d.action = Signal{Incarnation: o.Incarnation, Signal: how.Signal}
	case !now.Before(p.Stop.KillAt), p.Stop.Kills > 0 && clockSetBack(p.Stop.KillAt, rekill, now):
		d.action = Kill{Incarnation: o.Incarnation}
	default:
		d.wake = p.Stop.KillAt
	}
	if p.Exit != nil {
		d.reason = fmt.Sprintf("%v, processes of its group are still alive", p.Exit)
	}
	if p.Stop != nil && p.Stop.Kills >= hopeless {
		d.reason = "stop pending: processes are left although SIGKILL was sent"
		d.settled = desired.Run != spec.Running && d.action == nil
		d.failure = &spec.Failure{Generation: desired.Generation, Code: spec.NotStopped, Message: d.reason}
	}
	return d
}

// dead decides when nothing of the latest process is left.
func dead(child *spec.Child, gone bool, desired spec.Desired, o *Observed, now time.Time) decision {
	switch {
	case gone && (child == nil || o.Settled == desired.Generation):
		return decision{action: Forget{}, phase: spec.PhaseStopped, settled: true}
	case desired.Posthook > o.Posthooked && (child == nil || child.Posthook == nil):
		return decision{action: SkipPosthook{Generation: desired.Posthook}, phase: spec.PhaseStopping}
	case child == nil:
		return decision{phase: spec.PhaseStopped, reason: "its file is invalid and there is no earlier version", settled: true}
	case desired.Posthook > o.Posthooked:
		return decision{phase: spec.PhaseStopping,
			action: RunHook{Kind: Posthook, Hook: *child.Posthook, For: Ticket{Generation: desired.Posthook}}}
	case desired.Run != spec.Running:
		return stopped(desired, o)
	case desired.RestartGeneration > o.Attempted:
		return start(child, desired, o, now)
	case o.End == nil:
		// Wanted and attempted by a former server that left no record of an end.
		return start(child, desired, o, now)
	}
	return ended(child, desired, o, now)
}

func stopped(desired spec.Desired, o *Observed) decision {
	d := decision{phase: spec.PhaseStopped, settled: true, reason: o.KilledNote(o.Incarnation)}
	if note := o.strayNote(o.Incarnation); note != "" && !o.Strays.Suspected {
		d.failure = &spec.Failure{Generation: desired.Generation, Code: spec.NotStopped, Message: note}
	}
	return d
}

// start runs the prehook if there is one and it has not been run for this very
// start, then launches.
func start(child *spec.Child, desired spec.Desired, o *Observed, now time.Time) decision {
	if child.Prehook != nil && o.Prehooked != o.next(desired.Generation) {
		return prehook(child, desired, o, now)
	}
	return decision{phase: spec.PhaseStarting, action: Start{Incarnation: o.next(desired.Generation).Incarnation}}
}

func prehook(child *spec.Child, desired spec.Desired, o *Observed, now time.Time) decision {
	d := decision{phase: spec.PhaseStarting,
		action: RunHook{Kind: Prehook, Hook: *child.Prehook, For: o.next(desired.Generation)}}
	if o.Process != nil {
		d.phase = lifePhase(o.Process, now)
	}
	return d
}

// ended decides about a child that is wanted and has ended by itself, or could
// not be launched: leave it, wait for its back-off, or start it.
func ended(child *spec.Child, desired spec.Desired, o *Observed, now time.Time) decision {
	d := decision{settled: true}
	success := false
	if o.End.LaunchError != "" {
		d.reason = o.End.LaunchError
	} else if o.LastExit != nil {
		success = child.Restart.IsSuccess(*o.LastExit)
		d.reason = o.LastExit.String()
	}
	d.phase = spec.PhaseFailed
	if success {
		d.phase, d.reason = spec.PhaseExited, ""
	}
	policy := child.Restart.Policy
	switch {
	case policy == spec.Never, policy == spec.OnFailure && success:
		return d.repeat(desired, o, now)
	case limited(child.Restart.Limit, o):
		d.phase = spec.PhaseFailed
		l := child.Restart.Limit
		d.reason = fmt.Sprintf("start limit reached, %d starts within %v: %s", l.Starts, l.Within, o.lastWords())
		return d.repeat(desired, o, now)
	}
	wait := delay(child.Restart.Backoff, o.Failures, o.End.Jitter)
	at := o.End.At.Add(wait)
	if now.Before(at) && !clockSetBack(at, wait, now) {
		d.phase, d.wake, d.next = spec.PhaseBackOff, at, &at
		d.reason = o.lastWords()
		return d.repeat(desired, o, now)
	}
	d = start(child, desired, o, now)
	// What the command asked for was done; it is the policy that starts it now.
	d.settled = true
	return d
}

// lastWords is how the latest attempt ended, in words.
func (o *Observed) lastWords() string {
	if o.End != nil && o.End.LaunchError != "" {
		return o.End.LaunchError
	}
	if o.LastExit != nil {
		return o.LastExit.String()
	}
	return ""
}

// repeat adds the pending repeat action to a decision that has no action.
func (d decision) repeat(desired spec.Desired, o *Observed, now time.Time) decision {
	if o.Repeat == nil || desired.Run != spec.Running || desired.RestartGeneration != o.Attempted {
		return d
	}
	if now.Before(o.Repeat.At) && !(o.Repeat.Every > 0 && clockSetBack(o.Repeat.At, o.Repeat.Every.D(), now)) {
		if d.wake.IsZero() || o.Repeat.At.Before(d.wake) {
			d.wake = o.Repeat.At
		}
		return d
	}
	d.action, d.settled = Trigger{Incarnation: o.Incarnation, Verb: o.Repeat.Action}, false
	return d
}

// limited tells whether the start limit was reached when the latest attempt
// ended. It looks at that moment, not at now, so that the passing of time does
// not lift it: a command does.
func limited(l spec.StartLimit, o *Observed) bool {
	if l.Starts == 0 || len(o.Window) < l.Starts {
		return false
	}
	span := o.End.At.Sub(o.Window[len(o.Window)-l.Starts])
	// A start after the end is from before the clock was set back.
	return span >= 0 && span < l.Within.D()
}

// clockSetBack tells whether a deadline that was set wait ahead now lies so far
// ahead that the clock must have been set back since. It is then taken as due:
// nobody knows how much of the wait has passed, and to compute it anew at each
// pass would put it off for ever. Up to twice the wait it just comes late.
func clockSetBack(deadline time.Time, wait time.Duration, now time.Time) bool {
	return deadline.Sub(now)/2 > wait
}

// delay is the back-off after failures ends in a row: initial, growing by
// factor, at most max, plus up to a tenth of jitter (Pebble's scheme).
func delay(b spec.Backoff, failures int, jitter float64) time.Duration {
	d := float64(b.Initial) * math.Pow(b.Factor, float64(max(failures, 1)-1))
	d = min(d, float64(b.Max))
	return time.Duration(d * (1 + jitter/10))
}
