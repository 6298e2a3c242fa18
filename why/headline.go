package why

import (
	"fmt"
	"strings"
	"time"

	"kita/spec"
)

// headline answers in one sentence, which goes on after the child's name.
func (q Question) headline() string {
	v := q.View
	if q.IsGone {
		return q.gone()
	}
	switch v.Status.Phase {
	case spec.PhaseStopped:
		return q.stopped()
	case spec.PhaseStarting:
		return q.starting()
	case spec.PhaseRunning:
		return q.running()
	case spec.PhaseStopping:
		return q.stopping()
	case spec.PhaseBackOff:
		return q.backOff()
	case spec.PhaseExited:
		return q.exited()
	case spec.PhaseFailed:
		return q.failed()
	}
	return "is " + string(v.Status.Phase)
}

func (q Question) gone() string {
	text := "is no child any more"
	if e := latest(q.Events, func(e spec.Event) bool { return e.Type == spec.EventConfig && e.Config == spec.ConfigGone }); e != nil {
		return text + ": its file was gone at " + moment(e.At, q.Now)
	}
	if e := latest(q.Events, ofType(spec.EventForgotten)); e != nil {
		return text + ": it was forgotten at " + moment(e.At, q.Now) + ", its file being gone"
	}
	return text + ", why is not known"
}

// stopped: not alive and not to be.
func (q Question) stopped() string {
	v := q.View
	d := v.Desired
	switch {
	case v.Spec == nil && v.FileError != "":
		return "cannot be started: " + q.brokenFile() + "; there is no earlier version"
	case d.Run == spec.Stopped:
		text := fmt.Sprintf("is stopped: %s at %s", asked(spec.VerbStop, d.By, q.Host), moment(d.At, q.Now))
		if d.At.IsZero() {
			text = "is stopped: " + asked(spec.VerbStop, d.By, q.Host)
		}
		if v.Status.Reason != "" {
			text += "; " + q.hookReason(v.Status.Reason)
		}
		return text + q.besides()
	case d.Run == "" && v.Status.Failure.IsOfFile():
		text := "was never started"
		if v.Status.Starts > 0 {
			text = q.unasked()
		}
		return text + ": " + spec.FirstLine(v.Status.Failure.Message) + q.besides()
	case d.Run == "" && v.Status.Starts == 0 && latest(q.Events, ofType(spec.EventStarted)) == nil:
		return "was never started" + q.modeSays() + q.besides()
	case d.Run == "":
		return q.unasked() + q.modeSays() + q.besides()
	}
	if v.Spec == nil || d.Run != spec.Running {
		return strings.TrimSuffix("is stopped: "+v.Status.Reason, ": ") + q.besides()
	}
	// No wish says so.
	text := "is stopped: the server stops all its children"
	if e := q.stoppedWithServer(); e != nil {
		text += ", this one at " + moment(e.At, q.Now)
	}
	if v.Status.Reason != "" {
		text += "; " + v.Status.Reason
	}
	return text + q.besides()
}

// stoppedWithServer is where the latest run was asked to end because the server was,
// nil where it was not.
func (q Question) stoppedWithServer() *spec.Event {
	e := latest(q.Events, ofType(spec.EventStopping))
	if e == nil || e.Cause != "" || !e.At.After(q.startOfLatest()) {
		return nil
	}
	// What its leader left behind is stopped, too.
	if end := latest(q.Events, ofType(spec.EventExited)); end != nil && end.Seq < e.Seq && end.Incarnation == e.Incarnation {
		return nil
	}
	return e
}

// unasked is that nobody has started a child since an end that nobody asked it for.
func (q Question) unasked() string {
	if e := q.forgotten(); e != nil {
		return "has not been started since its file was gone, it was forgotten at " + moment(e.At, q.Now)
	}
	if e := q.stoppedWithServer(); e != nil {
		return "was stopped with the server at " + moment(e.At, q.Now) + " and not started since"
	}
	return "has not been started since the host booted or the server was ended with its children"
}

// forgotten is where the child was, behind the start of its latest run.
func (q Question) forgotten() *spec.Event {
	e, start := latest(q.Events, ofType(spec.EventForgotten)), latest(q.Events, ofType(spec.EventStarted))
	if e == nil || start != nil && start.Seq > e.Seq {
		return nil
	}
	return e
}

