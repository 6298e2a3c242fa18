package why

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kita/spec"
)

var update = flag.Bool("update", false, "rewrite the golden file")

// now is when every question is asked.
var now = time.Date(2026, 3, 4, 12, 4, 11, 0, time.UTC)

func before(d time.Duration) time.Time { return now.Add(-d) }

// child is a configuration with the defaults.
func child(name string) *spec.Child {
	return &spec.Child{
		Name: name, File: "/srv/" + name + ".yml", Command: []string{"./server"},
		Stdout:  &spec.Stream{Path: "/var/log/" + name + ".log"},
		Stop:    spec.Stop{Signal: 15, Grace: spec.Duration(10 * time.Second)},
		Restart: spec.Restart{Policy: spec.Never},
	}
}

func always(name string) *spec.Child {
	c := child(name)
	c.Restart.Policy = spec.Always
	return c
}

// patient has a grace period of a minute.
func patient(name string) *spec.Child {
	c := child(name)
	c.Stop.Grace = spec.Duration(time.Minute)
	return c
}

// wanted is a desired state, generation 3.
func wanted(run spec.Run, by string, ago time.Duration) spec.Desired {
	return spec.Desired{Run: run, Generation: 3, RestartGeneration: 2, Cause: spec.CauseCommand, By: by, At: before(ago)}
}

// log numbers events, which are at the ages that are told with them.
func log(events ...spec.Event) []spec.Event {
	for i := range events {
		events[i].Seq = uint64(i) + 1
	}
	return events
}

func at(ago time.Duration, e spec.Event) spec.Event {
	e.At, e.Child = before(ago), "web"
	return e
}

func commandBy(ago time.Duration, verb spec.Verb, by string, generation uint64) spec.Event {
	return at(ago, spec.Event{Type: spec.EventCommand, Verb: verb, By: by, Generation: generation, Cause: spec.CauseCommand})
}

func startedAs(ago time.Duration, pid int, incarnation uint64, cause spec.Cause) spec.Event {
	return at(ago, spec.Event{Type: spec.EventStarted, PID: pid, Incarnation: incarnation, Cause: cause, Generation: 3})
}

func exitedWith(ago time.Duration, incarnation uint64, code int, ran time.Duration, attempt int) spec.Event {
	return at(ago, spec.Event{Type: spec.EventExited, Incarnation: incarnation, Ran: spec.Duration(ran), Attempt: attempt, Success: code == 0,
		Exit: &spec.Exit{Incarnation: incarnation, Known: true, Code: code, At: before(ago)}})
}

func backOff(ago time.Duration, attempt int, in time.Duration) spec.Event {
	next := now.Add(in)
	return at(ago, spec.Event{Type: spec.EventBackOff, Attempt: attempt, Next: &next})
}

func lastExit(ago time.Duration, incarnation uint64, code int) *spec.Exit {
	return &spec.Exit{Incarnation: incarnation, Known: true, Code: code, At: before(ago)}
}

func process(c *spec.Child, ago time.Duration, pid int, incarnation uint64) *spec.Process {
	return &spec.Process{PID: pid, Incarnation: incarnation, StartedAt: before(ago), Config: c}
}

func soon(d time.Duration) *time.Time { t := now.Add(d); return &t }

