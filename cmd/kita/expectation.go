package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"kita/spec"
)

// expectation is one child that is waited for. It is a function of the views that
// it is shown, one after the other: no clock, no server.
type expectation struct {
	child string
	want  condition
	// verb is the command that was given; empty where nothing was.
	verb spec.Verb
	// generation is the one that the command wrote. Without a command it is that of
	// the view before, so that a restart is noticed.
	generation uint64
	// unchanged: the command found the run of first as it is to be.
	unchanged bool
	// first is the run that is waited for, or the first of those; 0 until it is known.
	first uint64
	// several: it is one of all, where a child that is done is no failure; rests: it
	// was done before the command.
	several, rests bool
	// host is that of the server, in words; empty is this one.
	host string
	// fellows are the children of the same command, itself among them.
	fellows map[string]bool

	// latest is the view that was shown last.
	latest spec.View
	// run is the process that lives, and since when it is known to, by the clock of
	// this host.
	run   uint64
	since time.Time
	done  bool
}

// look takes in how the child stands at now. age is how old its process is at
// least, 0 where that is not known. due is when it will have come to what is waited
// for if nothing changes; zero means that only a change can bring it. The error
// says that it cannot come any more.
func (e *expectation) look(v spec.View, now time.Time, age time.Duration) (due time.Time, failure *spec.Refusal) {
	e.latest = v
	if p := v.Status.Process; p == nil {
		e.run = 0
	} else if p.Incarnation != e.run {
		e.run, e.since = p.Incarnation, now
	}
	if e.run != 0 {
		if born := now.Add(-age); age > 0 && born.Before(e.since) {
			e.since = born
		}
	}
	if waits, failure := e.settle(v); waits || failure != nil {
		return due, failure
	}
	switch e.want.aim {
	case aimWell:
		e.done, failure = fares(e.child, v.Status)
	case aimStopped:
		e.done = isAtRest(v) && v.Status.Process == nil
	case aimExited:
		failure = e.lookForEnd(v)
	default:
		due, failure = e.lookForLife(v, now)
	}
	return due, failure
}

// settle tells whether what was commanded is still to be done, or why it will not
// be. It learns which run is meant.
func (e *expectation) settle(v spec.View) (waits bool, failure *spec.Refusal) {
	s, settled := v.Status, v.Status.ObservedGeneration >= v.Desired.Generation
	if e.continues(v.Desired) {
		// What the hook makes of it is what the command makes of it.
		e.generation, e.first, e.unchanged = v.Desired.Generation, 0, false
	}
	if e.verb == "" {
		if v.Desired.Generation != e.generation {
			// Another command: what its run does counts.
			e.generation, e.first = v.Desired.Generation, 0
		}
		waits = !settled && v.Desired.Run == spec.Running && e.want.aim != aimStopped
	} else {
		switch f := s.Failure; {
		case v.Desired.Generation > e.generation:
			return false, e.refuse(spec.Superseded, "%s %s: another command came after it: %s", e.verb, e.child, wishText(v.Desired, e.host))
		case v.Desired.Run == "" && s.Phase == spec.PhaseStopped:
			return false, e.refuse(spec.Superseded, "%s %s: the server was ended with its children, or its host booted: nobody has asked for it since", e.verb, e.child)
		case s.ObservedGeneration < e.generation:
			return true, nil
		case s.Phase == spec.PhaseStopping && s.Process != nil, s.Phase == spec.PhaseStopped:
			return false, e.refuse(spec.Superseded, "%s %s: %s", e.verb, e.child, stopText(v.Desired, e.host))
		case f != nil && f.Generation == e.generation && !e.unchanged && e.want.aim != aimWell:
			return false, e.refuse(f.Code, "cannot %s %s: %s", e.verb, e.child, f.Message)
		case s.Phase == spec.PhaseStopping:
			// Its leader has ended. Whether that was asked for is seen when it is at rest.
			return true, nil
		}
	}
	if e.first == 0 && !waits {
		e.first = latestRun(s)
		if e.verb != "" {
			e.first -= min(e.first, s.Restarts)
		}
	}
	return waits, nil
}

