package main

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"kita/control/controltest"
	"kita/control/fleet"
	"kita/spec"
)

// blockUntil is a Do that ends with its caller, or with release.
func blockUntil(release <-chan struct{}) func(context.Context, spec.Command) (spec.Outcome, error) {
	return func(ctx context.Context, _ spec.Command) (spec.Outcome, error) {
		select {
		case <-ctx.Done():
		case <-release:
		}
		return spec.Outcome{}, ctx.Err()
	}
}

// exampleViews has a child in each state that shows differently.
func exampleViews() []spec.View {
	at := controltest.Started
	next, repeat := at.Add(3*time.Hour+5*time.Minute+8*time.Second), at.Add(4*time.Hour)
	web := controltest.Child("web")
	web.Prehook, web.Posthook = &spec.Hook{Verb: spec.VerbStart, Child: "db"}, &spec.Hook{Verb: spec.VerbStop, Child: "db"}
	web.Repeat = &spec.Repeat{Action: spec.VerbRestart, Every: spec.Duration(4 * time.Hour)}
	web.Restart.Policy, web.Restart.Limit = spec.Always, spec.StartLimit{Starts: 5, Within: spec.Duration(time.Minute)}
	web.Stdout = &spec.Stream{Path: "out.log", Mode: spec.Append}
	web.Stderr = &spec.Stream{Path: "/var/log/web\x1b.log", Mode: spec.Append, Rotate: &spec.Rotate{Size: 100e6, Keep: 5, Compress: spec.Zstd}}
	web.User, web.Group = "www", "web"
	odd := controltest.Child("odd")
	odd.CommandLine = "echo \x1b]0;gotcha\a \xff ünï"
	hungry := controltest.Child("hungry")
	hungry.Resources = spec.Resources{Memory: 64 << 20, MilliCPU: 1500, Tasks: 20}
	hungryExits := []spec.Exit{
		{Incarnation: 1, Known: true, Code: 2, At: at.Add(time.Minute)},
		{Incarnation: 2, At: at.Add(2 * time.Minute)},
		{Incarnation: 3, Known: true, Signal: 9, OOMKilled: true, At: at.Add(time.Hour)},
	}
	stop := "stop pending: PID 12 is left although SIGKILL was sent"
	return []spec.View{
		{Name: "down", Spec: controltest.Child("down"), Desired: spec.Desired{Run: spec.Stopped, Generation: 3},
			Status: spec.Status{Phase: spec.PhaseStopped, Since: at, ObservedGeneration: 3,
				LastExit: &spec.Exit{Known: true, Signal: 15, At: at.Add(time.Hour)}}},
		{Name: "flaky", Spec: controltest.Child("flaky"), Desired: spec.Desired{Run: spec.Running, Generation: 2},
			Status: spec.Status{Phase: spec.PhaseBackOff, Since: at, ObservedGeneration: 1, Starts: 4, Restarts: 3, NextStart: &next,
				Reason: "exit 127", LastExit: &spec.Exit{Known: true, Code: 127, At: at.Add(3*time.Hour + 4*time.Minute)},
				LastLines: &spec.LastLines{Incarnation: 4, Stream: spec.Err, Lines: []string{"flaky: loading", "\tat main", "\x1b[2Jflaky: \xff not found"}}}},
		{Name: "odd", Spec: odd, FileError: "odd.yml:1: command: is missing\nodd.yml:2: zzz: unknown\x1b[31m",
			Status: spec.Status{Phase: spec.PhaseFailed, Since: at,
				Failure: &spec.Failure{Code: spec.CannotStart, Message: "exec: no such file"}, Reason: "cannot start: exec: no such file"}},
		{Name: "web", Spec: web, Stale: true, Desired: spec.Desired{Run: spec.Running, Generation: 7, By: "unix:0", At: at},
			Status: spec.Status{Phase: spec.PhaseRunning, Since: at.Add(time.Second), ObservedGeneration: 7, Starts: 1, RepeatAt: &repeat,
				Process: &spec.Process{PID: 4711, Incarnation: 1, StartedAt: at, Adopted: true, Config: web}}},
		{Name: "hungry", Spec: hungry, Desired: spec.Desired{Run: spec.Running, Generation: 1},
			Status: spec.Status{Phase: spec.PhaseRunning, Since: at.Add(time.Hour), ObservedGeneration: 1, Starts: 4, Restarts: 3,
				LastExit: &hungryExits[2], History: hungryExits,
				Process:  &spec.Process{PID: 4712, Incarnation: 4, StartedAt: at.Add(time.Hour), Config: hungry},
				Warnings: []string{"limits.memory is not in force: no memory controller", "its state is not saved\x1b[2J: no space left on device"}}},
		{Name: "stuck", Spec: controltest.Child("stuck"), Desired: spec.Desired{Run: spec.Stopped, Generation: 2},
			Status: spec.Status{Phase: spec.PhaseStopping, Since: at, Reason: stop, Starts: 1,
				Failure: &spec.Failure{Generation: 2, Code: spec.NotStopped, Message: stop}}},
	}
}