// cases are in the order of the golden file.
var cases = []struct {
	name string
	q    Question
}{
	{"stopped by a key", Question{
		View: spec.View{Name: "web", Spec: child("web"), Desired: wanted(spec.Stopped, "ssh:ops@10.0.0.7", 3*time.Minute),
			Status: spec.Status{Phase: spec.PhaseStopped, Since: before(3 * time.Minute), Starts: 1, LastExit: &spec.Exit{Incarnation: 1, Known: true, Signal: 15, At: before(3 * time.Minute)}}},
		Events: log(
			commandBy(26*time.Hour, spec.VerbStart, "unix:0", 2),
			startedAs(26*time.Hour, 811, 1, spec.CauseCommand),
			commandBy(3*time.Minute, spec.VerbStop, "ssh:ops@10.0.0.7", 3),
			at(3*time.Minute, spec.Event{Type: spec.EventStopping, Signal: 15}),
			at(3*time.Minute, spec.Event{Type: spec.EventExited, Incarnation: 1, Asked: true, Ran: spec.Duration(26 * time.Hour),
				Exit: &spec.Exit{Incarnation: 1, Known: true, Signal: 15, At: before(3 * time.Minute)}}),
		)}},
	{"stopped, and what outlived its grace was killed", Question{
		View: spec.View{Name: "web", Spec: child("web"), Desired: wanted(spec.Stopped, "tcp:10.0.0.7", time.Minute),
			Status: spec.Status{Phase: spec.PhaseStopped, Reason: "still alive after its grace period, killed: PIDs 811, 812"}},
		Events: log(
			startedAs(time.Hour, 811, 1, spec.CauseCommand),
			commandBy(time.Minute, spec.VerbStop, "tcp:10.0.0.7", 3),
			at(time.Minute, spec.Event{Type: spec.EventStopping, Signal: 15}),
			at(50*time.Second, spec.Event{Type: spec.EventKilled, PIDs: []int{811, 812}}),
			at(50*time.Second, spec.Event{Type: spec.EventExited, Incarnation: 1, Asked: true, Exit: &spec.Exit{Incarnation: 1, Known: true, Signal: 9}}),
		)}},
	{"stopped by a posthook", Question{
		View: spec.View{Name: "web", Spec: child("web"), Desired: wanted(spec.Stopped, "posthook of proxy", time.Minute), Status: spec.Status{Phase: spec.PhaseStopped}},
	}},
	{"stopped by its repeat action", Question{
		View:   spec.View{Name: "web", Spec: child("web"), Desired: wanted(spec.Stopped, "repeat", time.Minute), Status: spec.Status{Phase: spec.PhaseStopped}},
		Events: log(startedAs(time.Hour, 811, 1, spec.CauseCommand), commandBy(time.Minute, spec.VerbStop, "repeat", 3)),
	}},
	{"stopped, and a start was refused since", Question{
		View: spec.View{Name: "web", Spec: child("web"), Desired: wanted(spec.Stopped, "unix:1000", time.Hour), FileError: "/srv/web.yml:3: foo: unknown key\n/srv/web.yml:4: bar: unknown key",
			Status: spec.Status{Phase: spec.PhaseStopped}},
		Events: log(
			commandBy(time.Hour, spec.VerbStop, "unix:1000", 3),
			at(30*time.Minute, spec.Event{Type: spec.EventConfig, Config: spec.ConfigBroken, Message: "/srv/web.yml:3: foo: unknown key\n/srv/web.yml:4: bar: unknown key"}),
			at(20*time.Minute, spec.Event{Type: spec.EventRefused, Verb: spec.VerbStart, By: "old:ops@10.0.0.7", Code: spec.InvalidFile, Message: "/srv/web.yml:3: foo: unknown key\n/srv/web.yml:4: bar: unknown key"}),
			at(19*time.Minute, spec.Event{Type: spec.EventRefused, Verb: spec.VerbStart, By: "old:ops@10.0.0.7", Code: spec.InvalidFile, Message: "/srv/web.yml:3: foo: unknown key\n/srv/web.yml:4: bar: unknown key"}),
		)}},
	{"its posthook failed", Question{
		View: spec.View{Name: "web", Spec: func() *spec.Child {
			c := child("web")
			c.Posthook = &spec.Hook{Verb: spec.VerbStart, Child: "spare"}
			return c
		}(), Desired: wanted(spec.Stopped, "unix:0", time.Minute), Status: spec.Status{Phase: spec.PhaseStopped,
			Reason:  `posthook "start spare": cannot start spare: exec ./spare: no such file or directory`,
			Failure: &spec.Failure{Generation: 3, Code: spec.HookFailed, Message: `posthook "start spare": cannot start spare: exec ./spare: no such file or directory`}}},
		HookedUnknown: "the key web may not read spare",
	}},
	{"never started, mode quiet", Question{
		View: spec.View{Name: "web", Spec: child("web"), Status: spec.Status{Phase: spec.PhaseStopped}}, Mode: spec.Quiet,
		Events: log(at(time.Hour, spec.Event{Type: spec.EventConfig, Config: spec.ConfigNew})),
	}},
	{"never started, mode half", Question{View: spec.View{Name: "web", Spec: child("web"), Status: spec.Status{Phase: spec.PhaseStopped}}, Mode: spec.Half}},
	{"never started, its file came after mode full", Question{
		View: spec.View{Name: "web", Spec: child("web"), Status: spec.Status{Phase: spec.PhaseStopped}}, Mode: spec.Full,
		Events: log(at(time.Hour, spec.Event{Type: spec.EventConfig, Config: spec.ConfigNew})),
	}},
	{"not started since the boot", Question{
		View: spec.View{Name: "web", Spec: child("web"), Desired: spec.Desired{Generation: 2}, Status: spec.Status{Phase: spec.PhaseStopped, Starts: 0}}, Mode: spec.Quiet,
		Events: log(commandBy(50*time.Hour, spec.VerbStart, "unix:0", 2), startedAs(50*time.Hour, 811, 1, spec.CauseCommand)),
	}},
	{"stopped with the server, and not started by the next", Question{
		View: spec.View{Name: "web", Spec: child("web"), Desired: spec.Desired{Generation: 2}, Status: spec.Status{Phase: spec.PhaseStopped, Starts: 1}}, Mode: spec.Half,
		Events: log(commandBy(50*time.Hour, spec.VerbStart, "unix:0", 2), startedAs(50*time.Hour, 811, 1, spec.CauseCommand),
			at(time.Hour, spec.Event{Type: spec.EventStopping, Signal: 15, Message: "the server stops all children"}),
			at(time.Hour, spec.Event{Type: spec.EventExited, Incarnation: 1, Asked: true, Exit: &spec.Exit{Incarnation: 1, Known: true, Signal: 15}})),
	}},
	{"stopped with the server, which has not ended yet", Question{
		View: spec.View{Name: "web", Spec: child("web"), Desired: wanted(spec.Running, "unix:0", time.Hour),
			Status: spec.Status{Phase: spec.PhaseStopped, ObservedGeneration: 3, Starts: 1}},
		Events: log(commandBy(time.Hour, spec.VerbStart, "unix:0", 3), startedAs(time.Hour, 811, 1, spec.CauseCommand),
			at(2*time.Second, spec.Event{Type: spec.EventStopping, Incarnation: 1, Signal: 15, Message: "the server stops all children"}),
			at(time.Second, spec.Event{Type: spec.EventExited, Incarnation: 1, Asked: true, Exit: &spec.Exit{Incarnation: 1, Known: true, Signal: 15}})),
	}},
	{"in back-off when the server ended", Question{
		View: spec.View{Name: "web", Spec: always("web"), Desired: wanted(spec.Running, "unix:0", time.Hour),
			Status: spec.Status{Phase: spec.PhaseStopped, ObservedGeneration: 3, Starts: 1}},
		Events: log(commandBy(time.Hour, spec.VerbStart, "unix:0", 3), startedAs(time.Hour, 811, 1, spec.CauseCommand), exitedWith(time.Minute, 1, 1, 59*time.Minute, 1),
			at(time.Minute, spec.Event{Type: spec.EventStopping, Incarnation: 1, Signal: 15, Message: "its leader has ended, what is left of its group is stopped"})),
	}},
	{"its file was gone, and came again", Question{
		View: spec.View{Name: "web", Spec: child("web"), Status: spec.Status{Phase: spec.PhaseStopped}}, Mode: spec.Quiet,
		Events: log(commandBy(time.Hour, spec.VerbStart, "unix:0", 2), startedAs(time.Hour, 811, 1, spec.CauseCommand),
			at(time.Minute, spec.Event{Type: spec.EventConfig, Config: spec.ConfigGone}), commandBy(50*time.Second, spec.VerbStop, "unix:0", 3),
			at(50*time.Second, spec.Event{Type: spec.EventStopping, Cause: spec.CauseCommand, Incarnation: 1, Signal: 15}),
			at(50*time.Second, spec.Event{Type: spec.EventExited, Incarnation: 1, Asked: true, Exit: &spec.Exit{Incarnation: 1, Known: true, Signal: 15}}),
			at(50*time.Second, spec.Event{Type: spec.EventForgotten}), at(40*time.Second, spec.Event{Type: spec.EventConfig, Config: spec.ConfigNew})),
	}},
	{"never started, because its hooks go in a circle", Question{
		View: spec.View{Name: "web", Spec: child("web"), Status: spec.Status{Phase: spec.PhaseStopped}}, Mode: spec.Quiet,
		Events: log(at(time.Minute, spec.Event{Type: spec.EventRefused, Verb: spec.VerbStart, By: "unix:0", Code: spec.BadHook, Message: "cannot start web: the prehooks of web and db go in a circle"})),
	}},
	{"in a crash loop, of which some events were lost", Question{
		View: spec.View{Name: "web", Spec: always("web"), Desired: wanted(spec.Running, "unix:0", 5*time.Minute),
			Status: spec.Status{Phase: spec.PhaseRunning, Restarts: 7, Process: process(always("web"), 10*time.Second, 808, 8), LastExit: lastExit(11*time.Second, 7, 1)}},
		Events: log(commandBy(5*time.Minute, spec.VerbStart, "unix:0", 3), startedAs(5*time.Minute, 801, 1, spec.CauseCommand),
			at(time.Minute, spec.Event{Type: spec.EventAdopted, PID: 805, Incarnation: 5}), exitedWith(50*time.Second, 5, 1, 9*time.Second, 5),
			startedAs(40*time.Second, 807, 7, spec.CausePolicy), exitedWith(11*time.Second, 7, 1, 29*time.Second, 7),
			startedAs(10*time.Second, 808, 8, spec.CausePolicy)),
	}},
	{"stopped after a restart", Question{
		View: spec.View{Name: "web", Spec: child("web"), Desired: wanted(spec.Stopped, "unix:0", time.Minute), Status: spec.Status{Phase: spec.PhaseStopped, Starts: 2}},
		Events: log(commandBy(time.Hour, spec.VerbStart, "unix:0", 1),
			at(time.Hour, spec.Event{Type: spec.EventStarted, PID: 810, Incarnation: 1, Cause: spec.CauseCommand, Generation: 1}),
			commandBy(2*time.Minute, spec.VerbRestart, "ssh:ops@10.0.0.7", 2),
			at(2*time.Minute, spec.Event{Type: spec.EventStopping, Incarnation: 1, Signal: 15, Generation: 2, Cause: spec.CauseCommand}),
			at(2*time.Minute, spec.Event{Type: spec.EventExited, Incarnation: 1, Asked: true, Exit: &spec.Exit{Incarnation: 1, Known: true, Signal: 15}}),
			at(2*time.Minute, spec.Event{Type: spec.EventStarted, PID: 811, Incarnation: 2, Cause: spec.CauseCommand, Generation: 2}),
			commandBy(time.Minute, spec.VerbStop, "unix:0", 3),
			at(time.Minute, spec.Event{Type: spec.EventStopping, Incarnation: 2, Signal: 15, Cause: spec.CauseCommand}),
			at(time.Minute, spec.Event{Type: spec.EventExited, Incarnation: 2, Asked: true, Exit: &spec.Exit{Incarnation: 2, Known: true, Signal: 15}})),
	}},
	{"there never was a good file", Question{
		View: spec.View{Name: "web", FileError: "/srv/web.yml:3: foo: unknown key", Status: spec.Status{Phase: spec.PhaseStopped, Reason: "its file is invalid and there is no earlier version"}},
	}},
	{"running since a command", Question{
		View: spec.View{Name: "web", Spec: child("web"), Desired: wanted(spec.Running, "unix:0", time.Hour),
			Status: spec.Status{Phase: spec.PhaseRunning, Process: process(child("web"), time.Hour, 812, 1)}},
		Events: log(commandBy(time.Hour, spec.VerbStart, "unix:0", 3), startedAs(time.Hour, 812, 1, spec.CauseCommand)),
	}},
	{"restarted by its policy after the memory ran out", Question{
		View: spec.View{Name: "web", Spec: always("web"), Desired: wanted(spec.Running, "mode full", 2*time.Hour),
			Status: spec.Status{Phase: spec.PhaseRunning, Restarts: 1, Process: process(always("web"), 59*time.Minute, 812, 2),
				LastExit: &spec.Exit{Incarnation: 1, Known: true, Signal: 9, OOMKilled: true, At: before(time.Hour)}}},
		Events: log(
			commandBy(2*time.Hour, spec.VerbStart, "mode full", 3), startedAs(2*time.Hour, 811, 1, spec.CauseMode),
			at(time.Hour, spec.Event{Type: spec.EventExited, Incarnation: 1, Ran: spec.Duration(time.Hour), LastLines: []string{"allocating"},
				Exit: &spec.Exit{Incarnation: 1, Known: true, Signal: 9, OOMKilled: true, At: before(time.Hour)}}),
			backOff(time.Hour, 1, -59*time.Minute),
			startedAs(59*time.Minute, 812, 2, spec.CausePolicy),
		)}},
	{"restarted after a change of the file, and taken over", Question{
		View: spec.View{Name: "web", Spec: child("web"), Desired: wanted(spec.Running, "ssh:ops@10.0.0.7", 5*time.Minute), Stale: true,
			Status: spec.Status{Phase: spec.PhaseRunning, Process: &spec.Process{PID: 812, Incarnation: 2, StartedAt: before(5 * time.Minute), Adopted: true, Config: child("web")},
				Warnings: []string{"limits.memory is not in force: no memory controller"}}},
		Files: []spec.OutputFile{{Fault: "the file /var/log/web.log was removed"}},
		Events: log(
			commandBy(time.Hour, spec.VerbStart, "unix:0", 2), startedAs(time.Hour, 811, 1, spec.CauseCommand),
			at(6*time.Minute, spec.Event{Type: spec.EventConfig, Config: spec.ConfigChanged}),
			commandBy(5*time.Minute, spec.VerbTrystart, "ssh:ops@10.0.0.7", 3),
			at(5*time.Minute, spec.Event{Type: spec.EventStopping, Signal: 15}),
			at(5*time.Minute, spec.Event{Type: spec.EventExited, Incarnation: 1, Asked: true, Exit: lastExit(5*time.Minute, 1, 0)}),
			startedAs(5*time.Minute, 812, 2, spec.CauseCommand),
			at(time.Minute, spec.Event{Type: spec.EventAdopted, PID: 812, Incarnation: 2}),
			at(30*time.Second, spec.Event{Type: spec.EventConfig, Config: spec.ConfigChanged}),
		)}},
	{"running with a broken file", Question{
		View: spec.View{Name: "web", Spec: child("web"), Desired: wanted(spec.Running, "prehook of proxy", time.Hour), FileError: "/srv/web.yml:3: foo: unknown key",
			Status: spec.Status{Phase: spec.PhaseRunning, Process: process(child("web"), time.Hour, 812, 1)}},
		Events: log(
			commandBy(time.Hour, spec.VerbStart, "prehook of proxy", 3), startedAs(time.Hour, 812, 1, spec.CauseHook),
			at(time.Minute, spec.Event{Type: spec.EventConfig, Config: spec.ConfigBroken, Message: "/srv/web.yml:3: foo: unknown key"}),
		)}},
	{"its file is broken, and an earlier version than the last good one runs", Question{
		View: spec.View{Name: "web", Spec: child("web"), Desired: wanted(spec.Running, "prehook of proxy", time.Hour), FileError: "/srv/web.yml:3: foo: unknown key", Stale: true,
			Status: spec.Status{Phase: spec.PhaseRunning, Process: process(child("web"), time.Hour, 812, 1)}},
		Events: log(
			commandBy(time.Hour, spec.VerbStart, "prehook of proxy", 3), startedAs(time.Hour, 812, 1, spec.CauseHook),
			at(time.Minute, spec.Event{Type: spec.EventConfig, Config: spec.ConfigBroken, Message: "/srv/web.yml:3: foo: unknown key"}),
		)}},
	{"in back-off, and its file is broken", Question{
		View: spec.View{Name: "web", Spec: always("web"), Desired: wanted(spec.Running, "unix:0", time.Hour), FileError: "/srv/web.yml:3: foo: unknown key",
			Status: spec.Status{Phase: spec.PhaseBackOff, Reason: "exit 1", NextStart: soon(14 * time.Second), LastExit: lastExit(16*time.Second, 4, 1)}},
	}},
	{"running, and its history is lost", Question{
		View: spec.View{Name: "web", Spec: always("web"), Desired: wanted(spec.Running, "repeat", time.Hour),
			Status: spec.Status{Phase: spec.PhaseRunning, Restarts: 3, LastExit: lastExit(time.Hour, 6, 2), Process: process(child("web"), time.Hour, 812, 7)}},
	}},
	{"running, and the history cannot be read", Question{
		View: spec.View{Name: "web", Spec: child("web"), Desired: wanted(spec.Running, "", time.Hour),
			Status: spec.Status{Phase: spec.PhaseRunning, Process: process(child("web"), time.Hour, 812, 7)}},
		EventsUnknown: "this server is too old to keep one",
	}},
	{"running, and a restart was refused by its prehook", Question{
		View: spec.View{Name: "web", Spec: child("web"), Desired: wanted(spec.Running, "unix:0", time.Minute),
			Status: spec.Status{Phase: spec.PhaseRunning, Process: process(child("web"), time.Hour, 812, 1),
				Failure: &spec.Failure{Generation: 3, Code: spec.HookFailed, Message: "prehook \"start db\": timed out"}}},
		Events: log(commandBy(time.Hour, spec.VerbStart, "mode full", 2),
			at(time.Hour, spec.Event{Type: spec.EventStarted, PID: 812, Incarnation: 1, Generation: 2}), commandBy(time.Minute, spec.VerbRestart, "unix:0", 3),
			at(time.Second, spec.Event{Type: spec.EventHook, Hook: "prehook start db", Message: "prehook \"start db\": timed out"})),
	}},
	{"running, and its restart waits for its prehook", Question{
		View: spec.View{Name: "web", Spec: func() *spec.Child {
			c := child("web")
			c.Prehook = &spec.Hook{Verb: spec.VerbRestart, Child: "db"}
			return c
		}(), Desired: wanted(spec.Running, "unix:0", time.Second),
			Status: spec.Status{Phase: spec.PhaseRunning, Process: process(child("web"), time.Hour, 812, 1), Reason: `prehook "restart db" is running`}},
		Events: log(commandBy(time.Hour, spec.VerbStart, "mode full", 2),
			at(time.Hour, spec.Event{Type: spec.EventStarted, PID: 812, Incarnation: 1, Generation: 2}), commandBy(time.Second, spec.VerbRestart, "unix:0", 3)),
		Hooked: &Question{View: spec.View{Name: "db", Spec: child("db"), Desired: wanted(spec.Running, "prehook of web", time.Second),
			Status: spec.Status{Phase: spec.PhaseStopping, Since: before(time.Second), Process: process(child("db"), time.Hour, 300, 1)}}},
	}},
	{"stopping with the server", Question{
		View: spec.View{Name: "web", Spec: child("web"), Desired: wanted(spec.Running, "unix:0", time.Hour),
			Status: spec.Status{Phase: spec.PhaseStopping, Since: before(time.Second), ObservedGeneration: 3, Process: process(child("web"), time.Hour, 812, 1)}},
		Events: log(commandBy(time.Hour, spec.VerbStart, "unix:0", 3), startedAs(time.Hour, 812, 1, spec.CauseCommand),
			at(time.Second, spec.Event{Type: spec.EventStopping, Signal: 15, Message: "the server stops all children"})),
	}},
	{"starting", Question{
		View: spec.View{Name: "web", Spec: child("web"), Desired: wanted(spec.Running, "unix:0", 0),
			Status: spec.Status{Phase: spec.PhaseStarting, Process: process(child("web"), 0, 812, 1)}},
		Events: log(commandBy(0, spec.VerbStart, "unix:0", 3), startedAs(0, 812, 1, spec.CauseCommand)), Host: "h1", Words: " on h1",
	}},
	{"waiting for a prehook", Question{
		View: spec.View{Name: "web", Spec: func() *spec.Child {
			c := child("web")
			c.Prehook = &spec.Hook{Verb: spec.VerbStart, Child: "db"}
			return c
		}(), Desired: wanted(spec.Running, "unix:0", time.Minute),
			Status: spec.Status{Phase: spec.PhaseStarting, Since: before(time.Minute), Reason: `prehook "start db" is running`}},
		Events: log(commandBy(time.Minute, spec.VerbStart, "unix:0", 3)),
		Hooked: &Question{View: spec.View{Name: "db", Spec: child("db"), Desired: wanted(spec.Running, "prehook of web", time.Minute),
			Status: spec.Status{Phase: spec.PhaseStopping, Since: before(8 * time.Second), Process: process(child("db"), time.Hour, 300, 1)}}},
	}},
	{"its prehook failed, because the other child has", Question{
		View: spec.View{Name: "web", Spec: func() *spec.Child {
			c := child("web")
			c.Prehook = &spec.Hook{Verb: spec.VerbStart, Child: "db"}
			return c
		}(), Desired: wanted(spec.Running, "unix:0", time.Minute),
			Status: spec.Status{Phase: spec.PhaseFailed, Reason: `prehook "start db": cannot start db: exec ./db: no such file or directory`,
				Failure: &spec.Failure{Generation: 3, Code: spec.HookFailed, Message: `prehook "start db": cannot start db: exec ./db: no such file or directory`}}},
		Events: log(commandBy(time.Minute, spec.VerbStart, "unix:0", 3),
			at(time.Minute, spec.Event{Type: spec.EventHook, Hook: "prehook start db", Message: "cannot start db: exec ./db: no such file or directory"}),
			at(time.Minute, spec.Event{Type: spec.EventCannotStart, Attempt: 1, Message: `prehook "start db": cannot start db: exec ./db: no such file or directory`})),
		Hooked: &Question{View: spec.View{Name: "db", Spec: child("db"), Desired: wanted(spec.Running, "prehook of web", time.Minute),
			Status: spec.Status{Phase: spec.PhaseFailed, Reason: "exec ./db: no such file or directory", Failure: &spec.Failure{Generation: 3, Code: spec.CannotStart, Message: "exec ./db: no such file or directory"}}}},
	}},
	{"stopping", Question{
		View: spec.View{Name: "web", Spec: child("web"), Desired: wanted(spec.Stopped, "unix:0", 8*time.Second),
			Status: spec.Status{Phase: spec.PhaseStopping, Since: before(8 * time.Second), Process: process(child("web"), time.Hour, 812, 1)}},
		Events: log(startedAs(time.Hour, 812, 1, spec.CauseCommand), commandBy(8*time.Second, spec.VerbStop, "unix:0", 3),
			at(8*time.Second, spec.Event{Type: spec.EventStopping, Signal: 15})),
	}},
	{"stopping, with the grace period of a file that has changed", Question{
		View: spec.View{Name: "web", Spec: child("web"), Desired: wanted(spec.Stopped, "unix:0", 2*time.Second),
			Status: spec.Status{Phase: spec.PhaseStopping, Since: before(2 * time.Second), Process: process(patient("web"), time.Hour, 812, 1)}},
		Events: log(startedAs(time.Hour, 812, 1, spec.CauseCommand), commandBy(2*time.Second, spec.VerbStop, "unix:0", 3),
			at(2*time.Second, spec.Event{Type: spec.EventStopping, Signal: 15})),
	}},
	{"stopping, and its file has changed since it was asked", Question{
		View: spec.View{Name: "web", Spec: child("web"), Desired: wanted(spec.Stopped, "unix:0", 2*time.Second),
			Status: spec.Status{Phase: spec.PhaseStopping, Since: before(2 * time.Second), Process: process(child("web"), time.Hour, 812, 1)}},
		Events: log(startedAs(time.Hour, 812, 1, spec.CauseCommand), commandBy(2*time.Second, spec.VerbStop, "unix:0", 3),
			at(2*time.Second, spec.Event{Type: spec.EventStopping, Signal: 15, Next: soon(58 * time.Second)})),
	}},
	{"stopping, and even SIGKILL did not help", Question{
		View: spec.View{Name: "web", Spec: child("web"), Desired: wanted(spec.Running, "unix:0", time.Minute),
			Status: spec.Status{Phase: spec.PhaseStopping, Since: before(time.Minute), ObservedGeneration: 2, Process: process(child("web"), time.Hour, 812, 1),
				Reason: "stop pending: processes are left although SIGKILL was sent"}},
		Events: log(startedAs(time.Hour, 812, 1, spec.CauseCommand), commandBy(time.Minute, spec.VerbRestart, "unix:0", 3),
			at(time.Minute, spec.Event{Type: spec.EventStopping, Signal: 15}), at(50*time.Second, spec.Event{Type: spec.EventKilled, PIDs: []int{812}})),
	}},
	{"its leader has ended, others live", Question{
		View: spec.View{Name: "web", Spec: child("web"), Desired: wanted(spec.Running, "unix:0", time.Hour),
			Status: spec.Status{Phase: spec.PhaseStopping, Since: before(time.Second), ObservedGeneration: 3, Reason: "exit 0, processes of its group are still alive"}},
		Events: log(commandBy(time.Hour, spec.VerbStart, "unix:0", 3), startedAs(time.Hour, 812, 1, spec.CauseCommand), exitedWith(time.Second, 1, 0, time.Hour, 0)),
	}},
	{"in back-off after a crash loop", Question{
		View: spec.View{Name: "web", Spec: always("web"), Desired: wanted(spec.Running, "ssh:ops@10.0.0.7", 5*time.Minute),
			Status: spec.Status{Phase: spec.PhaseBackOff, Since: before(16 * time.Second), Restarts: 3, Reason: "exit 1", NextStart: soon(14 * time.Second), LastExit: lastExit(16*time.Second, 4, 1),
				LastLines: &spec.LastLines{Incarnation: 4, Stream: spec.Err, Lines: []string{"no port"}}}},
		Events: log(
			commandBy(5*time.Minute, spec.VerbStart, "ssh:ops@10.0.0.7", 3), startedAs(5*time.Minute, 801, 1, spec.CauseCommand),
			exitedWith(5*time.Minute, 1, 1, 200*time.Millisecond, 1), backOff(5*time.Minute, 1, -4*time.Minute),
			startedAs(4*time.Minute, 802, 2, spec.CausePolicy), exitedWith(4*time.Minute, 2, 1, 300*time.Millisecond, 2), backOff(4*time.Minute, 2, -2*time.Minute),
			startedAs(2*time.Minute, 803, 3, spec.CausePolicy), exitedWith(2*time.Minute, 3, 1, 200*time.Millisecond, 3), backOff(2*time.Minute, 3, -16*time.Second),
			startedAs(16*time.Second, 804, 4, spec.CausePolicy), exitedWith(16*time.Second, 4, 1, 200*time.Millisecond, 4), backOff(16*time.Second, 4, 14*time.Second),
		)}},
	{"in back-off, it could not be launched", Question{
		View: spec.View{Name: "web", Spec: always("web"), Desired: wanted(spec.Running, "unix:0", time.Minute),
			Status: spec.Status{Phase: spec.PhaseBackOff, Since: before(time.Second), Reason: "exec ./server: no such file or directory", NextStart: soon(time.Second)}},
		Events: log(
			commandBy(time.Minute, spec.VerbStart, "unix:0", 3),
			at(time.Minute, spec.Event{Type: spec.EventCannotStart, Attempt: 1, Message: "exec ./server: no such file or directory"}), backOff(time.Minute, 1, -30*time.Second),
			at(30*time.Second, spec.Event{Type: spec.EventCannotStart, Attempt: 2, Message: "exec ./server: no such file or directory"}), backOff(30*time.Second, 2, -time.Second),
			at(time.Second, spec.Event{Type: spec.EventCannotStart, Attempt: 3, Message: "exec ./server: no such file or directory"}), backOff(time.Second, 3, time.Second),
		)}},
	{"ended with success", Question{
		View: spec.View{Name: "web", Spec: child("web"), Desired: wanted(spec.Running, "unix:0", time.Hour),
			Status: spec.Status{Phase: spec.PhaseExited, Since: before(time.Minute), LastExit: lastExit(time.Minute, 1, 0)}},
		Events: log(commandBy(time.Hour, spec.VerbStart, "unix:0", 3), startedAs(time.Hour, 812, 1, spec.CauseCommand), exitedWith(time.Minute, 1, 0, 59*time.Minute, 0)),
	}},
	{"failed", Question{
		View: spec.View{Name: "web", Spec: child("web"), Desired: wanted(spec.Running, "unix:0", time.Hour),
			Status: spec.Status{Phase: spec.PhaseFailed, Since: before(time.Minute), Reason: "exit 127", LastExit: lastExit(time.Minute, 1, 127)}},
		Events: log(commandBy(time.Hour, spec.VerbStart, "unix:0", 3), startedAs(time.Hour, 812, 1, spec.CauseCommand), exitedWith(time.Minute, 1, 127, 59*time.Minute, 1),
			at(time.Minute, spec.Event{Type: spec.EventOutput, Incarnation: 1, LastLines: []string{"sh: serve: not found"}})),
	}},
	{"failed, and its output is the server's", Question{
		View: spec.View{Name: "web", Spec: func() *spec.Child { c := child("web"); c.Stdout = nil; return c }(), Desired: wanted(spec.Running, "unix:0", time.Hour),
			Status: spec.Status{Phase: spec.PhaseFailed, Reason: "exit 1", LastExit: lastExit(time.Minute, 1, 1)}},
		Events: log(commandBy(time.Hour, spec.VerbStart, "unix:0", 3), startedAs(time.Hour, 812, 1, spec.CauseCommand), exitedWith(time.Minute, 1, 1, 59*time.Minute, 1)),
	}},
	{"out of memory by its own limit", Question{
		View: spec.View{Name: "web", Spec: func() *spec.Child { c := child("web"); c.Resources.Memory = 1 << 25; return c }(), Desired: wanted(spec.Running, "unix:0", time.Hour),
			Status: spec.Status{Phase: spec.PhaseFailed, Reason: "killed by SIGKILL, out of memory", LastExit: &spec.Exit{Incarnation: 1, Known: true, Signal: 9, OOMKilled: true, At: before(time.Minute)}}},
		Events: log(commandBy(time.Hour, spec.VerbStart, "unix:0", 3), startedAs(time.Hour, 812, 1, spec.CauseCommand)),
	}},
	{"start limit", Question{
		View: spec.View{Name: "web", Spec: always("web"), Desired: wanted(spec.Running, "unix:0", time.Minute),
			Status: spec.Status{Phase: spec.PhaseFailed, Reason: "start limit reached, 2 starts within 1m0s: exit 1", LastExit: lastExit(time.Second, 2, 1), Restarts: 1}},
		Events: log(
			commandBy(time.Minute, spec.VerbStart, "unix:0", 3), startedAs(time.Minute, 801, 1, spec.CauseCommand), exitedWith(30*time.Second, 1, 1, 30*time.Second, 1),
			startedAs(10*time.Second, 802, 2, spec.CausePolicy), exitedWith(time.Second, 2, 1, 9*time.Second, 2),
			at(time.Second, spec.Event{Type: spec.EventGaveUp, Message: "start limit reached, 2 starts within 1m0s: exit 1"}),
		)}},
	{"cannot start", Question{
		View: spec.View{Name: "web", Spec: child("web"), Desired: wanted(spec.Running, "unix:0", time.Minute),
			Status: spec.Status{Phase: spec.PhaseFailed, Reason: "exec ./server: no such file or directory",
				Failure: &spec.Failure{Generation: 3, Code: spec.CannotStart, Message: "exec ./server: no such file or directory"}}},
		Events: log(commandBy(time.Minute, spec.VerbStart, "unix:0", 3),
			at(time.Minute, spec.Event{Type: spec.EventCannotStart, Attempt: 1, Message: "exec ./server: no such file or directory"})),
	}},
	{"gone", Question{
		View: spec.View{Name: "web"}, IsGone: true,
		Events: log(
			startedAs(time.Hour, 812, 1, spec.CauseCommand),
			at(time.Minute, spec.Event{Type: spec.EventConfig, Config: spec.ConfigGone}), commandBy(time.Minute, spec.VerbStop, "unix:0", 4),
			at(time.Minute, spec.Event{Type: spec.EventExited, Incarnation: 1, Asked: true, Exit: &spec.Exit{Incarnation: 1, Known: true, Signal: 15}}),
			at(time.Minute, spec.Event{Type: spec.EventForgotten})),
	}},
	{"a name that a shell would read", Question{
		View: spec.View{Name: "we b'\x1b[2J", Spec: child("x"), Desired: wanted(spec.Stopped, "\x1b]0;x", time.Minute), Status: spec.Status{Phase: spec.PhaseStopped}},
	}},
}

