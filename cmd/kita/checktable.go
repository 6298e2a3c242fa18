package main

import (
	"io"
	"strconv"
	"strings"

	"kita/spec"
)

// writeTable prints children, a line each.
func (p *program) writeTable(w io.Writer, views []spec.View, wide bool, prefix string) error {
	t := table{heading: []string{"NAME", "PHASE", "PID", "UPTIME", "RESTARTS", "LAST EXIT"}}
	if wide {
		t.heading = append(t.heading, "GENERATION", "NEXT START", "REPEAT", "FILE", "COMMAND")
	}
	// The column of reasons is there only where something is wrong.
	wrong := false
	for _, v := range views {
		wrong = wrong || remarks(v) != ""
	}
	if wrong {
		t.heading = append(t.heading, "REASON")
	}
	for _, v := range views {
		row := p.row(v)
		if wide {
			row = append(row, p.wideCells(v)...)
		}
		if wrong {
			row = append(row, cell{text: remarks(v)})
		}
		t.add(row...)
	}
	return t.write(w, p, prefix)
}

const nothing = "-"

func (p *program) row(v spec.View) []cell {
	s := v.Status
	pid, uptime, exit := nothing, nothing, nothing
	if s.Process != nil {
		pid = strconv.Itoa(s.Process.PID)
		uptime = ago(p.now().Sub(s.Process.StartedAt))
	}
	if s.LastExit != nil {
		exit = exitText(*s.LastExit) + ", " + ago(p.now().Sub(s.LastExit.At)) + " ago"
	}
	return []cell{
		{text: v.Name},
		{text: string(s.Phase), colour: phaseColour(s.Phase)},
		{text: pid}, {text: uptime},
		{text: strconv.FormatUint(s.Restarts, 10)},
		{text: exit},
	}
}

func (p *program) wideCells(v spec.View) []cell {
	next, repeat, file, command := nothing, nothing, nothing, nothing
	if at := v.Status.NextStart; at != nil {
		next = "in " + ago(at.Sub(p.now()))
	}
	if c := current(v); c != nil {
		file, command = c.File, c.CommandLine
		if c.Repeat != nil {
			repeat = repeatText(c.Repeat)
		}
	}
	if at := v.Status.RepeatAt; at != nil {
		repeat += ", next in " + ago(at.Sub(p.now()))
	}
	return []cell{
		{text: strconv.FormatUint(v.Desired.Generation, 10)},
		{text: next}, {text: repeat}, {text: file}, {text: command},
	}
}

// current is the configuration in force: that of the live process, else that
// of the file; nil when there is neither.
func current(v spec.View) *spec.Child {
	if v.Status.Process != nil && v.Status.Process.Config != nil {
		return v.Status.Process.Config
	}
	return v.Spec
}

func repeatText(r *spec.Repeat) string { return string(r.Action) + " after " + r.Every.String() }

// remarks are the reason, and of each warning what it is about: why it is so can
// be long, and stands in the detail.
func remarks(v spec.View) string {
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
func reason(v spec.View) string {
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
		say(f.Message)
	}
	for line := range strings.SplitSeq(v.FileError, "\n") {
		say(line)
	}
	if v.Stale {
		say("its configuration has changed since it was started, restart it to apply that")
	}
	return strings.Join(parts, "; ")
}
