package why

import (
	"fmt"
	"slices"

	"kita/spec"
)

// leading are the events that led to the present state, oldest first. isWhole is
// false where they should begin earlier than what is kept.
func (q Question) leading() (events []spec.Event, isWhole bool) {
	d := q.View.Desired
	switch {
	case q.IsGone:
		return q.since(latestAt(q.Events, isBegin)), true
	case d.Run == spec.Stopped:
		stop := latestAt(q.Events, func(e spec.Event) bool {
			return e.Type == spec.EventCommand && (e.Generation == d.Generation || e.Verb == spec.VerbStop)
		})
		if stop < 0 {
			return q.Events, d.Generation == 0
		}
		return q.Events[q.beforeStop(stop):], true
	case d.Run == "":
		// From the latest run on, if there was one.
		if begin := latestAt(q.Events, isBegin); begin >= 0 {
			return q.Events[q.askedBefore(begin):], true
		}
		return q.Events, true
	}
	start := latestAt(q.Events, isStart)
	if start < 0 {
		return q.Events, false
	}
	// What lives may be from before it.
	if p := q.View.Status.Process; p != nil {
		of := latestAt(q.Events[:start], func(e spec.Event) bool { return e.Type == spec.EventStarted && e.Incarnation == p.Incarnation })
		if of >= 0 {
			start = q.askedBefore(of)
		}
	}
	// A command is often the answer to a change of the file.
	for start > 0 && isPreparation(q.Events[start-1]) {
		start--
	}
	return q.Events[start:], true
}

// beforeStop is where that begins which a stop ended: its run, or where that had
// failed all that came of the command to start.
func (q Question) beforeStop(stop int) int {
	begin := latestAt(q.Events[:stop], isBegin)
	if begin < 0 {
		return stop
	}
	command := latestAt(q.Events[:begin], isStart)
	if command >= 0 && latestAt(q.Events[begin:stop], isFailure) >= 0 {
		return command
	}
	return q.askedBefore(begin)
}

// isStart: it asks for a run.
func isStart(e spec.Event) bool { return e.Type == spec.EventCommand && e.Verb != spec.VerbStop }

// askedBefore is where the command is that made a run begin at an event, or that
// event itself where a policy did.
func (q Question) askedBefore(begin int) int {
	at := begin
	for at > 0 && q.Events[at-1].Type == spec.EventHook {
		at--
	}
	if at > 0 && isStart(q.Events[at-1]) {
		return at - 1
	}
	// With a restart the end of the run before lies in between.
	e := q.Events[begin]
	command := latestAt(q.Events[:begin], func(c spec.Event) bool { return isStart(c) && c.Generation == e.Generation })
	if e.Type == spec.EventStarted && e.Generation > 0 && command >= 0 && latestAt(q.Events[command:begin], isBegin) < 0 {
		return command
	}
	return begin
}

// since are the events from the one at on, all of them where at is below zero.
func (q Question) since(at int) []spec.Event { return q.Events[max(at, 0):] }

func latestAt(events []spec.Event, wanted func(spec.Event) bool) int {
	for i := len(events) - 1; i >= 0; i-- {
		if wanted(events[i]) {
			return i
		}
	}
	return -1
}

// isBegin: with it a run begins, or what should have been one.
func isBegin(e spec.Event) bool {
	return e.Type == spec.EventStarted || e.Type == spec.EventCannotStart
}

func isPreparation(e spec.Event) bool {
	return e.Type == spec.EventConfig || e.Type == spec.EventRefused
}

// notes say what the events do not tell.
func (q Question) notes(leading []spec.Event, isWhole bool) []string {
	var notes []string
	d := q.View.Desired
	switch {
	case q.EventsUnknown != "":
		return []string{"its history cannot be read: " + q.EventsUnknown}
	case !isWhole && len(q.Events) == 0:
		return []string{"the history has nothing of it: what led here was before it began, or was lost"}
	case !isWhole:
		notes = append(notes, "what was before "+Clock(q.Events[0].At, q.Now)+" is not in the history")
	case d.Generation > 0 && q.command(d.Generation) == nil && !q.IsGone && d.Run != "":
		notes = append(notes, fmt.Sprintf("the command that it obeys, generation %d, is not in the history", d.Generation))
	}
	notes = append(notes, q.gaps(leading)...)
	if p := q.View.Status.Process; p != nil && q.start(p.Incarnation) == nil {
		notes = append(notes, fmt.Sprintf("the start of PID %d is not in the history", p.PID))
	}
	return notes
}

// gaps are between the runs that the events tell of, which are numbered. A server that
// is killed at a launch may leave a number out, too.
func (q Question) gaps(leading []spec.Event) []string {
	var notes []string
	var before *spec.Event
	for i, e := range leading {
		if e.Type == spec.EventForgotten {
			// The next one of that name counts from 1 again.
			before = nil
		}
		if e.Incarnation == 0 {
			continue
		}
		if before != nil && e.Incarnation > before.Incarnation {
			missing := e.Incarnation - before.Incarnation
			if e.Type == spec.EventStarted {
				missing--
			}
			if missing > 0 {
				notes = append(notes, fmt.Sprintf("what was between %s and %s is not all in the history: it may have been started %s more",
					Clock(before.At, q.Now), Clock(e.At, q.Now), times(missing)))
			}
		}
		if before == nil || e.Incarnation >= before.Incarnation {
			before = &leading[i]
		}
	}
	const most = 3
	if more := len(notes) - most; more > 0 {
		notes = append(notes[:most], fmt.Sprintf("so it is in %d places more", more))
	}
	return notes
}