// exampleFiles are the output files of web.
func exampleFiles() []spec.OutputFile {
	return []spec.OutputFile{
		{Streams: []spec.StreamName{spec.Out}, Path: "/srv/out.log", Size: 12},
		{Streams: []spec.StreamName{spec.Err}, Path: "/var/log/web\x1b.log", Size: 4_700_000, Dropped: 12345, Fault: "write /var/log/web\x1b.log: no space left on device",
			Archives: []spec.Archive{{Size: 9_000_000}, {Size: 11_000_000}}},
	}
}

func TestRendering(t *testing.T) {
	plain := &program{now: func() time.Time { return controltest.Started.Add(3*time.Hour + 5*time.Minute) }}
	coloured := &program{now: plain.now, colour: true}
	views := exampleViews()
	info := spec.Info{ConfigFile: "/srv/server.yml", Version: "1.0", PID: 7, Keeper: 6,
		Containment: "cgroup2 /sys/fs/cgroup/kita-1f2e", StartedAt: controltest.Started, LoadPaths: []string{"/srv/a", "/srv/b"},
		Mode: spec.Half, Listeners: []string{"unix:/run/kita/kita.sock", "tcp:0.0.0.0:33889"}, Activated: []string{"unix:/run/kita/kita.sock"}, StateDir: "/var/lib/kita", RunDir: "/run/kita",
		Running: []string{"db", "web"}, Problems: []string{"0.0.0.0:33889 is open"}}
	tests := []struct {
		name  string
		write func(b *bytes.Buffer) error
	}{
		{"table", func(b *bytes.Buffer) error { return plain.writeTable(b, views, false, "") }},
		{"table-host", func(b *bytes.Buffer) error { return plain.writeTable(b, views[:1], false, "a:33889: ") }},
		{"table-wide", func(b *bytes.Buffer) error { return plain.writeTable(b, views, true, "") }},
		{"table-colour", func(b *bytes.Buffer) error { return coloured.writeTable(b, views, false, "") }},
		{"detail-web", func(b *bytes.Buffer) error {
			return plain.writeDetail(b, detail{view: views[3], files: exampleFiles()}, "")
		}},
		{"detail-flaky", func(b *bytes.Buffer) error { return plain.writeDetail(b, detail{view: views[1]}, "") }},
		{"detail-odd", func(b *bytes.Buffer) error { return plain.writeDetail(b, detail{view: views[2]}, "h: ") }},
		{"detail-hungry", func(b *bytes.Buffer) error { return plain.writeDetail(b, detail{view: views[4]}, "h: ") }},
		{"info", func(b *bytes.Buffer) error { return plain.writeInfo(b, info, "") }},
		{"info-empty", func(b *bytes.Buffer) error {
			return plain.writeInfo(b, spec.Info{Encrypt: true, StartedAt: controltest.Started}, "")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := tt.write(&b); err != nil {
				t.Fatal(err)
			}
			golden(t, tt.name, b.String())
		})
	}
}

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"plain ünï 日本":    "plain ünï 日本",
		"\x1b[2J":         `\x1b[2J`,
		"a\nb\tc\r":       `a\nb\tc\r`,
		"\xff\x00":        `\xff\x00`,
		"\u202egnp.exe":   `\u202egnp.exe`,
		"it's \"quoted\"": "it's \"quoted\"",
	} {
		if got := printable(text); got != want {
			t.Errorf("printable(%q) is %q, want %q", text, got, want)
		}
	}
}

func TestResourcesText(t *testing.T) {
	for want, r := range map[string]spec.Resources{
		"":                          {},
		"memory 1TiB":               {Memory: 1 << 40},
		"memory 1536MiB, tasks 7":   {Memory: 3 << 29, Tasks: 7},
		"memory 64MB, cpu 0.001":    {Memory: 64e6, MilliCPU: 1},
		"memory 3075KiB, cpu 2":     {Memory: 3075 << 10, MilliCPU: 2000},
		"memory 1048577B, tasks 10": {Memory: 1<<20 + 1, Tasks: 10},
	} {
		if got := resourcesText(r); got != want {
			t.Errorf("%+v is %q, want %q", r, got, want)
		}
	}
}

func TestAgo(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 59900 * time.Millisecond: "59s", 61 * time.Second: "1m01s",
		3*time.Hour + 5*time.Minute: "3h05m", 49 * time.Hour: "2d01h",
	} {
		if got := ago(d); got != want {
			t.Errorf("ago(%v) is %s, want %s", d, got, want)
		}
	}
}