func TestEventsInWords(t *testing.T) {
	soon := now.Add(time.Minute)
	for want, e := range map[string]spec.Event{
		"its file is good again":                                                                {Type: spec.EventConfig, Config: spec.ConfigMended},
		"its file is gone":                                                                      {Type: spec.EventConfig, Config: spec.ConfigGone},
		"its file came while the server was down":                                               {Type: spec.EventConfig, Config: spec.ConfigNew, Down: true},
		"its file was changed while the server was down":                                        {Type: spec.EventConfig, Config: spec.ConfigChanged, Down: true},
		"its file was broken while the server was down: web.yml:1: x (and 1 more)":              {Type: spec.EventConfig, Config: spec.ConfigBroken, Down: true, Message: "web.yml:1: x\nweb.yml:2: y"},
		"its file was mended while the server was down":                                         {Type: spec.EventConfig, Config: spec.ConfigMended, Down: true},
		"its file was removed while the server was down":                                        {Type: spec.EventConfig, Config: spec.ConfigGone, Down: true},
		"prehook start db is done":                                                              {Type: spec.EventHook, Hook: "prehook start db"},
		"it wrote last: no port":                                                                {Type: spec.EventOutput, LastLines: []string{"a", "no port", " "}},
		"it wrote last: nothing":                                                                {Type: spec.EventOutput},
		"killed with SIGKILL after its grace period":                                            {Type: spec.EventKilled},
		"SIGKILL to PIDs 1, 2, 3, 4, 5, 6, 7, 8 and 1 more, still alive after the grace period": {Type: spec.EventKilled, PIDs: []int{1, 2, 3, 4, 5, 6, 7, 8, 9}},
		"1 event before this could not be written":                                              {Type: spec.EventLost, Lost: 1},
		"the server ends, all children are stopped first, by root on this host":                 {Type: spec.EventServer, Message: "ends, all children are stopped first", By: "unix:0"},
		"back-off, next start at 12:05:11":                                                      {Type: spec.EventBackOff, Next: &soon},
		"ended":                                                                                 {Type: spec.EventExited},
		"newer":                                                                                 {Type: "newer"},
		"newer: and it says why":                                                                {Type: "newer", Message: "and it says why"},
	} {
		e.At = now
		if got := Event(e, "", now); got != want {
			t.Errorf("%s is %q, want %q", e.Type, got, want)
		}
	}
}