// continues tells whether a hook of a child of the same command has wished since that
// it runs.
func (e *expectation) continues(d spec.Desired) bool {
	if e.verb == "" || d.Generation <= e.generation || d.Cause != spec.CauseHook || d.Run != spec.Running {
		return false
	}
	_, fellow, _ := strings.Cut(d.By, "hook of ")
	return e.fellows[fellow]
}

// lookForLife is for running and stable.
func (e *expectation) lookForLife(v spec.View, now time.Time) (due time.Time, failure *spec.Refusal) {
	s := v.Status
	alive := s.Process != nil && (s.Phase == spec.PhaseStarting || s.Phase == spec.PhaseRunning)
	switch {
	case e.verb != "" && latestRun(s) != e.first:
		return due, e.ended(e.first)
	case alive && e.want.aim == aimRunning:
		e.done = s.Phase == spec.PhaseRunning
		return due, nil
	case alive:
		due = e.since.Add(e.want.length)
		e.done = !now.Before(due)
		return due, nil
	case e.verb != "":
		if s.Phase == spec.PhaseExited && (e.several || e.rests) {
			e.done = true
			return due, nil
		}
		return due, e.ended(e.first)
	case !isAtRest(v):
		return due, nil
	case s.Phase == spec.PhaseExited && e.several:
		e.done = true
		return due, nil
	case s.Phase == spec.PhaseStopped:
		return due, e.refuse(spec.NotRunning, "%s does not run, and nothing is going to start it: %s", e.child, stopText(v.Desired, e.host))
	}
	return due, e.ended(latestRun(s))
}

// lookForEnd is for exited. An end that is not the one waited for is waited out
// where the restart policy starts the child again.
func (e *expectation) lookForEnd(v spec.View) *spec.Refusal {
	s := v.Status
	if s.Phase == spec.PhaseStopping {
		// Whether that is by the end of the server is seen when it is at rest.
		return nil
	}
	if v.Desired.Run != spec.Running || s.Phase == spec.PhaseStopped {
		// How it ends now is the doing of who stopped it.
		if !isAtRest(v) {
			return nil
		}
		if latestRun(s) == 0 {
			return e.refuse(spec.NotRunning, "%s has never run, and nothing is going to start it: %s", e.child, wishText(v.Desired, e.host))
		}
		return e.refuse(spec.Superseded, "%s was stopped before it had ended by itself: %s", e.child, stopText(v.Desired, e.host))
	}
	for _, exit := range exits(s) {
		if exit.Incarnation >= e.first && e.isWanted(exit) {
			// It is told with this end, whatever came after.
			e.latest.Status.LastExit = &exit
			e.done = true
			return nil
		}
	}
	if !isAtRest(v) {
		return nil
	}
	return e.ended(latestRun(s))
}

func (e *expectation) isWanted(exit spec.Exit) bool {
	if e.want.code != nil {
		return exit.Known && exit.Signal == 0 && exit.Code == *e.want.code
	}
	var restart spec.Restart
	if e.latest.Spec != nil {
		restart = e.latest.Spec.Restart
	}
	return restart.IsSuccess(exit)
}

