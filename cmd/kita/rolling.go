package main

import (
	"context"
	"errors"
	"fmt"

	"kita/control"
	"kita/spec"
)

// forbidden is the code of what a key may not do (control.Problem).
const forbidden spec.Code = "forbidden"

// settled waits, after a command of a rolling change, until the child is seen
// to fare well: it runs, or is done. That it fares badly is an error, so that
// the next host is spared.
//
// A key that may change children and not look at them has to be content with
// what the command itself has shown.
func settled(ctx context.Context, c *control.Client, out spec.Outcome) (spec.Outcome, error) {
	if out.Verb == spec.VerbStop {
		return out, nil
	}
	if out.Child == spec.All {
		return out, allSettled(ctx, c, out.Verb)
	}
	if done, err := fares(out.Child, out.Status); done || err != nil {
		return out, err
	}
	for change, err := range c.Watch(ctx) {
		var refusal *spec.Refusal
		switch {
		case errors.As(err, &refusal) && refusal.Code == forbidden:
			return out, nil
		case errors.Is(err, context.DeadlineExceeded):
			return out, spec.Refuse(spec.TimedOut, out.Verb, out.Child, "%s was started, but was not seen to run in the time it had", out.Child)
		case err != nil:
			return out, err
		case change.View.Name != out.Child:
			continue
		case change.View.Desired.Generation > out.Generation:
			return out, spec.Refuse(spec.Superseded, out.Verb, out.Child, "%s %s: another command came after it before the child was seen to run", out.Verb, out.Child)
		case change.View.Status.ObservedGeneration < out.Generation:
			continue
		}
		out.Status = change.View.Status
		if done, err := fares(out.Child, out.Status); done || err != nil {
			return out, err
		}
	}
	return out, ctx.Err()
}

// allSettled is settled for every child that is to run.
func allSettled(ctx context.Context, c *control.Client, verb spec.Verb) error {
	views, err := c.List(ctx)
	for _, v := range views {
		if v.Desired.Run != spec.Running || err != nil {
			continue
		}
		_, err = settled(ctx, c, spec.Outcome{Verb: verb, Child: v.Name, Generation: v.Desired.Generation, Status: v.Status})
	}
	return err
}

// fares tells whether a child that was started has shown how it fares; the
// error says that it does badly.
func fares(child string, s spec.Status) (done bool, err error) {
	switch s.Phase {
	case spec.PhaseRunning, spec.PhaseExited:
		return true, nil
	case spec.PhaseFailed, spec.PhaseBackOff, spec.PhaseStopped, spec.PhaseStopping:
		what := fmt.Sprintf("is %s again", s.Phase)
		if s.LastExit != nil && s.Process == nil {
			what = "has ended since: " + exitText(*s.LastExit)
		}
		refusal := spec.Refuse(spec.CannotStart, "", child, "%s was started, and %s", child, what)
		refusal.LastLines = s.LastLines
		return false, refusal
	case spec.PhaseStarting:
	}
	return false, nil
}