func TestWhoInWords(t *testing.T) {
	for by, want := range map[string]string{
		"unix:0": "root on h", "unix": "somebody on h", "unix:1000": "user 1000 on h",
		"tcp:10.0.0.7": "10.0.0.7 without a key", "tcp:::1": "::1 without a key", "tcp:fe80::1%eth0": "fe80::1%eth0 without a key",
		"ssh:ops@10.0.0.7": "key ops from 10.0.0.7", "ssh:a@b@::1": "key a@b from ::1", "ssh:x": "a key from x",
		"old:ops@10.0.0.7": "key ops from 10.0.0.7 in the old protocol", "": "somebody unknown",
		"prehook of web": "the prehook of web", "posthook of web": "the posthook of web", "mode half": "mode half", "repeat": "its repeat action",
		"exit_with job": "the end of job, which exit_with names", "recovered": "the server, which found it running and had lost its state", "signal": "signal",
	} {
		if got := spec.Who(by, "h"); got != want {
			t.Errorf("%q is %q, want %q", by, got, want)
		}
	}
}

// However long a history is, the chain is one that people read.
func TestALongChainIsCut(t *testing.T) {
	events := []spec.Event{commandBy(time.Hour, spec.VerbStart, "unix:0", 3)}
	for i := range 200 {
		events = append(events, startedAs(time.Minute, i, uint64(i), spec.CausePolicy), exitedWith(time.Minute, uint64(i), i%7, time.Second, i))
	}
	a := Of(Question{View: spec.View{Name: "web", Spec: always("web"), Desired: wanted(spec.Running, "unix:0", time.Hour), Status: spec.Status{Phase: spec.PhaseStarting}},
		Events: log(events...), Now: now})
	if len(a.Chain) != mostSteps || !strings.HasPrefix(a.Chain[3].Text, "… ") || a.Chain[0].Event.Type != spec.EventCommand || a.Chain[mostSteps-1].Event.Incarnation != 199 {
		t.Errorf("%d steps, %+v", len(a.Chain), a.Chain)
	}
	if n := a.Chain[3].Times + mostSteps - 1; n != 401 {
		t.Errorf("%d steps are told of, want 401", n)
	}
}

