package plan

import (
	"slices"
	"time"

	"kita/spec"
)

// remembered is how many exits the history of a child has.
const remembered = 16

// Every method below folds one fact, or the effect of one action, into the
// observed state. Those that can come late say in their result whether they
// were taken: false means that they belong to another incarnation, or tell what
// is known already, and changed nothing.

// PassedOver records why the startup mode did not start the child; false where
// somebody has asked for something since.
func (o *Observed) PassedOver(f spec.Failure, d spec.Desired) bool {
	if d.Run != "" || d.Generation != f.Generation {
		return false
	}
	o.Failure = &f
	return true
}

// Restored takes away what was true of the server that saved it alone: what its
// mode passed over, the one of the next has still to look at.
func (o *Observed) Restored() {
	if o.Failure.IsOfFile() {
		o.Failure = nil
	}
}

// Launching records that a launch is about to begin.
func (o *Observed) Launching(incarnation uint64) { o.Reserved = incarnation }

// LaunchLost records that nothing is known of what came of a launch: its server
// died, and nobody saw an end. Whether there was a process is not known either.
// What asked for it has not been done.
func (o *Observed) LaunchLost(jitter float64, now time.Time) {
	exit := spec.Exit{Incarnation: o.Reserved, At: now}
	o.Incarnation, o.Reserved, o.StartTicks = o.Reserved, 0, 0
	o.Starts++
	o.LastExit, o.LastLines = &exit, nil
	o.remember(exit)
	o.Failures++
	o.End = &End{At: now, Jitter: jitter}
}

// remember adds an exit to the history. A new slice each time: a Clone may have
// the old one.
func (o *Observed) remember(e spec.Exit) {
	o.History = append(slices.Clone(o.History[max(0, len(o.History)-remembered+1):]), e)
}

// Launched records that the process of a start lives.
func (o *Observed) Launched(l spec.Launch, config *spec.Child, d spec.Desired, now time.Time) {
	// A failure of this generation that is known before its first attempt is
	// that of the posthook of a trystart: its command has still to hear of it.
	first := d.RestartGeneration > o.Attempted
	if f := o.Failure; f != nil && !(first && f.Generation == d.Generation) {
		o.Failure = nil
	}
	o.startAttempt(d, config, now)
	o.Reserved = 0
	if !first {
		o.Restarts++
	}
	o.Incarnation, o.StartTicks = l.Identity.Incarnation, l.Identity.StartTicks
	o.Process = &Process{Launch: l, Config: config, StartedAt: now}
	o.End = nil
	o.Starts++
	o.Repeat = nil
	if config.Repeat != nil {
		every := config.Repeat.Every
		o.Repeat = &Repeat{Action: config.Repeat.Action, At: now.Add(every.D()), Every: every}
	}
}

// LaunchFailed records that a start made no process. It counts as a run that
// ended at once.
func (o *Observed) LaunchFailed(message string, config *spec.Child, d spec.Desired, jitter float64, now time.Time) {
	o.startAttempt(d, config, now)
	if o.Reserved > 0 {
		o.Reserved-- // this number is free; those below it may have been used
	}
	o.failedAttempt(spec.CannotStart, message, d.Generation, jitter, now)
}

// startAttempt counts a start, whatever comes of it.
func (o *Observed) startAttempt(d spec.Desired, config *spec.Child, now time.Time) {
	o.commanded(d)
	if n := config.Restart.Limit.Starts; n > 0 {
		o.Window = append(slices.Clone(o.Window), now)
		o.Window = o.Window[max(0, len(o.Window)-n):]
	}
	o.Prehooked = Ticket{}
	o.LastLines, o.OutputFaults = nil, nil
}

// commanded begins a new count of failures at the first attempt of a command.
// The repeat of the run before is void: that run was stopped or replaced.
func (o *Observed) commanded(d spec.Desired) {
	if d.RestartGeneration > o.Attempted {
		o.Attempted = d.RestartGeneration
		o.Restarts, o.Failures, o.Window, o.Repeat = 0, 0, nil, nil
	}
}

func (o *Observed) failedAttempt(code spec.Code, message string, generation uint64, jitter float64, now time.Time) {
	o.End = &End{At: now, LaunchError: message, Jitter: jitter}
	o.Failures++
	o.Failure = &spec.Failure{Generation: generation, Code: code, Message: message}
}