// modeSays is what the startup mode has to do with a child that nobody started.
func (q Question) modeSays() string {
	switch q.Mode {
	case spec.Quiet:
		return ": mode quiet starts nothing"
	case spec.Half:
		return ": mode half starts what `startup` of server.yml names"
	case spec.Full:
		if e := latest(q.Events, func(e spec.Event) bool { return e.Type == spec.EventConfig && e.Config == spec.ConfigNew }); e != nil {
			return ": mode full starts what is there when the server starts, and its file was new at " + moment(e.At, q.Now)
		}
		return ": mode full starts what is there, and legal, when the server starts"
	}
	return ", nobody has asked for it"
}

func (q Question) starting() string {
	v := q.View
	if p := v.Status.Process; p != nil {
		return fmt.Sprintf("is starting, PID %d since %s: %s", p.PID, Ago(q.Now.Sub(p.StartedAt)), q.startedBy()) + q.besides()
	}
	if h, kind := hookOf(v); h != nil {
		return fmt.Sprintf("is waiting for its %s %v since %s%s", kind, *h, q.phaseAge(), q.hooked())
	}
	return "is starting: " + q.startedBy() + q.besides()
}

func (q Question) running() string {
	s := q.View.Status
	if s.Process == nil {
		return "is running"
	}
	text := fmt.Sprintf("is running since %s, PID %d: %s", moment(s.Process.StartedAt, q.Now), s.Process.PID, q.startedBy())
	if s.Reason != "" && !s.FailureIsReason() {
		// A restart that waits for its prehook, say.
		text += "; " + q.hookReason(s.Reason)
	}
	return text + q.besides()
}

func (q Question) stopping() string {
	v := q.View
	s := v.Status
	text := "is stopping since " + q.phaseAge()
	if h, kind := hookOf(v); h != nil && s.Process == nil {
		return fmt.Sprintf("is waiting for its %s %v since %s%s", kind, *h, q.phaseAge(), q.hooked())
	}
	d := v.Desired
	switch {
	case d.Run == spec.Stopped:
		text += ", " + asked(spec.VerbStop, d.By, q.Host)
	case d.Run == spec.Running && s.ObservedGeneration < d.Generation:
		text += ", to be " + asked(spec.VerbRestart, d.By, q.Host)
	case s.Reason == "":
		if e := latest(q.Events, ofType(spec.EventStopping)); e != nil && e.Message != "" && e.At.After(q.startOfLatest()) {
			text += ", because " + spec.FirstLine(e.Message)
		}
	}
	switch {
	case s.Reason != "":
		text += ": " + s.Reason
	case s.Process != nil:
		text += fmt.Sprintf(": PID %d is still alive", s.Process.PID)
	}
	return text + q.killIn() + q.besides()
}

// killIn is when SIGKILL follows, or that it was sent.
func (q Question) killIn() string {
	asked := latest(q.Events, ofType(spec.EventStopping))
	if asked == nil || asked.At.Before(q.startOfLatest()) {
		return ""
	}
	if killed := latest(q.Events, ofType(spec.EventKilled)); killed != nil && killed.Seq > asked.Seq {
		return "; SIGKILL was sent at " + moment(killed.At, q.Now)
	}
	text := "; it was sent " + asked.Signal.String()
	due := asked.Next
	if due == nil {
		// Of a server that did not yet say. The grace period that counts is that of
		// the file.
		c := q.View.Spec
		if c == nil {
			c = q.current()
		}
		if c == nil {
			return text
		}
		at := asked.At.Add(c.Stop.Grace.D())
		due = &at
	}
	if left := due.Sub(q.Now); left > 0 {
		return text + ", SIGKILL in " + Ago(left.Round(time.Second))
	}
	return text + ", SIGKILL is due"
}

// startOfLatest is when the latest run began, zero where that is not known.
func (q Question) startOfLatest() time.Time {
	if e := latest(q.Events, ofType(spec.EventStarted)); e != nil {
		return e.At
	}
	return time.Time{}
}

// current is the configuration in force, nil where there is none.
func (q Question) current() *spec.Child {
	if p := q.View.Status.Process; p != nil && p.Config != nil {
		return p.Config
	}
	return q.View.Spec
}

