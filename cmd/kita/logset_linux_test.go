package main

import (
	"slices"
	"strings"
	"testing"

	"kita/runtime/logs"
	"kita/spec"
)

func TestLogSet(t *testing.T) {
	var looked []string
	find := func(child string, c *spec.Child) []logs.Named {
		looked = append(looked, child)
		if c == nil {
			return nil
		}
		return []logs.Named{{Child: child, Streams: []spec.StreamName{spec.Out}}}
	}
	child := &spec.Child{}
	present := func(name string, c *spec.Child, phase spec.Phase, incarnation uint64) spec.Change {
		v := spec.View{Name: name, Spec: c, Status: spec.Status{Phase: phase}}
		if incarnation > 0 {
			v.Status.Process = &spec.Process{Incarnation: incarnation}
		}
		return spec.Change{Type: spec.Present, View: v}
	}
	removed := func(name string) spec.Change {
		return spec.Change{Type: spec.Removed, View: spec.View{Name: name}}
	}
	hidden := func(name string) bool { return name != "secret" }
	type step struct {
		change spec.Change
		// wakes: whoever has subscribed is woken. looked are the children whose
		// files are looked for then, sources those whose files are in the set.
		wakes           bool
		looked, sources string
	}
	tests := []struct {
		name     string
		children []string
		steps    []step
	}{
		{"all that may be read", []string{spec.All}, []step{
			{present("web", child, spec.PhaseRunning, 1), true, "web", "web"},
			{present("db", child, spec.PhaseStopped, 0), true, "db", "db web"},
			{present("secret", child, spec.PhaseStopped, 0), true, "secret", "db web"},
			{removed("web"), true, "", "db"},
			{removed("web"), false, "", "db"},
		}},
		{"those that are named", []string{"web"}, []step{
			{present("db", child, spec.PhaseRunning, 1), false, "", ""},
			{present("web", child, spec.PhaseRunning, 1), true, "web", "web"},
			{removed("db"), false, "", "web"},
		}},
		{"what the files hang on", []string{"web"}, []step{
			{present("web", nil, spec.PhaseStopped, 0), true, "web", ""},
			{present("web", child, spec.PhaseStopped, 0), true, "web", "web"},
			{present("web", child, spec.PhaseStopped, 0), false, "", "web"},
			{present("web", child, spec.PhaseRunning, 1), true, "web", "web"},
			{present("web", child, spec.PhaseRunning, 2), true, "web", "web"},
			{present("web", &spec.Child{Name: "edited"}, spec.PhaseRunning, 2), true, "web", "web"},
		}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			s := newLogSet(find, tc.children, hidden)
			woken := false
			defer s.Subscribe(func() { woken = true })()
			for i, step := range tc.steps {
				woken, looked = false, nil
				s.note(step.change)
				var sources []string
				for _, n := range s.Sources() {
					sources = append(sources, n.Child)
				}
				slices.Sort(looked)
				if woken != step.wakes || strings.Join(looked, " ") != step.looked || strings.Join(sources, " ") != step.sources {
					t.Errorf("step %d: woken %v, looked for %v, has %v; want %v, %q, %q", i, woken, looked, sources, step.wakes, step.looked, step.sources)
				}
			}
		})
	}
}
