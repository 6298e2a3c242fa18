package why

import (
	"fmt"

	"kita/spec"
)

// startedBy is what made the live process start, or the one that is about to.
func (q Question) startedBy() string {
	s := q.View.Status
	if s.Process == nil {
		return q.askedFor()
	}
	e := q.start(s.Process.Incarnation)
	text := ""
	switch {
	case e != nil && e.Cause == spec.CausePolicy, e == nil && s.Restarts > 0:
		text = "started again by its restart policy" + q.afterEnd(s.Process.Incarnation)
	case e != nil:
		text = q.commanded(*e)
	default:
		text = q.askedFor()
	}
	if s.Process.Adopted {
		text += ", and taken over from a former server"
	}
	return text
}

// askedFor is who wanted the child to run, by its desired state.
func (q Question) askedFor() string {
	d := q.View.Desired
	if d.Run != spec.Running {
		return "who started it is not known"
	}
	verb := spec.VerbStart
	if e := q.command(d.Generation); e != nil {
		verb = e.Verb
	}
	text := asked(verb, d.By, q.Host)
	if !d.At.IsZero() {
		text += " at " + Clock(d.At, q.Now)
	}
	return text
}

// command is the event that wrote a generation.
func (q Question) command(generation uint64) *spec.Event {
	if generation == 0 {
		return nil
	}
	return latest(q.Events, func(e spec.Event) bool { return e.Type == spec.EventCommand && e.Generation == generation })
}

// commanded is who asked for the start e, which no policy made.
func (q Question) commanded(e spec.Event) string {
	c := q.command(e.Generation)
	if c == nil {
		c = latest(q.Events, func(c spec.Event) bool {
			return c.Type == spec.EventCommand && c.Seq < e.Seq && c.Verb != spec.VerbStop
		})
	}
	switch {
	case c != nil:
		verb := c.Verb
		if verb == spec.VerbTrystart {
			verb = spec.VerbStart
			if end := latest(q.Events, func(x spec.Event) bool { return x.Type == spec.EventExited && x.Seq > c.Seq && x.Seq < e.Seq }); end != nil {
				verb = spec.VerbRestart
			}
		}
		return asked(verb, c.By, q.Host)
	case e.By != "":
		return asked(spec.VerbStart, e.By, q.Host)
	}
	return q.askedFor()
}

// afterEnd is how the run before an incarnation ended.
func (q Question) afterEnd(incarnation uint64) string {
	s := q.View.Status
	start := q.start(incarnation)
	if start != nil {
		e := latest(q.Events, func(e spec.Event) bool {
			return e.Seq < start.Seq && (e.Type == spec.EventExited || e.Type == spec.EventCannotStart)
		})
		switch {
		case e == nil:
		case e.Type == spec.EventCannotStart:
			return " after it could not be started: " + spec.FirstLine(e.Message)
		case e.Exit != nil:
			return " after it " + ended(*e.Exit)
		}
	}
	if s.LastExit != nil && s.LastExit.Incarnation < incarnation {
		return " after it " + ended(*s.LastExit)
	}
	return ", after what end is not known"
}

// ended is an exit as a sentence about the child has it.
func ended(e spec.Exit) string {
	switch {
	case !e.Known:
		text := "ended, how is not known"
		if e.OOMKilled {
			text += ", out of memory"
		}
		return text
	case e.Signal != 0:
		return "was " + e.Words()
	}
	return fmt.Sprintf("ended with %s", e.Words())
}