func (q Question) backOff() string {
	s := q.View.Status
	text := "is in back-off"
	if n := q.attempt(); n > 0 {
		text += fmt.Sprintf(", attempt %d", n)
	}
	if s.NextStart != nil {
		text += ", next start "
		if left := s.NextStart.Sub(q.Now); left > 0 {
			text += "in " + Ago(left.Round(time.Second))
		} else {
			text += "is due"
		}
	}
	return text + ": " + q.lastWords() + q.besides()
}

// attempt is how many in a row have failed, 0 where nobody knows.
func (q Question) attempt() int {
	e := latest(q.Events, func(e spec.Event) bool {
		return e.Type == spec.EventBackOff || e.Type == spec.EventExited || e.Type == spec.EventCannotStart
	})
	if e == nil {
		return 0
	}
	return e.Attempt
}

// lastWords is how the latest attempt ended.
func (q Question) lastWords() string {
	s := q.View.Status
	if e := q.end(); e != nil && e.Type == spec.EventExited && e.Exit != nil && s.LastExit != nil && e.Exit.Incarnation == s.LastExit.Incarnation && s.Reason == s.LastExit.String() {
		return exitedText(*e)
	}
	if s.LastExit != nil && s.Reason == s.LastExit.String() {
		return s.LastExit.Words()
	}
	if h, _ := hookOf(q.View); h != nil {
		return s.Reason + q.hooked()
	}
	if s.Reason == "" {
		return "why is not known"
	}
	return s.Reason
}

func (q Question) exited() string {
	s := q.View.Status
	text := "has ended by itself"
	if s.LastExit != nil {
		text += ": " + q.exit(*s.LastExit) + ", a success, at " + moment(s.LastExit.At, q.Now)
	}
	return text + q.policySays() + q.besides()
}

// exit is an exit with how long the run had lived, where that is known.
func (q Question) exit(x spec.Exit) string {
	e := latest(q.Events, func(e spec.Event) bool {
		return e.Type == spec.EventExited && e.Exit != nil && e.Exit.Incarnation == x.Incarnation
	})
	if e == nil || e.Ran == 0 {
		return x.Words()
	}
	return x.Words() + " after " + length(e.Ran.D())
}

// policySays is why the end is not followed by a start.
func (q Question) policySays() string {
	c := q.View.Spec
	if c == nil || c.Restart.Policy == spec.Always {
		return ""
	}
	return fmt.Sprintf("; its restart policy is %q", string(c.Restart.Policy))
}

func (q Question) failed() string {
	s := q.View.Status
	switch h, kind := hookOf(q.View); {
	case h != nil:
		if text := q.hooked(); text != "" {
			return fmt.Sprintf("cannot start, its %s %v failed", kind, *h) + text + q.besides()
		}
		return "cannot start: " + s.Reason + q.besides()
	case q.cannotStart() && !q.gaveUp():
		return "cannot start: " + s.Reason + q.policySays() + q.besides()
	case s.LastExit != nil && s.Reason == s.LastExit.String():
		return "has failed: " + q.exit(*s.LastExit) + ", at " + moment(s.LastExit.At, q.Now) + q.policySays() + q.besides()
	case s.Reason != "":
		return "has failed: " + s.Reason + q.besides()
	}
	return "has failed, why is not known"
}

// gaveUp: the start limit ended it, not the latest attempt alone.
func (q Question) gaveUp() bool {
	e := latest(q.Events, func(e spec.Event) bool {
		return e.Type == spec.EventExited || e.Type == spec.EventCannotStart || e.Type == spec.EventGaveUp
	})
	return e != nil && e.Type == spec.EventGaveUp
}

// hooked is the state of the child that a hook is waiting for, or failed with:
// after "which", or its own sentence.
func (q Question) hooked() string {
	name := HookedChild(q.View)
	switch {
	case q.Hooked != nil:
		other := *q.Hooked
		other.Hooked = nil
		return ": " + name + " " + other.headline()
	case q.HookedUnknown != "":
		return "; what is with " + name + " cannot be seen: " + q.HookedUnknown
	}
	return ""
}

// hookReason is a reason that may be about a hook, with what is behind it.
func (q Question) hookReason(reason string) string {
	if h, kind := hookOf(q.View); h != nil && strings.HasPrefix(reason, hookTitle(kind, *h)) {
		return reason + q.hooked()
	}
	return reason
}

func (q Question) phaseAge() string { return Ago(q.Now.Sub(q.View.Status.Since)) }
