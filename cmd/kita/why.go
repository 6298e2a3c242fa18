package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"kita/console"
	"kita/control"
	"kita/control/fleet"
	"kita/spec"
	"kita/why"
)

const whyLong = `Say why a child is in the state that it is in: one sentence, the events that led
there, the last lines of a run that failed, and what can be done.

  kita why web
  kita why web on @web -o json

The events are those of its history, which is kept over restarts of the server
and of the host; 'kita events web' shows all of it. What the history does not
have is said, not guessed.

The exit status is 0 where there is an answer, whatever it is: 'kita check NAME'
tells whether the child runs.`

func (p *program) whyCommand() *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use: "why CHILD" + p.where(), Short: "say why a child is in the state that it is in", Long: whyLong,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			r, children, err := p.childrenRequest("why", args, f)
			if err != nil {
				return err
			}
			switch {
			case len(children) > 1:
				return usagef("why takes one child: %q is one word too many", children[1])
			case children[0] == spec.All:
				return usagef("why takes one child; `kita check` shows all of them")
			case r.format == formatWide:
				return usagef("-o %s: why takes json or yaml", r.format)
			}
			r.child = children[0]
			return p.withKeys(c.Context(), r, func(ctx context.Context) error { return p.why(ctx, r) })
		},
	}
	p.registerFlags(&f, c, spec.VerbInfo)
	c.ValidArgsFunction = p.completeWords(spec.VerbCheck, &f)
	return c
}

// why asks every host of r.
func (p *program) why(ctx context.Context, r request) error {
	return fanOutHosts(ctx, p, r, showing[why.Answer]{text: p.writeWhy}, func(ctx context.Context, h fleet.Host) (why.Answer, error) {
		return asking(p, r, func(ctx context.Context, c *control.Client) (why.Answer, error) {
			q, err := p.learn(ctx, c, r, h)
			if err != nil {
				return why.Answer{}, err
			}
			return why.Of(q), nil
		})(ctx, h)
	})
}

// learn asks a host for all that the answer is made of.
func (p *program) learn(ctx context.Context, c *control.Client, r request, h fleet.Host) (why.Question, error) {
	q, err := learnChild(ctx, c, r.child)
	if err != nil {
		return q, err
	}
	q.Host = hostName(h)
	if h != fleet.Local {
		q.Words = " on " + h.String()
	}
	if r.key != "" {
		q.Words += " with " + r.key
	}
	q.Now = p.now()
	if q.View.Desired.Run == "" && !q.IsGone {
		// Without it the answer has a word less.
		if info, err := c.Info(ctx); err == nil {
			q.Mode = info.Mode
		}
	}
	if name := why.HookedChild(q.View); name != "" {
		hooked, err := learnChild(ctx, c, name)
		if err != nil {
			q.HookedUnknown = strings.Join(errorLines(err), "; ")
		} else {
			hooked.Host, hooked.Now, hooked.Mode = q.Host, q.Now, q.Mode
			q.Hooked = &hooked
		}
	}
	return q, nil
}

// hostName names the host of a server in a sentence; empty is this one.
func hostName(h fleet.Host) string {
	switch {
	case h.SSH && h.Label == "":
		return h.Name
	case h.Name == fleet.Local.Name:
		return ""
	}
	return h.String()
}

// place names the host of a server where it is not known which of several it is.
func (r request) place() string {
	if len(r.hosts) == 1 {
		return hostName(r.hosts[0])
	}
	return "its host"
}

// learnChild asks for one child. One that is gone is known as long as it has a
// history.
func learnChild(ctx context.Context, c *control.Client, name string) (why.Question, error) {
	v, files, err := c.GetWithOutput(ctx, name)
	var refusal *spec.Refusal
	isGone := errors.As(err, &refusal) && refusal.Code == spec.NotFound
	if err != nil && !isGone {
		return why.Question{}, err
	}
	q := why.Question{View: v, Files: files, IsGone: isGone}
	events, eventsErr := historyOf(ctx, c, name)
	switch {
	case isGone && len(events) == 0:
		return q, err
	case ctx.Err() != nil:
		return q, eventsErr
	case eventsErr != nil:
		// What is known of the child itself is worth telling.
		q.EventsUnknown = strings.Join(errorLines(eventsErr), "; ")
	}
	q.View.Name, q.Events = name, events
	return q, nil
}

// mostEvents is how many events of a child are looked at; a server keeps fewer.
const mostEvents = 1000

// historyOf are the latest events of a child.
func historyOf(ctx context.Context, c *control.Client, name string) ([]spec.Event, error) {
	var events []spec.Event
	tail := mostEvents
	for e, err := range c.Events(ctx, spec.EventRequest{Children: []string{name}, Tail: &tail}) {
		if err != nil {
			return nil, err
		}
		if e.Child != name || e.Type == spec.EventCaughtUp {
			continue
		}
		if len(events) == 2*mostEvents {
			events = slices.Delete(events, 0, mostEvents)
		}
		events = append(events, e)
	}
	return events, nil
}

// writeWhy prints an answer, each line after prefix.
func (p *program) writeWhy(w io.Writer, a why.Answer, prefix string) error {
	var b strings.Builder
	line := func(text string) {
		b.WriteString(strings.TrimRight(prefix+text, " ") + "\n")
	}
	rest, hasName := strings.CutPrefix(a.Summary, a.Child)
	if hasName {
		line(p.paint(phaseColour(a.Phase), printable(a.Child)) + printable(rest))
	} else {
		line(printable(a.Summary))
	}
	for _, warning := range a.Warnings {
		line(p.paint(yellow, "warning:") + " " + printable(warning))
	}
	p.writeChain(line, a)
	if lines := lastLines(a.LastLines); len(lines) > 0 {
		line("")
		for _, text := range lines {
			line(printable(text))
		}
	}
	if len(a.Hints) > 0 {
		line("")
	}
	for _, hint := range a.Hints {
		line("  to do: " + printable(hint))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeChain prints what led to the answer: when, how long ago, and what.
func (p *program) writeChain(line func(string), a why.Answer) {
	if len(a.Chain)+len(a.Notes) > 0 {
		line("")
	}
	now := p.now()
	clocks, agos := make([]string, len(a.Chain)), make([]string, len(a.Chain))
	clockWidth, agoWidth := 0, 0
	for i, s := range a.Chain {
		clocks[i], agos[i] = why.Clock(s.Time, now), ago(now.Sub(s.Time))+" ago"
		clockWidth = max(clockWidth, console.Width(clocks[i]))
		agoWidth = max(agoWidth, console.Width(agos[i]))
	}
	for _, note := range a.Notes {
		line("  (" + printable(note) + ")")
	}
	for i, s := range a.Chain {
		line(fmt.Sprintf("  %s  %s  %s", padded(clocks[i], clockWidth), padded(agos[i], agoWidth), p.paint(eventColour(s.Event), printable(s.Text))))
	}
}

// eventColour is empty for an event that needs no attention.
func eventColour(e spec.Event) string {
	switch {
	case e.Type == spec.EventBackOff, e.Type == spec.EventRefused, e.Type == spec.EventKilled:
		return yellow
	case why.IsTrouble(e):
		return red
	}
	return ""
}
