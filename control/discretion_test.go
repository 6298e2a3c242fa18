package control

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"kita/control/controltest"
	"kita/spec"
)

// secretService starts children of which everything that only readers may know
// has the word in it.
func secretService(word string) *controltest.Service {
	svc := testService()
	svc.DoFunc = func(_ context.Context, c spec.Command) (spec.Outcome, error) {
		last := &spec.LastLines{Incarnation: 6, Stream: spec.Err, Lines: []string{word}}
		switch c.Verb {
		case spec.VerbRestart:
			return spec.Outcome{}, spec.Refuse(spec.HookFailed, c.Verb, c.Child, "cannot restart %s: %s: no such file", c.Child, word)
		case spec.VerbStop:
			refusal := spec.Refuse(spec.NotRunning, c.Verb, c.Child, "%s is not running", c.Child)
			refusal.LastLines = last
			return spec.Outcome{}, refusal
		}
		hook := &spec.Hook{Verb: spec.VerbStart, Child: word}
		return spec.Outcome{
			Verb: c.Verb, Child: c.Child, Generation: 7, Prehook: hook, Posthook: hook,
			Status: spec.Status{
				Phase: spec.PhaseRunning, Since: controltest.Started, ObservedGeneration: 7, Starts: 3, Restarts: 2, Reason: word,
				Process:  &spec.Process{PID: 42, Config: &spec.Child{Command: []string{word}}},
				Failure:  &spec.Failure{Code: spec.HookFailed, Message: word},
				Warnings: []string{word}, LastLines: last,
			},
		}, nil
	}
	return svc
}

// Who may start a child and not read it learns that it runs, and nothing else.
func TestOperatingIsNotReading(t *testing.T) {
	const word = "hunter2"
	access := append(rulesOfTests(), rules("both", "*", spec.Read, spec.Operate))
	both := asker{via: viaSSH, peer: "10.0.0.7:2", key: "both"}
	for _, tt := range []struct {
		who   asker
		reads bool
	}{{starter, false}, {both, true}, {ops, true}, {local, true}} {
		g := newGated(t, access, func(o *Options) { o.Service = secretService(word) })
		status, body := g.http(tt.who, "POST /v1/children/b/start")
		if status != 200 || strings.Contains(body, word) != tt.reads || !strings.Contains(body, `"pid":42`) || !strings.Contains(body, `"generation":7`) || !strings.Contains(body, `"starts":3,"restarts":2`) {
			t.Errorf("%s: %d %s", tt.who.by(), status, body)
		}
		status, body = g.http(tt.who, "POST /v1/children/b/restart")
		if status != 424 || strings.Contains(body, word) != tt.reads || !tt.reads && !strings.Contains(body, "restart b: a hook failed; why is told to keys that may read it") {
			t.Errorf("%s: %d %s", tt.who.by(), status, body)
		}
		status, body = g.http(tt.who, "POST /v1/children/b/stop")
		if status != 409 || strings.Contains(body, word) != tt.reads || !strings.Contains(body, "b is not running") {
			t.Errorf("%s: %d %s", tt.who.by(), status, body)
		}
		if answer := g.text(tt.who, "restart b"); strings.Contains(answer, word) != tt.reads {
			t.Errorf("%s: %q", tt.who.by(), answer)
		}
		// The log is for others.
		if text, err := os.ReadFile(g.audit); err != nil || strings.Count(string(text), word) != 2 {
			t.Errorf("%s: %v\n%s", tt.who.by(), err, text)
		}
	}
}

func TestRotatingIsNotReading(t *testing.T) {
	const word = "hunter2"
	access := append(rulesOfTests(), rules("both", "*", spec.Read, spec.Operate), rules("some", "web", spec.Read), rules("some", "*", spec.Operate))
	both, some := asker{via: viaSSH, peer: "10.0.0.7:2", key: "both"}, asker{via: viaSSH, peer: "10.0.0.7:2", key: "some"}
	archive := spec.Archive{Path: "/srv/" + word, Size: 4711, Bytes: 4712, At: controltest.Started}
	for _, tt := range []struct {
		who      asker
		one, all bool // what may be read
	}{{starter, false, false}, {some, true, false}, {both, true, true}, {ops, true, true}, {local, true, true}} {
		for path, reads := range map[string]bool{"POST /v1/children/web/rotate": tt.one, "POST /v1/rotate": tt.all} {
			var failure error
			g := newGated(t, access, nil)
			g.svc.RotateFunc = func(context.Context, string) ([]spec.Archive, error) { return []spec.Archive{archive}, failure }
			status, body := g.http(tt.who, path)
			if status != 200 || strings.Contains(body, word) != reads || strings.Contains(body, "471") != reads || strings.Count(body, `"at":`) != 1 {
				t.Errorf("%s: %s: %d %s", tt.who.by(), path, status, body)
			}
			failure = errors.New("open /srv/" + word + ": permission denied")
			status, body = g.http(tt.who, path)
			if status != 503 || strings.Contains(body, word) != reads || !reads && !strings.Contains(body, "why is told to keys that may read it") {
				t.Errorf("%s: %s fails: %d %s", tt.who.by(), path, status, body)
			}
		}
	}
}
