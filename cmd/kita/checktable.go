package main

import (
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"kita/spec"
)

// The titles of the columns, and those of -o wide.
var (
	tableHeading = []string{"NAME", "PHASE", "PID", "UPTIME", "RESTARTS", "LAST EXIT"}
	wideHeading  = []string{"GENERATION", "NEXT START", "REPEAT", "FILE", "COMMAND"}
)

// writeTable prints children, a line each.
func (p *program) writeTable(w io.Writer, views []spec.View, wide bool, prefix string) error {
	t := table{heading: slices.Clone(tableHeading)}
	if wide {
		t.heading = append(t.heading, wideHeading...)
	}
	// The column of reasons is there only where something is wrong.
	wrong := false
	for i := range views {
		wrong = wrong || remarks(&views[i]) != ""
	}
	if wrong {
		t.heading = append(t.heading, "REASON")
	}
	t.rows = make([][]cell, 0, len(views))
	now := p.now()
	for i := range views {
		v := &views[i]
		row := appendRow(make([]cell, 0, len(t.heading)), v, now)
		if wide {
			row = append(row, wideCells(v, now)...)
		}
		if wrong {
			row = append(row, cell{text: remarks(v)})
		}
		t.add(row...)
	}
	return t.write(w, p, prefix)
}

const nothing = "-"

func appendRow(row []cell, v *spec.View, now time.Time) []cell {
	s := &v.Status
	pid, uptime, exit := nothing, nothing, nothing
	if s.Process != nil {
		pid = strconv.Itoa(s.Process.PID)
		uptime = ago(now.Sub(s.Process.StartedAt))
	}
	if s.LastExit != nil {
		exit = exitText(*s.LastExit) + ", " + ago(now.Sub(s.LastExit.At)) + " ago"
	}
	return append(row,
		cell{text: v.Name},
		cell{text: string(s.Phase), colour: phaseColour(s.Phase)},
		cell{text: pid}, cell{text: uptime},
		cell{text: strconv.FormatUint(s.Restarts, 10)},
		cell{text: exit},
	)
}

func wideCells(v *spec.View, now time.Time) []cell {
	next, repeat, file, command := nothing, nothing, nothing, nothing
	if at := v.Status.NextStart; at != nil {
		next = "in " + ago(at.Sub(now))
	}
	if c := current(v); c != nil {
		file, command = c.File, c.CommandLine
		if c.Repeat != nil {
			repeat = repeatText(c.Repeat)
		}
	}
	if at := v.Status.RepeatAt; at != nil {
		repeat += ", next in " + ago(at.Sub(now))
	}
	return []cell{
		{text: strconv.FormatUint(v.Desired.Generation, 10)},
		{text: next}, {text: repeat}, {text: file}, {text: command},
	}
}

// current is the configuration in force: that of the live process, else that
// of the file; nil when there is neither.
func current(v *spec.View) *spec.Child {
	if v.Status.Process != nil && v.Status.Process.Config != nil {
		return v.Status.Process.Config
	}
	return v.Spec
}

func repeatText(r *spec.Repeat) string { return string(r.Action) + " after " + r.Every.String() }

// remarks are the reason, and of each warning what it is about: why it is so can
// be long, and stands in the detail.
func remarks(v *spec.View) string {
	var parts []string
	if why := reason(v); why != "" {
		parts = append(parts, why)
	}
	for _, warning := range v.Status.Warnings {
		what, _, _ := strings.Cut(warning, ": ")
		parts = append(parts, what)
	}
	return strings.Join(parts, "; ")
}

// reason is what is wrong with a child or awaited, in one line; empty when
// there is nothing to say.
func reason(v *spec.View) string {
	if v.Status.Reason == "" && v.Status.Failure == nil && v.FileError == "" && !v.Stale {
		return ""
	}
	var parts []string
	say := func(text string) {
		for _, said := range parts {
			if strings.Contains(said, text) {
				return
			}
		}
		if text != "" {
			parts = append(parts, text)
		}
	}
	say(v.Status.Reason)
	if f := v.Status.Failure; f != nil {
		say(spec.FirstLine(f.Message))
	}
	for line := range strings.SplitSeq(v.FileError, "\n") {
		say(line)
	}
	switch {
	case v.Stale && v.FileError != "":
		say("an earlier version runs, and a restart is refused until the file is good")
	case v.Stale:
		say("its configuration has changed since it was started, restart it to apply that")
	}
	return strings.Join(parts, "; ")
}