func TestAnswers(t *testing.T) {
	var b strings.Builder
	for _, tt := range cases {
		q := tt.q
		q.Now = now
		if q.Hooked != nil {
			q.Hooked.Now = now
		}
		a := Of(q)
		fmt.Fprintf(&b, "== %s\n%q\n", tt.name, a.Summary)
		for _, w := range a.Warnings {
			fmt.Fprintf(&b, "  warning %s\n", w)
		}
		for _, n := range a.Notes {
			fmt.Fprintf(&b, "  note    %s\n", n)
		}
		for _, s := range a.Chain {
			fmt.Fprintf(&b, "  %-19s %s\n", Clock(s.Time, now), s.Text)
		}
		if a.LastLines != nil {
			fmt.Fprintf(&b, "  lines   %s %q\n", a.LastLines.Stream, a.LastLines.Lines)
		}
		for _, h := range a.Hints {
			fmt.Fprintf(&b, "  to do   %q\n", h)
		}
	}
	path := filepath.Join("testdata", "answers.golden")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("%s differs, run the test with -update if that is meant\ngot:\n%s", path, b.String())
	}
}

// FuzzOf: whatever a server says, there is an answer of one sentence.
func FuzzOf(f *testing.F) {
	for _, tt := range cases {
		text, err := json.Marshal(tt.q)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var q Question
		if json.Unmarshal(text, &q) != nil {
			t.Skip()
		}
		q.Now = now
		if q.Hooked != nil {
			q.Hooked.Now = now
		}
		a := Of(q)
		if !strings.HasPrefix(a.Summary, q.View.Name+" ") || a.Chain == nil || len(a.Chain) > mostSteps {
			t.Errorf("%q, %d steps", a.Summary, len(a.Chain))
		}
	})
}