// ended is the failure of a run that has ended, or has never begun.
func (e *expectation) ended(run uint64) *spec.Refusal {
	s := e.latest.Status
	how, instead := cmp.Or(s.Reason, "it is "+phaseText(s.Phase)), ""
	for _, exit := range exits(s) {
		if exit.Incarnation == run {
			how = exitText(exit)
			if e.want.code != nil {
				instead = fmt.Sprintf(", and not exit %d", *e.want.code)
			}
		}
	}
	what := "has ended"
	switch {
	case e.verb == "" && couldNotStart(s):
		what, how = "could not be started", s.Reason
	case e.unchanged:
		what = "was unchanged, and has ended since"
	case e.verb != "":
		what = "was started, and has ended since"
	}
	text := fmt.Sprintf("%s %s: %s", e.child, what, how) + instead
	switch {
	case s.Phase == spec.PhaseExited && e.want.aim != aimExited:
		text += "; for one that is to end, wait for exited"
	case s.Reason != "" && s.Reason != how && s.Phase == spec.PhaseFailed:
		text += " (" + s.Reason + ")"
	}
	refusal := e.refuse(spec.ChildFailed, "%s", text)
	refusal.LastLines = s.LastLines
	return refusal
}

// couldNotStart: the latest attempt did not even get a process.
func couldNotStart(s spec.Status) bool {
	if s.Reason == "" || s.Phase != spec.PhaseFailed && s.Phase != spec.PhaseBackOff {
		return false
	}
	return s.LastExit == nil || s.Failure != nil && !strings.HasSuffix(s.Reason, s.LastExit.String()) &&
		(s.Failure.Code == spec.CannotStart || s.Failure.Code == spec.HookFailed)
}

// late is the failure of a child that has not come so far in time.
func (e *expectation) late(timeout time.Duration) *spec.Refusal {
	refusal := e.refuse(spec.TimedOut, "%s: waited %v for %v, %s", e.child, timeout, e.want, e.standing())
	refusal.LastLines = e.latest.Status.LastLines
	return refusal
}

// standing says how it was seen last.
func (e *expectation) standing() string {
	s := e.latest.Status
	switch {
	case s.Phase == "":
		return "nothing is known of it yet"
	case s.Reason != "":
		return "it is " + phaseText(s.Phase) + ": " + s.Reason
	}
	return "it is " + phaseText(s.Phase)
}

// cutShort is what is said of it where the wait is ended by cause.
func (e *expectation) cutShort(cause error) error {
	return fmt.Errorf("%s: %w before %s, %s", e.child, cause, e.want.comeText(), e.standing())
}

// gone is what becomes of it when there is no such child any more.
func (e *expectation) gone() *spec.Refusal {
	if e.want.aim == aimStopped && e.latest.Name != "" {
		e.done = true
		return nil
	}
	return e.refuse(spec.NotFound, "%s has been forgotten: its file is gone, and it does not run", e.child)
}

func (e *expectation) refuse(code spec.Code, format string, args ...any) *spec.Refusal {
	return spec.Refuse(code, e.verb, e.child, format, args...)
}

// isAtRest: nothing is alive, and nothing is going to start it but a command.
func isAtRest(v spec.View) bool {
	s := v.Status
	switch s.Phase {
	case spec.PhaseStopped, spec.PhaseExited, spec.PhaseFailed:
		return s.ObservedGeneration >= v.Desired.Generation && s.RepeatAt == nil
	}
	return false
}

// latestRun is the incarnation that lives, or was the last; 0 where none was.
func latestRun(s spec.Status) uint64 {
	switch {
	case s.Process != nil:
		return s.Process.Incarnation
	case s.LastExit != nil:
		return s.LastExit.Incarnation
	}
	return 0
}

// exits are those that are remembered, oldest first.
func exits(s spec.Status) []spec.Exit {
	if len(s.History) == 0 && s.LastExit != nil {
		return []spec.Exit{*s.LastExit}
	}
	return s.History
}

// stopText says why a child is stopped. What is wanted to run is so by the end of
// the server alone.
func stopText(d spec.Desired, host string) string {
	if d.Run == spec.Running {
		return "the server stops all its children"
	}
	return wishText(d, host)
}

// wishText says what is wanted of a child, and who says so.
func wishText(d spec.Desired, host string) string {
	if d.Run == "" {
		return "nobody has asked for it"
	}
	text := "it is to be " + string(d.Run)
	if d.By != "" {
		text += ", by " + spec.Who(d.By, host)
	}
	return text
}
