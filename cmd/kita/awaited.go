package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"kita/control"
	"kita/spec"
)

// awaited is what a command did, and what came of it.
type awaited struct {
	spec.Outcome
	// Reached is what was waited for, where that was with --wait.
	Reached string `json:"reached,omitempty"`
}

// doAndWait carries out a command that is to be waited for. The server answers once
// the wish is on its disk: who waited for more there would not know what became of
// it where the server is killed meanwhile.
func (p *program) doAndWait(ctx context.Context, r request, c *control.Client, command spec.Command) (awaited, error) {
	command.NoWait = true
	out, err := c.Do(ctx, command)
	if errors.Is(err, errCtrlC) {
		err = fmt.Errorf("%s %s: %w; whether the server has taken it is not known", r.verb, r.child, err)
	}
	if err != nil {
		return awaited{Outcome: out}, waitedTooLong(ctx, r, c, err)
	}
	expected, err := expectations(ctx, c, out, r.wait)
	if err == nil {
		err = p.await(ctx, r, c, expected)
	}
	if errors.Is(err, errCtrlC) {
		err = fmt.Errorf("%w; the server goes on with `%s %s`", err, out.Verb, out.Child)
	}
	if isCode(err, forbidden) {
		err = spec.Refuse(forbidden, out.Verb, out.Child, "%s %s: it is written; what comes of it is not for this key to see: %v", out.Verb, out.Child, err)
	}
	if err == nil && out.Child != spec.All {
		tellSeen(&out, expected[0].latest)
	}
	out.Status = forLogs(out.Status)
	return awaited{out, r.wait.String()}, err
}

// forLogs is a status without what its process was started with: who waits is
// mostly a pipeline, whose log others read.
func forLogs(s spec.Status) spec.Status {
	if s.Process != nil {
		p := *s.Process
		p.Config = nil
		s.Process = &p
	}
	return s
}

// tellSeen fills in what a server tells that is waited for.
func tellSeen(out *spec.Outcome, v spec.View) {
	out.Status = v.Status
	config := v.Spec
	if p := v.Status.Process; p != nil && p.Config != nil {
		config = p.Config
	}
	if config == nil || out.Unchanged {
		return
	}
	out.Prehook, out.Repeat = config.Prehook, config.Repeat
	if out.Verb == spec.VerbTrystart && out.WasRunning {
		out.Posthook = config.Posthook
	}
}

// expectations are what a command leaves to be waited for.
func expectations(ctx context.Context, c *control.Client, out spec.Outcome, want condition) ([]*expectation, error) {
	if out.Child != spec.All {
		e := &expectation{child: out.Child, want: want, verb: out.Verb, generation: out.Generation, unchanged: out.Unchanged}
		if out.Unchanged {
			e.first, e.rests = latestRun(out.Status), out.Status.Process == nil
		}
		return []*expectation{e}, nil
	}
	var expected []*expectation
	fellows := map[string]bool{}
	expect := func(e *expectation) {
		e.want, e.verb, e.several, e.fellows = want, out.Verb, true, fellows
		fellows[e.child] = true
		expected = append(expected, e)
	}
	if out.Children != nil && want.aim != aimWell {
		for _, part := range out.Children {
			expect(&expectation{child: part.Child, generation: part.Generation, unchanged: part.Unchanged, first: part.Incarnation})
		}
		return expected, nil
	}
	// In a rolling change also those count that were in back-off before; a server
	// that is older, or tells less to this key, does not say whom it started.
	views, err := c.List(ctx)
	for _, v := range views {
		if v.Desired.Run == spec.Running && !slices.Contains(out.LeftRunning, v.Name) {
			expect(&expectation{child: v.Name, generation: v.Desired.Generation})
		}
	}
	return expected, err
}

// await waits for what is expected.
func (p *program) await(ctx context.Context, r request, c *control.Client, expected []*expectation) error {
	for _, e := range expected {
		e.host = r.place()
	}
	w := newWatcher(c, r.timeout, expected)
	w.once = p.through != nil
	// To what was commanded there was an answer.
	w.answered = len(expected) > 0 && expected[0].verb != ""
	return w.await(ctx)
}

// reachedLine says what a command did, and that it has come to what was waited for.
func reachedLine(a awaited, want condition) string {
	text := outcomeText(a.Outcome, false)
	if a.Child == spec.All {
		return fmt.Sprintf("%s: %s", text, cmp.Or(a.Reached, "done"))
	}
	if want.aim == aimExited || a.Unchanged && a.Status.Process == nil {
		// It says so already.
		return text
	}
	return text + ", " + want.reachedText(a.Status)
}