func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// mostSteps is how many are shown; of more, those in the middle say the least.
const mostSteps = 20

// steps puts events into words. Attempts that end alike one after the other are
// one step.
func (q Question) steps(events []spec.Event) []Step {
	var steps []Step
	for len(events) > 0 {
		first, rest, ok := takeAttempt(events)
		if !ok {
			steps = append(steps, q.step(events[0]))
			events = events[1:]
			continue
		}
		alike := []attemptEvents{first}
		for {
			next, after, ok := takeAttempt(rest)
			if !ok || next.outcomeText() != first.outcomeText() {
				break
			}
			alike, rest = append(alike, next), after
		}
		steps = append(steps, q.attempts(alike, len(rest) == 0)...)
		events = rest
	}
	return cut(same(steps))
}

func (q Question) step(e spec.Event) Step {
	return Step{Time: e.At, Text: Event(e, q.Host, q.Now), Event: e}
}

// attemptEvents are those of a start that failed, in their order.
type attemptEvents struct {
	before  []spec.Event // hooks and the launch
	outcome spec.Event
	backOff *spec.Event
}

// takeAttempt takes the events of one attempt from the front; ok is false where
// there is something else.
func takeAttempt(events []spec.Event) (a attemptEvents, rest []spec.Event, ok bool) {
	i := 0
	for i < len(events) && (events[i].Type == spec.EventHook || events[i].Type == spec.EventStarted) {
		a.before = append(a.before, events[i])
		i++
	}
	if i == len(events) || !isFailure(events[i]) {
		return a, events, false
	}
	a.outcome = events[i]
	if i++; i < len(events) && events[i].Type == spec.EventBackOff {
		a.backOff = &events[i]
		i++
	}
	return a, events[i:], true
}

// isFailure: an attempt ended with it, be it only that it was to run on.
func isFailure(e spec.Event) bool {
	return e.Type == spec.EventCannotStart || e.Type == spec.EventExited && !e.Asked
}

// outcomeText is the same for what is to be told as one.
func (a attemptEvents) outcomeText() string {
	if a.outcome.Type == spec.EventCannotStart {
		return "cannot start: " + spec.FirstLine(a.outcome.Message)
	}
	if a.outcome.Exit == nil {
		return "ended"
	}
	return a.outcome.Exit.Words()
}

// attempts are the steps of attempts that ended alike. isLast: nothing comes after
// them, so that the back-off of the last one still holds.
func (q Question) attempts(alike []attemptEvents, isLast bool) []Step {
	var steps []Step
	first, last := alike[0], alike[len(alike)-1]
	for _, e := range first.before {
		// That a prehook failed is said by the outcome.
		if e.Type == spec.EventHook && first.outcome.Type == spec.EventCannotStart {
			continue
		}
		if len(alike) == 1 || e.Type == spec.EventStarted && e.Cause != spec.CausePolicy {
			steps = append(steps, q.step(e))
		}
	}
	end := q.step(last.outcome)
	if n := len(alike); n > 1 {
		end.Times, end.First = n, first.outcome.At
		times := fmt.Sprintf("within %s, the first at %s", length(end.Time.Sub(end.First)), Clock(end.First, q.Now))
		if last.outcome.Type == spec.EventExited {
			end.Text = fmt.Sprintf("%d times %s %s%s", n, last.outcomeText(), times, longest(alike))
		} else {
			end.Text = fmt.Sprintf("%d times %s: %s", n, times, last.outcomeText())
		}
	}
	steps = append(steps, end)
	if isLast && last.backOff != nil {
		steps = append(steps, q.step(*last.backOff))
	}
	return steps
}

// longest is how long the runs lived, at most; empty where that is not known.
func longest(alike []attemptEvents) string {
	var most spec.Duration
	for _, a := range alike {
		most = max(most, a.outcome.Ran)
	}
	if most == 0 {
		return ""
	}
	return "; the longest lived " + length(most.D())
}

// same folds steps that are told in the same words, such as the same command
// refused again and again.
func same(steps []Step) []Step {
	var folded []Step
	for len(steps) > 0 {
		n := 1
		for n < len(steps) && steps[n].Text == steps[0].Text && steps[0].Times == 0 {
			n++
		}
		step := steps[n-1]
		if n > 1 {
			step.Times, step.First = n, steps[0].Time
			step.Text = fmt.Sprintf("%d times: %s", n, step.Text)
		}
		folded, steps = append(folded, step), steps[n:]
	}
	return folded
}

// cut leaves the middle of a long chain out, and says so.
func cut(steps []Step) []Step {
	if len(steps) <= mostSteps {
		return steps
	}
	const head = 3
	left := len(steps) - mostSteps + 1
	between := steps[head+left-1]
	gap := Step{Time: between.Time, Event: between.Event, Times: left, First: steps[head].Time,
		Text: fmt.Sprintf("… %d steps more, see `kita events`", left)}
	return slices.Concat(steps[:head], []Step{gap}, steps[head+left:])
}

// IsTrouble tells whether an event is one that needs attention.
func IsTrouble(e spec.Event) bool {
	switch e.Type {
	case spec.EventRefused, spec.EventCannotStart, spec.EventKilled, spec.EventGaveUp, spec.EventLost:
		return true
	case spec.EventExited:
		return !e.Success && !e.Asked
	case spec.EventHook:
		return e.Message != ""
	case spec.EventConfig:
		return e.Config == spec.ConfigBroken
	}
	return false
}
