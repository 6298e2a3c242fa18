package main

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"kita/control"
	"kita/control/fleet"
	"kita/spec"
)

// change carries out start, stop, restart or trystart.
func (p *program) change(ctx context.Context, r request) error {
	command := spec.Command{Verb: r.verb, Child: r.child, NoWait: r.noWait, IfChanged: r.ifChanged}
	return fanOut(ctx, p, r, showing[awaited]{
		text: func(w io.Writer, a awaited, prefix string) error {
			if r.wait.given() {
				return writeLines(w, []string{reachedLine(a, r.wait)}, prefix)
			}
			lines := []string{outcomeText(a.Outcome, r.noWait)}
			if !r.noWait && r.verb != spec.VerbStop {
				lines = append(lines, lastLines(a.Status.LastLines)...)
			}
			return writeLines(w, lines, prefix)
		},
	}, func(ctx context.Context, c *control.Client) (awaited, error) {
		if r.wait.given() {
			return p.doAndWait(ctx, r, c, command)
		}
		outcome, err := c.Do(ctx, command)
		if err == nil && r.rolling {
			outcome, err = p.settled(ctx, r, c, outcome)
		}
		return awaited{Outcome: outcome}, waitedTooLong(ctx, r, c, err)
	})
}

// writeLines prints lines, each after the prefix.
func writeLines(w io.Writer, lines []string, prefix string) error {
	var b strings.Builder
	for _, line := range lines {
		fmt.Fprintf(&b, "%s%s\n", prefix, printable(line))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// kill ends servers.
func (p *program) kill(ctx context.Context, r request) error {
	return fanOut(ctx, p, r, showing[struct{}]{
		text: func(w io.Writer, _ struct{}, prefix string) error {
			_, err := fmt.Fprintf(w, "%sthe server stops all its children and ends\n", prefix)
			return err
		},
	}, func(ctx context.Context, c *control.Client) (struct{}, error) { return struct{}{}, c.Kill(ctx) })
}

func (p *program) info(ctx context.Context, r request) error {
	return fanOut(ctx, p, r, showing[spec.Info]{text: p.writeInfo},
		func(ctx context.Context, c *control.Client) (spec.Info, error) { return c.Info(ctx) })
}

// outcomeText says in a line what a command did.
func outcomeText(out spec.Outcome, written bool) string {
	switch {
	case out.Unchanged && out.Child != spec.All:
		return unchangedText(out)
	case written && out.Child == spec.All:
		return strings.Join(append([]string{fmt.Sprintf("all: %s is written", out.Verb)}, leftTexts(out)...), "; ")
	case written:
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

// allDone says what a command for all children did.
var allDone = map[spec.Verb]string{
	spec.VerbStart:    "all children started",
	spec.VerbStop:     "all children stopped",
	spec.VerbRestart:  "all children that ran are restarted",
	spec.VerbTrystart: "all children started anew",
}

func unchangedText(out spec.Outcome) string {
	if p := out.Status.Process; p != nil {
		return fmt.Sprintf("%s unchanged, PID %d", out.Child, p.PID)
	}
	if x := out.Status.LastExit; x != nil {
		return fmt.Sprintf("%s unchanged, it has run: %s", out.Child, exitText(*x))
	}
	return out.Child + " unchanged"
}

// allText says what a command for all children did, and whom it spared.
func allText(out spec.Outcome) string {
	texts := leftTexts(out)
	if len(texts) == 0 || len(out.Children) > 0 {
		texts = append([]string{startedText(out)}, texts...)
	}
	return strings.Join(texts, "; ")
}

// leftTexts say whom a command for all children spared.
func leftTexts(out spec.Outcome) (texts []string) {
	if len(out.LeftStopped) > 0 {
		texts = append(texts, "left stopped: "+namesText(out.LeftStopped))
	}
	if len(out.LeftRunning) > 0 {
		texts = append(texts, "left running, without a file: "+namesText(out.LeftRunning))
	}
	return texts
}

// namesText are names, and how many there are besides.
func namesText(names []string) string {
	const most = 20
	text := strings.Join(names[:min(len(names), most)], ", ")
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// startedText is allText for those that the command was for.
func startedText(out spec.Outcome) string {
	unchanged := 0
	var others []string
	for _, part := range out.Children {
		if part.Unchanged {
			unchanged++
		} else {
			others = append(others, part.Child)
		}
	}
	switch {
	case out.Unchanged || unchanged > 0 && len(others) == 0:
		return "all children unchanged"
	case unchanged == 0 && len(out.LeftStopped)+len(out.LeftRunning) == 0:
		return allDone[out.Verb]
	case out.Verb == spec.VerbRestart:
		return "restarted: " + namesText(others)
	case unchanged == 0:
		return "started anew: " + namesText(others)
	}
	return fmt.Sprintf("started anew: %s; %d unchanged", namesText(others), unchanged)
}

func doneText(out spec.Outcome) string {
	if out.Child == spec.All {
		return allText(out)
	}
	done := "started"
	switch {
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

// mostGarbage is what the memory of a listing may come to, in bytes, before garbage
// is looked for.
const mostGarbage = 128 << 20

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
	if p.isProcess && len(r.hosts) == 1 {
		// A list, read and printed once: what it takes is free when the program ends.
		debug.SetGCPercent(-1)
		debug.SetMemoryLimit(mostGarbage)
	}
	return fanOut(ctx, p, r, showing[checked]{
		text: func(w io.Writer, c checked, prefix string) error {
			if len(c.views) == 0 {
				_, err := fmt.Fprintf(w, "%sno children\n", prefix)
				return err
			}
			return p.writeTable(w, c.views, r.format == formatWide, prefix)
		},
		data: func(c checked) any {
			if c.views == nil {
				return []spec.View{} // an empty list, not null
			}
			return c.views
		},
		warnings: func(c checked) []string { return c.problems },
		judge: func(c checked) int {
			status := exitOK
			if !r.exitCode {
				return status
			}
			if len(c.problems) > 0 {
				status = exitConfig
			}
			for i := range c.views {
				status = worst(status, health(&c.views[i]))
			}
			return status
		},
	}, func(ctx context.Context, c *control.Client) (checked, error) {
		views, info, err := c.Overview(ctx, r.format == formatText)
		return checked{views, info.Problems}, err
	})
}

// health is the status of a child for `check --exit-code`. One that is stopped, or
// is done, is well.
func health(v *spec.View) int {
	s := v.Status
	switch {
	case v.FileError != "":
		return exitConfig
	case s.Phase == spec.PhaseFailed || s.Phase == spec.PhaseBackOff || s.Failure != nil && s.Failure.Code == spec.NotStopped:
		return exitChildFailed
	}
	return exitOK
}

func (p *program) checkOne(ctx context.Context, r request) error {
	return fanOutHosts(ctx, p, r, showing[detail]{
		text: p.writeDetail,
		data: func(d detail) any { return d.view },
		judge: func(d detail) int {
			status := exitOK
			if !d.view.Status.Alive() {
				status = exitNotRunning
			}
			if r.exitCode {
				status = worst(status, health(&d.view))
			}
			return status
		},
	}, func(ctx context.Context, h fleet.Host) (detail, error) {
		return asking(p, r, func(ctx context.Context, c *control.Client) (detail, error) {
			if r.format != formatText && r.format != formatWide {
				v, err := c.Get(ctx, r.child)
				return detail{view: v}, err
			}
			v, files, err := c.GetWithOutput(ctx, r.child)
			return detail{v, files, hostName(h)}, err
		})(ctx, h)
	})
}
