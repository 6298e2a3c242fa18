package control

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"kita/spec"
)

// This file has what an asker is told of a command on a child that he may change
// and not read.

// outcome cuts out down to what the asker may know: the command line of the
// process, its environment, its hooks and its past are for readers.
func (g *gate) outcome(a asker, out spec.Outcome) spec.Outcome {
	if isAllowed(g.config().Access, a, spec.Read, out.Child) {
		return out
	}
	s := out.Status
	out.Prehook, out.Posthook = nil, nil
	if out.Child == spec.All {
		// They name children.
		out.Note, out.Children, out.LeftStopped, out.LeftRunning = "", nil, nil, nil
	}
	out.Status = spec.Status{
		Phase: s.Phase, Since: s.Since, ObservedGeneration: s.ObservedGeneration, Starts: s.Starts, Restarts: s.Restarts, LastExit: s.LastExit,
	}
	if s.Process != nil {
		p := *s.Process
		p.Config = nil
		out.Status.Process = &p
	}
	return out
}

// told is what the asker hears of a refusal: why a child cannot be started tells
// of its file and of its hooks, and its last lines are output.
func (g *gate) told(a asker, child string, refusal *spec.Refusal) *spec.Refusal {
	if isAllowed(g.config().Access, a, spec.Read, child) {
		return refusal
	}
	less := *refusal
	less.LastLines = nil
	switch refusal.Code {
	case spec.Ambiguous, spec.InvalidFile, spec.BadHook, spec.HookFailed, spec.CannotStart, spec.NotStopped:
		title := kinds[refusal.Code].title
		less.Message = fmt.Sprintf("%s %s: %s; why is told to keys that may read it", refusal.Verb, shown(child), strings.ToLower(title[:1])+title[1:])
	default:
	}
	return &less
}

// rotated is what the asker hears of a rotation: paths, which have names of
// children in them, are for readers, and so is why a file cannot be rotated.
func (g *gate) rotated(a asker, child string, archives []spec.Archive, err error) ([]spec.Archive, error) {
	if isAllowed(g.config().Access, a, spec.Read, child) {
		return archives, err
	}
	less := make([]spec.Archive, len(archives))
	for i, made := range archives {
		less[i].At = made.At
	}
	var refusal *spec.Refusal
	if err != nil && !errors.As(err, &refusal) && !errors.Is(err, context.Canceled) {
		err = errors.New("there is output that cannot be rotated; why is told to keys that may read it")
	}
	return less, err
}