func TestOutcomeText(t *testing.T) {
	hook := &spec.Hook{Verb: spec.VerbStart, Child: "db"}
	alive := spec.Status{Process: &spec.Process{PID: 5}}
	parts := []spec.Part{{Child: "a", Generation: 2}, {Child: "b", Generation: 2}}
	tests := []struct {
		name string
		out  spec.Outcome
		want string
	}{
		{"start", spec.Outcome{Verb: spec.VerbStart, Child: "web", Status: alive}, "web started, PID 5"},
		{"start, and all there is to add",
			spec.Outcome{Verb: spec.VerbStart, Child: "web", Status: alive, Prehook: hook, Note: "n",
				Repeat: &spec.Repeat{Action: spec.VerbStop, Every: spec.Duration(5 * time.Second)}},
			"web started, PID 5 (prehook start db; it will stop in 5s; n)"},
		{"restart", spec.Outcome{Verb: spec.VerbRestart, Child: "web", Status: alive}, "web restarted, PID 5"},
		{"trystart of a dead child", spec.Outcome{Verb: spec.VerbTrystart, Child: "web", Status: alive}, "web started, PID 5"},
		{"trystart of a live child", spec.Outcome{Verb: spec.VerbTrystart, Child: "web", WasRunning: true, Status: alive}, "web restarted, PID 5"},
		{"a job that is done already",
			spec.Outcome{Verb: spec.VerbStart, Child: "job", Status: spec.Status{LastExit: &spec.Exit{Known: true, Code: 0}}},
			"job started, and has ended since: exit 0"},
		{"stop", spec.Outcome{Verb: spec.VerbStop, Child: "web", Note: "2 processes had to be killed", Posthook: hook},
			"web stopped (posthook start db; 2 processes had to be killed)"},
		{"restart of all", spec.Outcome{Verb: spec.VerbRestart, Child: spec.All, Children: parts}, "all children that ran are restarted"},
		{"restart of all but one",
			spec.Outcome{Verb: spec.VerbRestart, Child: spec.All, Children: parts, LeftRunning: []string{"mid"}},
			"restarted: a, b; left running, without a file: mid"},
		{"trystart of all but some",
			spec.Outcome{Verb: spec.VerbTrystart, Child: spec.All, Children: parts, LeftStopped: []string{"db"}, LeftRunning: []string{"mid", "old"}},
			"started anew: a, b; left stopped: db; left running, without a file: mid, old"},
		{"none but those",
			spec.Outcome{Verb: spec.VerbTrystart, Child: spec.All, Unchanged: true, LeftRunning: []string{"mid"}},
			"left running, without a file: mid"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := outcomeText(tt.out, false); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	all := spec.Outcome{Verb: spec.VerbRestart, Child: spec.All, LeftRunning: []string{"mid"}}
	if got, want := outcomeText(all, true), "all: restart is written; left running, without a file: mid"; got != want {
		t.Errorf("written: got %q, want %q", got, want)
	}
}

func TestAFaultOfAFileIsShownOnce(t *testing.T) {
	const fault = "/srv/out.log was removed"
	d := detail{view: spec.View{Status: spec.Status{Warnings: []string{"other", fault}}}, files: []spec.OutputFile{{Fault: fault}, {Fault: "write /srv/err.log: no space left on device"}, {}}}
	if got, want := warningsOf(d), []string{"other", fault, "write /srv/err.log: no space left on device"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if len(d.view.Status.Warnings) != 2 {
		t.Errorf("the child has %q now", d.view.Status.Warnings)
	}
}

func TestUserText(t *testing.T) {
	for _, tt := range []struct{ user, group, want string }{
		{"", "", ""}, {"nobody", "", "nobody"}, {"nobody", "adm", "nobody:adm"}, {"", "adm", ":adm"},
	} {
		if got := userText(&spec.Child{User: tt.user, Group: tt.group}); got != tt.want {
			t.Errorf("%q, %q: %q, want %q", tt.user, tt.group, got, tt.want)
		}
	}
}

// Who asked is said of the host that was asked.
func TestCheckSaysWhoAsked(t *testing.T) {
	d := detail{view: spec.View{Name: "web", Desired: spec.Desired{Run: spec.Stopped, By: "unix:1000"}}, host: "h1"}
	var b bytes.Buffer
	if err := (&program{now: time.Now}).writeDetail(&b, d, ""); err != nil || !strings.Contains(b.String(), "stopped by user 1000 on h1\n") {
		t.Errorf("%v\n%s", err, b.String())
	}
	if got := (request{hosts: []fleet.Host{fleet.Local}}).place(); got != "" {
		t.Errorf("of this host: %q", got)
	}
}
