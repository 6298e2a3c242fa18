package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"kita/control"
	"kita/spec"
)

const diffLong = `Compare what the files of children say now with what their processes were
started with, field by field.

  kita diff                     all children
  kita diff web db on @web
  kita diff --exit-code         status 9 if a child is not as its file says

Each difference is of a class: live is in force already, next start matters when
the child is started next, restart takes another process. Values that look like
secrets are shown as *** and compared all the same.

A job that has run to its successful end with what its file says has no differences.

Exit status, besides those of every command: 0, and with --exit-code 9 where a
child does not run with what its file says, 7 where a file cannot be used.`

func (p *program) diffCommand() *cobra.Command {
	var f flags
	exitCode := false
	c := &cobra.Command{
		Use: "diff [CHILD…]" + p.where(), Short: "compare the files with what the processes were started with", Long: diffLong,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 || args[0] == "on" || args[0] == "On" || args[0] == "with" || args[0] == "With" {
				args = append([]string{spec.All}, args...)
			}
			r, children, err := p.childrenRequest("diff", args, f)
			if err != nil {
				return err
			}
			r.classed = true
			return p.withKeys(c.Context(), r, func(ctx context.Context) error { return p.diff(ctx, r, children, exitCode) })
		},
	}
	p.registerFlags(&f, c, spec.VerbInfo)
	c.Flags().BoolVar(&exitCode, "exit-code", false, "status 9 where a child does not run with what its file says")
	c.ValidArgsFunction = p.completeChildren(&f)
	return c
}

// diff shows how files and processes differ.
func (p *program) diff(ctx context.Context, r request, children []string, exitCode bool) error {
	return fanOut(ctx, p, r, showing[[]spec.ChildDiff]{
		text: func(w io.Writer, diffs []spec.ChildDiff, prefix string) error {
			return p.writeDiffs(w, diffs, prefix)
		},
		judge: func(diffs []spec.ChildDiff) int {
			status := exitOK
			for _, d := range diffs {
				if exitCode {
					status = worst(status, diffStatus(d.State))
				}
			}
			return status
		},
	}, func(ctx context.Context, c *control.Client) ([]spec.ChildDiff, error) { return c.Diff(ctx, children) })
}

func diffStatus(s spec.DiffState) int {
	switch s {
	case spec.DiffUnchanged:
		return exitOK
	case spec.DiffBroken:
		return exitConfig
	}
	return exitDiffers
}

// writeDiffs prints a table of what differs, then what is to be said of children
// that cannot be compared; one that is as its file is left out.
func (p *program) writeDiffs(w io.Writer, diffs []spec.ChildDiff, prefix string) error {
	t := table{heading: []string{"NAME", "FIELD", "PROCESS → FILE", "CLASS"}}
	var notes []string
	for _, d := range diffs {
		for _, f := range d.Differences {
			t.add(cell{text: d.Child}, cell{text: f.Field}, cell{text: valuesText(f)}, cell{text: classText(f.Class), colour: classColour(f.Class)})
		}
		for _, line := range diffNotes(d) {
			notes = append(notes, d.Child+": "+line)
		}
	}
	if len(t.rows) == 0 && len(notes) == 0 {
		notes = []string{"no differences"}
	}
	if len(t.rows) > 0 {
		if err := t.write(w, p, prefix); err != nil {
			return err
		}
	}
	return writeLines(w, notes, prefix)
}

// diffNotes are what is said of a child as a whole.
func diffNotes(d spec.ChildDiff) []string {
	switch d.State {
	case spec.DiffBroken:
		return strings.Split(d.Error, "\n")
	case spec.DiffGone:
		return []string{fmt.Sprintf("its file is gone, PID %d runs on", d.PID)}
	case spec.DiffNew:
		return []string{"new, starts with " + d.Command}
	case spec.DiffNotRunning:
		return []string{string(d.Phase) + ", starts with " + d.Command}
	case spec.DiffChanged:
		if len(d.Differences) == 0 {
			return []string{"what it was started with is not known"}
		}
	case spec.DiffUnchanged:
	}
	return nil
}

func valuesText(d spec.Difference) string {
	shown := func(value *string) string {
		switch {
		case value == nil:
			return "(none)"
		case *value == "":
			return `""`
		}
		return *value
	}
	text := shown(d.Old) + " → " + shown(d.New)
	if d.Masked && d.Old != nil && d.New != nil && *d.Old == *d.New {
		text += " (another value)"
	}
	return text
}

func classText(c spec.DiffClass) string {
	switch c {
	case spec.DiffRestart:
		return "restart"
	case spec.DiffNextStart:
		return "next start"
	}
	return "live"
}

func classColour(c spec.DiffClass) string {
	if c == spec.DiffLive {
		return ""
	}
	return yellow
}
