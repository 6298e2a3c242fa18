package main

import (
	"bytes"
	"testing"

	"kita/spec"
)

func TestDifferencesAreShown(t *testing.T) {
	diffs := []spec.ChildDiff{
		{Child: "broken", State: spec.DiffBroken, Phase: spec.PhaseRunning, PID: 4, Error: "/srv/broken.yml:1: comand: unknown key\n/srv/broken.yml:1: command: is missing"},
		{Child: "fresh", State: spec.DiffNew, Phase: spec.PhaseStopped, Command: "./fresh --token ***"},
		{Child: "gone", State: spec.DiffGone, Phase: spec.PhaseRunning, PID: 5},
		{Child: "job", State: spec.DiffNotRunning, Phase: spec.PhaseExited, Command: "./job"},
		{Child: "same", State: spec.DiffUnchanged, Phase: spec.PhaseRunning, PID: 6},
		{Child: "strange", State: spec.DiffChanged, Phase: spec.PhaseRunning, PID: 7},
		{Child: "web", State: spec.DiffChanged, Phase: spec.PhaseRunning, PID: 8, Differences: []spec.Difference{
			{Field: "env.EMPTY", Old: new("x"), New: new(""), Class: spec.DiffRestart},
			{Field: "env.PORT", Old: new("80"), New: new("81"), Class: spec.DiffRestart},
			{Field: "env.TOKEN", Old: new("***"), New: new("***"), Masked: true, Class: spec.DiffRestart},
			{Field: "env.NEW_TOKEN", New: new("***"), Masked: true, Class: spec.DiffRestart},
			{Field: "stop.grace", Old: new("10s"), New: new("20s\x1b[2J"), Class: spec.DiffLive},
			{Field: "hooks.prehook", Old: new("start db"), Class: spec.DiffNextStart},
		}},
	}
	var text bytes.Buffer
	p := &program{name: "kita", out: &text}
	if err := p.writeDiffs(&text, diffs, "h1: "); err != nil {
		t.Fatal(err)
	}
	golden(t, "diff", text.String())
	text.Reset()
	if err := p.writeDiffs(&text, diffs[4:5], ""); err != nil || text.String() != "no differences\n" {
		t.Errorf("%q, %v", text.String(), err)
	}
	status := exitOK
	for _, d := range diffs[1:] {
		status = worst(status, diffStatus(d.State))
	}
	if status != exitDiffers || worst(status, diffStatus(diffs[0].State)) != exitConfig || diffStatus(diffs[4].State) != exitOK {
		t.Errorf("the status is %d", status)
	}
}
