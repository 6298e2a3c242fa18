package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"kita/control"
	"kita/control/fleet"
	"kita/spec"
)

// change carries out start, stop, restart or trystart.
func (p *program) change(ctx context.Context, r request) error {
	command := spec.Command{Verb: r.verb, Child: r.child, NoWait: r.noWait}
	results := ask(ctx, p, r, func(ctx context.Context, c *control.Client) (spec.Outcome, error) {
		outcome, err := c.Do(ctx, command)
		return outcome, waitedTooLong(r, err)
	})
	return report(p, r, results, func(w io.Writer, out spec.Outcome, prefix string) error {
		_, err := fmt.Fprintf(w, "%s%s\n", prefix, printable(outcomeText(out, r.noWait)))
		return err
	})
}

// kill ends servers.
func (p *program) kill(ctx context.Context, r request) error {
	results := ask(ctx, p, r, func(ctx context.Context, c *control.Client) (struct{}, error) {
		return struct{}{}, c.Kill(ctx)
	})
	return report(p, r, results, func(w io.Writer, _ struct{}, prefix string) error {
		_, err := fmt.Fprintf(w, "%sthe server stops all its children and ends\n", prefix)
		return err
	})
}

func (p *program) info(ctx context.Context, r request) error {
	results := ask(ctx, p, r, func(ctx context.Context, c *control.Client) (spec.Info, error) { return c.Info(ctx) })
	return report(p, r, results, p.writeInfo)
}

// report prints each host's answer, in order, and returns the worst status.
// text prints one answer, every line after a prefix.
func report[T any](p *program, r request, results []fleet.Result[T], text func(w io.Writer, answer T, prefix string) error) error {
	status := exitOK
	for _, result := range results {
		status = worst(status, exitStatus(result.Err))
	}
	if r.format == formatJSON || r.format == formatYAML {
		if err := writeResults(p.out, r.format, results); err != nil {
			return err
		}
	}
	for _, result := range results {
		host := label(r, result.Host)
		if result.Err != nil {
			p.complain(host, result.Err)
			continue
		}
		if r.format == formatJSON || r.format == formatYAML {
			continue
		}
		prefix := ""
		if host != "" {
			prefix = host + ": "
		}
		if err := text(p.out, result.Value, prefix); err != nil {
			return fmt.Errorf("write the answer: %w", err)
		}
	}
	return withStatus(status)
}

// outcomeText says in a line what a command did.
func outcomeText(out spec.Outcome, written bool) string {
	if written {
		return fmt.Sprintf("%s: %s is written, generation %d", out.Child, out.Verb, out.Generation)
	}
	var extra []string
	if out.Prehook != nil {
		extra = append(extra, "prehook "+out.Prehook.String())
	}
	if out.Posthook != nil {
		extra = append(extra, "posthook "+out.Posthook.String())
	}
	if out.Repeat != nil {
		extra = append(extra, "it will "+string(out.Repeat.Action)+" in "+out.Repeat.Every.String())
	}
	if out.Note != "" {
		extra = append(extra, out.Note)
	}
	text := doneText(out)
	if len(extra) > 0 {
		text += " (" + strings.Join(extra, "; ") + ")"
	}
	return text
}

func doneText(out spec.Outcome) string {
	done := "started"
	switch {
	case out.Verb == spec.VerbStop && out.Child == spec.All:
		return "all children stopped"
	case out.Verb == spec.VerbStop:
		return out.Child + " stopped"
	case out.Verb == spec.VerbRestart, out.Verb == spec.VerbTrystart && out.WasRunning:
		done = "restarted"
	}
	switch s := out.Status; {
	case s.Process != nil:
		return fmt.Sprintf("%s %s, PID %d", out.Child, done, s.Process.PID)
	case s.LastExit != nil:
		return fmt.Sprintf("%s %s, and has ended since: %s", out.Child, done, exitText(*s.LastExit))
	}
	return out.Child + " " + done
}

// checked is what `check` learned from one host.
type checked struct {
	views    []spec.View
	problems []string
}

// check shows children. Of one child, it fails when that is not alive.
func (p *program) check(ctx context.Context, r request) error {
	if r.child != "" && r.child != spec.All {
		return p.checkOne(ctx, r)
	}
	results := ask(ctx, p, r, func(ctx context.Context, c *control.Client) (checked, error) {
		views, err := c.List(ctx)
		if err != nil {
			return checked{}, err
		}
		info, err := c.Info(ctx)
		return checked{views, info.Problems}, err
	})
	lists := make([]fleet.Result[[]spec.View], len(results))
	for i, result := range results {
		views := result.Value.views
		if views == nil {
			views = []spec.View{} // an empty list, not null
		}
		lists[i] = fleet.Result[[]spec.View]{Host: result.Host, Value: views, Err: result.Err}
	}
	err := report(p, r, lists, func(w io.Writer, views []spec.View, prefix string) error {
		if len(views) == 0 {
			_, err := fmt.Fprintf(w, "%sno children\n", prefix)
			return err
		}
		return p.writeTable(w, views, r.format == formatWide, prefix)
	})
	for _, result := range results {
		for _, problem := range result.Value.problems {
			p.complain(label(r, result.Host), errors.New("warning: "+problem))
		}
	}
	return err
}

func (p *program) checkOne(ctx context.Context, r request) error {
	results := ask(ctx, p, r, func(ctx context.Context, c *control.Client) (spec.View, error) { return c.Get(ctx, r.child) })
	status := exitOK
	for _, result := range results {
		if result.Err == nil && !result.Value.Status.Alive() {
			status = exitNotRunning
		}
	}
	err := report(p, r, results, p.writeDetail)
	var said *statusError
	if err != nil && !errors.As(err, &said) {
		return err
	}
	return withStatus(worst(status, exitStatus(err)))
}
