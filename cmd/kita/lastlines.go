package main

import (
	"errors"
	"strings"

	"kita/spec"
)

// lastLines are what a child wrote before it failed, as lines to stand below what
// is said of the failure; none where l is nil. They are the child's own text, and
// escaped when written.
func lastLines(l *spec.LastLines) []string {
	if l == nil || len(l.Lines) == 0 {
		return nil
	}
	title := "  its last lines"
	if l.Stream != "" {
		title += " on " + streamTitle(l.Stream)
	}
	lines := []string{title + ":"}
	for _, line := range l.Lines {
		lines = append(lines, "    "+widened(line))
	}
	return lines
}

// lastLinesIn are those that an error comes with.
func lastLinesIn(err error) []string {
	var refusal *spec.Refusal
	if errors.As(err, &refusal) {
		return lastLines(refusal.LastLines)
	}
	return nil
}

// streamTitle is a stream as people call it; empty is both in one.
func streamTitle(name spec.StreamName) string {
	switch name {
	case spec.Out:
		return "stdout"
	case spec.Err:
		return "stderr"
	}
	return "output"
}

// widened has spaces for tabs, which would be shown as \t: stack traces are full of
// them.
func widened(line string) string { return strings.ReplaceAll(line, "\t", "    ") }
