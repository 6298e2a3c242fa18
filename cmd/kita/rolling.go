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
func (p *program) settled(ctx context.Context, r request, c *control.Client, out spec.Outcome) (spec.Outcome, error) {
	if out.Verb == spec.VerbStop {
		return out, nil
	}
	expected, err := expectations(ctx, c, out, condition{aim: aimWell})
	if err == nil && out.Child != spec.All {
		switch done, refusal := fares(out.Child, out.Status); {
		case refusal != nil:
			return out, refusal
		case done:
			return out, nil
		}
	}
	if err == nil {
		err = p.await(ctx, r, c, expected)
	}
	switch {
	case isCode(err, forbidden):
		return out, nil
	case errors.Is(err, errCtrlC):
		return out, fmt.Errorf("%w; the server goes on with `%s %s`", err, out.Verb, out.Child)
	case isCode(err, spec.TimedOut):
		return out, spec.Refuse(spec.TimedOut, out.Verb, out.Child, "%s was started, but was not seen to run in the time it had", out.Child)
	case isCode(err, spec.Superseded):
		return out, spec.Refuse(spec.Superseded, out.Verb, out.Child, "%s %s: another command came after it before the child was seen to run", out.Verb, out.Child)
	case err == nil && out.Child != spec.All:
		out.Status = expected[0].latest.Status
	}
	return out, err
}

// fares tells whether a child that was started has shown how it fares; the
// refusal says that it does badly.
func fares(child string, s spec.Status) (done bool, refusal *spec.Refusal) {
	switch s.Phase {
	case spec.PhaseRunning, spec.PhaseExited:
		return true, nil
	case spec.PhaseFailed, spec.PhaseBackOff, spec.PhaseStopped, spec.PhaseStopping:
		what := fmt.Sprintf("is %s again", phaseText(s.Phase))
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
