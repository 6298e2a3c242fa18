package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"kita/control/controltest"
	"kita/control/fleet"
	"kita/spec"
	"kita/why"
)

// exampleAnswer has all that an answer can have, some of it hostile.
func exampleAnswer() why.Answer {
	at := controltest.Started.Add(3 * time.Hour)
	return why.Answer{
		Child: "web\x1b[1m", Phase: spec.PhaseBackOff, Since: at,
		Summary:  "web\x1b[1m is in back-off, attempt 4, next start in 14s: exit 1 after 0.2s",
		Warnings: []string{"limits.memory is not in force: \x1b[2J"},
		Notes:    []string{"what was before 02:11:11 is not in the history"},
		Chain: []why.Step{
			{Time: at.Add(-50 * time.Hour), Text: "start by key o\u202eps from 10.0.0.7", Event: spec.Event{Seq: 1, Type: spec.EventCommand, Child: "web", At: at.Add(-50 * time.Hour)}},
			{Time: at, First: at.Add(-time.Minute), Times: 4, Text: "4 times exit 1 within 1m00s", Event: spec.Event{Seq: 9, Type: spec.EventExited, Child: "web", At: at}},
			{Time: at, Text: "back-off, attempt 4\r\n", Event: spec.Event{Seq: 10, Type: spec.EventBackOff, Child: "web", At: at}},
		},
		LastLines: &spec.LastLines{Incarnation: 4, Stream: spec.Err, Lines: []string{"Error: \x1b]0;gotcha\a", "\tat main.go:7"}},
		Hints:     []string{"kita logs 'web\x1b[1m' --tail 50"},
	}
}

func TestAnswersAsText(t *testing.T) {
	now := func() time.Time { return controltest.Started.Add(3*time.Hour + 5*time.Minute) }
	for name, p := range map[string]*program{"why": {now: now}, "why-colour": {now: now, colour: true}} {
		var b bytes.Buffer
		if err := p.writeWhy(&b, exampleAnswer(), ""); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.String())
	}
	var b bytes.Buffer
	p := &program{now: now}
	if err := p.writeWhy(&b, why.Answer{Child: "web", Summary: "web is running", Chain: []why.Step{}}, "h1: "); err != nil || b.String() != "h1: web is running\n" {
		t.Errorf("%q, %v", &b, err)
	}
	text, err := encode(formatJSON, exampleAnswer(), "")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "why-json", string(text))
	if _, err := encode(formatYAML, exampleAnswer(), ""); err != nil {
		t.Error(err)
	}
}

func TestWhyAsksForAllThatIsKnown(t *testing.T) {
	web := controltest.Child("web")
	svc := controltest.New(web, controltest.Child("db"))
	svc.InfoValue.Mode = spec.Quiet
	at := controltest.Started
	svc.Record(
		spec.Event{At: at, Child: "web", Type: spec.EventCommand, Verb: spec.VerbStart, By: "unix:0", Generation: 1},
		spec.Event{At: at, Child: "db", Type: spec.EventStarted, PID: 1},
		spec.Event{At: at, Child: "web", Type: spec.EventStarted, PID: 100, Incarnation: 1, Generation: 1, Cause: spec.CauseCommand},
		spec.Event{At: at.Add(time.Hour), Child: "gone", Type: spec.EventConfig, Config: spec.ConfigGone},
		spec.Event{At: at.Add(time.Hour), Child: "gone", Type: spec.EventForgotten},
	)
	svc.SetRunning("web", 100)
	svc.OutputFiles = map[string][]spec.OutputFile{"web": {{Path: "/srv/web.log", Fault: "the disk is full"}}}
	server := serveFake(t, svc)
	for _, tt := range []struct {
		args   string
		status int
		out    string
	}{
		{"why web", exitOK, "web is running since 02:11:11 (3h05m ago), PID 100: started by root on this host\n" +
			"warning: the disk is full\n\n" +
			"  02:11:11  3h05m ago  start by root on this host\n" +
			"  02:11:11  3h05m ago  started, PID 100\n"},
		{"why gone", exitOK, "gone is no child any more: its file was gone at 03:11:11 (2h05m ago)\n\n" +
			"  03:11:11  2h05m ago  its file is gone\n" +
			"  03:11:11  2h05m ago  forgotten: its file is gone, and nothing of it is alive\n"},
		{"why nope", exitFailed, ""},
		{"why web on " + server.tcp, exitOK, "web is running since 02:11:11 (3h05m ago), PID 100: started by root on this host\n"},
	} {
		status, out, stderr := kita(server.socket, strings.Fields(tt.args)...)
		if status != tt.status || !strings.HasPrefix(out, tt.out) || tt.out == "" && out != "" {
			t.Errorf("%s: status %d, stdout\n%s\nwant\n%s\nstderr %q", tt.args, status, out, tt.out, stderr)
		}
		if tt.status == exitFailed && !strings.Contains(stderr, `there is no child "nope"`) {
			t.Errorf("stderr %q", stderr)
		}
	}
	_, out, _ := kita(server.socket, "why", "web", "-o", "json")
	var a why.Answer
	if err := json.Unmarshal([]byte(out), &a); err != nil || len(a.Chain) != 2 || a.Chain[0].Event.By != "unix:0" || a.Phase != spec.PhaseRunning {
		t.Errorf("%v: %s", err, out)
	}
	if status, _, stderr := kita("", "why", "web", "on", unused(t)); status != exitUnreachable {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
}

// A server that has no history, or does not give it out, is asked all the same.
func TestWhyWithoutAHistory(t *testing.T) {
	svc := controltest.New(controltest.Child("web"))
	svc.SetRunning("web", 100)
	svc.EventsFunc = func(context.Context, spec.EventRequest, func(string) bool, func([]spec.Event) error) error {
		return spec.Refuse(spec.Unavailable, "events", "web", "events: the disk is gone")
	}
	server := serveFake(t, svc)
	status, out, stderr := kita(server.socket, "why", "web")
	want := "web is running since 02:11:11 (3h05m ago), PID 100: started by somebody unknown\n\n  (its history cannot be read: events: the disk is gone)\n"
	if status != exitOK || out != want || stderr != "" {
		t.Errorf("status %d, stdout %q, stderr %q", status, out, stderr)
	}
}

func TestHostsAreNamedInAnswers(t *testing.T) {
	for want, h := range map[string]fleet.Host{
		"":               fleet.Local,
		"10.0.0.7:33889": {Name: "10.0.0.7", Port: 33889},
		"web1":           {Name: "10.0.0.7", Port: 33889, Label: "web1"},
		"back":           {Name: "back", SSH: true, User: "ops"},
	} {
		if got := hostName(h); got != want {
			t.Errorf("%+v is %q, want %q", h, got, want)
		}
	}
}
