package main

import (
	"context"
	"strings"
	"testing"

	"kita/spec"
)

func TestLastLinesStandBelowTheAnswer(t *testing.T) {
	last := &spec.LastLines{Incarnation: 1, Stream: spec.Err, Lines: []string{"Error: no port", "\tat main.go:7\x1b[2J", ""}}
	ended := func(code int) func(context.Context, spec.Command) (spec.Outcome, error) {
		return func(_ context.Context, c spec.Command) (spec.Outcome, error) {
			status := spec.Status{Phase: spec.PhaseFailed, LastExit: &spec.Exit{Known: true, Code: code}}
			if code != 0 {
				status.LastLines = last
			}
			return spec.Outcome{Verb: c.Verb, Child: c.Child, Generation: 1, Status: status}, nil
		}
	}
	refused := func(l *spec.LastLines) func(context.Context, spec.Command) (spec.Outcome, error) {
		return func(_ context.Context, c spec.Command) (spec.Outcome, error) {
			refusal := spec.Refuse(spec.NotRunning, c.Verb, c.Child, "web is not running")
			refusal.LastLines = l
			return spec.Outcome{}, refusal
		}
	}
	tests := []struct {
		name, command string
		do            func(context.Context, spec.Command) (spec.Outcome, error)
		out, err      string
	}{
		{"it has ended since", "start web", ended(1), "web started, and has ended since: exit 1\n" +
			"  its last lines on stderr:\n    Error: no port\n        at main.go:7\\x1b[2J\n    \n", ""},
		{"it has ended since, and well", "start web", ended(0), "web started, and has ended since: exit 0\n", ""},
		{"it was stopped", "stop web", ended(1), "web stopped\n", ""},
		{"nobody waited", "start web --no-wait", ended(1), "web: start is written, generation 1\n", ""},
		{"refused", "restart web", refused(last), "", "kita: web is not running\n" +
			"kita:   its last lines on stderr:\nkita:     Error: no port\nkita:         at main.go:7\\x1b[2J\nkita:     \n"},
		{"both streams in one file", "restart web", refused(&spec.LastLines{Lines: []string{"why"}}), "", "kita: web is not running\n" +
			"kita:   its last lines:\nkita:     why\n"},
		{"refused, and there is nothing to show", "restart web", refused(nil), "", "kita: web is not running\n"},
		{"refused, and nothing was written", "restart web", refused(&spec.LastLines{Stream: spec.Out}), "", "kita: web is not running\n"},
		{"it does not come up in a rolling change", "start web --serial", ended(2), "",
			"kita: web was started, and has ended since: exit 2\n" +
				"kita:   its last lines on stderr:\nkita:     Error: no port\nkita:         at main.go:7\\x1b[2J\nkita:     \n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, out, stderr := kita(serveFake(t, doing(tt.do)).socket, strings.Fields(tt.command)...)
			if out != tt.out || stderr != tt.err {
				t.Errorf("stdout %q\nwant   %q\nstderr %q\nwant   %q", out, tt.out, stderr, tt.err)
			}
		})
	}
	a, b := serveFake(t, doing(refused(last))), serveFake(t, doing(refused(last)))
	_, out, _ := kita("", "restart", "web", "-o", "json", "on", a.tcp+","+b.tcp)
	if strings.Count(out, `"last_lines": {`) != 2 || strings.Count(out, `"Error: no port",`) != 2 {
		t.Errorf("two hosts answer %s", out)
	}
}