// Exited records the end of the leader. empty says that nothing of its group is
// left.
func (o *Observed) Exited(e spec.Exit, empty bool, jitter float64) bool {
	if o.Process == nil || o.Incarnation != e.Incarnation || o.Process.Exit != nil {
		return false
	}
	o.LastExit = &e
	o.Process.Exit = &e
	o.remember(e)
	backoff := o.Process.Config.Restart.Backoff
	if e.At.Sub(o.Process.StartedAt) >= backoff.Max.D() {
		o.Failures = 0
	}
	o.Failures++
	o.End = &End{At: e.At, Asked: o.Process.Stop != nil, Hash: o.Process.Config.Hash, Jitter: jitter}
	if empty {
		o.emptied()
	}
	return true
}

// Wrote records the last lines of a run that ended, before its end or after it.
func (o *Observed) Wrote(last spec.LastLines) bool {
	if o.Incarnation == 0 || o.Incarnation != last.Incarnation || o.LastLines != nil {
		return false
	}
	o.LastLines = &last
	return true
}

// OutputFault records what is wrong with the output files of a run now; no lines
// mean that nothing is.
func (o *Observed) OutputFault(incarnation uint64, lines []string) bool {
	if o.Process == nil || o.Incarnation != incarnation || slices.Equal(o.OutputFaults, lines) {
		return false
	}
	o.OutputFaults = slices.Clone(lines)
	return true
}

// Emptied records that the last of the group has ended, after the leader.
func (o *Observed) Emptied(incarnation uint64) bool {
	if o.Process == nil || o.Incarnation != incarnation || o.Process.Exit == nil {
		return false
	}
	o.emptied()
	return true
}

func (o *Observed) emptied() { o.Process, o.OutputFaults = nil, nil }

// Strayed records processes that nothing tells from those of other runs, or, if
// they are only suspected, from what is of no run. It comes before the end of the
// run.
func (o *Observed) Strayed(incarnation uint64, pids []int, suspected bool) bool {
	if o.Process == nil || o.Incarnation != incarnation {
		return false
	}
	o.Strays = &Strays{Members: Members{Incarnation: incarnation, PIDs: pids}, Suspected: suspected}
	return true
}

// Signalled records that the group was asked to end.
func (o *Observed) Signalled(grace time.Duration, now time.Time) {
	o.Process.Stop = &Stop{SignalledAt: now, KillAt: now.Add(grace)}
}

// KillSent records a SIGKILL to the group and whom it met.
func (o *Observed) KillSent(pids []int, now time.Time) {
	if o.Process.Stop == nil {
		// Without a grace period nobody was asked, so nobody outlived it.
		o.Process.Stop, pids = &Stop{SignalledAt: now}, nil
	}
	s := o.Process.Stop
	s.Kills++
	s.KillAt = now.Add(rekill)
	if s.Kills == 1 {
		o.Killed = &Members{Incarnation: o.Incarnation, PIDs: pids}
	}
}

// HookStarted records a hook in flight.
func (o *Observed) HookStarted(h HookRun) { o.Hook = &h }

// HookCancelled records that the hook in flight was told to give up.
func (o *Observed) HookCancelled() { o.Hook.Cancelled = true }

// HookDone records the end of a hook; message is empty when it succeeded.
func (o *Observed) HookDone(kind HookKind, ticket Ticket, message string, d spec.Desired, jitter float64, now time.Time) bool {
	if o.Hook == nil || o.Hook.Kind != kind || o.Hook.For != ticket {
		return false
	}
	o.Hook = nil
	switch {
	case kind == Posthook:
		o.Posthooked = ticket.Generation
		if message != "" {
			o.Failure = &spec.Failure{Generation: ticket.Generation, Code: spec.HookFailed, Message: message}
		}
	case message == "":
		o.Prehooked = ticket
	case d.Generation != ticket.Generation:
		// It failed for a request that a newer one has replaced.
	case o.Process != nil:
		// A restart whose prehook failed: the old process goes on.
		o.Attempted = d.RestartGeneration
		o.Failure = &spec.Failure{Generation: ticket.Generation, Code: spec.HookFailed, Message: message}
	default:
		o.commanded(d)
		o.failedAttempt(spec.HookFailed, message, ticket.Generation, jitter, now)
	}
	return true
}

// PosthookSkipped records that no posthook is to be run for generation.
func (o *Observed) PosthookSkipped(generation uint64) { o.Posthooked = generation }

// RepeatTaken records that the pending repeat action has been carried out.
func (o *Observed) RepeatTaken() { o.Repeat = nil }

// RepeatAgain arms the repeat action once more after it was refused.
func (o *Observed) RepeatAgain(r Repeat, incarnation uint64) bool {
	if o.Incarnation != incarnation || o.Repeat != nil {
		return false
	}
	o.Repeat = &r
	return true
}

// Published records the status that was computed and shown.
func (o *Observed) Published(s spec.Status) {
	o.Phase, o.Since, o.Settled = s.Phase, s.Since, s.ObservedGeneration
}
