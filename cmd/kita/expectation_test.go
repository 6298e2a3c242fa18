package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"kita/spec"
)

// scene makes views of web: what is wanted, and how it stands.
type scene struct{ spec.View }

func at(generation uint64, phase spec.Phase) scene {
	v := spec.View{Name: "web", Spec: &spec.Child{}, Desired: spec.Desired{Run: spec.Running, Generation: generation, By: "unix:0"}}
	v.Status.Phase, v.Status.ObservedGeneration = phase, generation
	return scene{v}
}

func (s scene) pid(incarnation uint64) scene {
	s.Status.Process = &spec.Process{PID: 7, Incarnation: incarnation}
	return s
}

func (s scene) ended(incarnation uint64, code int) scene {
	e := spec.Exit{Incarnation: incarnation, Known: true, Code: code}
	s.Status.LastExit, s.Status.History = &e, append(slices.Clone(s.Status.History), e)
	return s
}

func (s scene) with(change func(*spec.View)) scene {
	change(&s.View)
	return s
}

func TestExpectations(t *testing.T) {
	running, stable := condition{aim: aimRunning}, condition{aim: aimStable, length: 10 * time.Second}
	exited, stopped := condition{aim: aimExited}, condition{aim: aimStopped}
	code3 := condition{aim: aimExited, code: new(3)}
	stoppedBy := func(v *spec.View) { v.Desired.Run = spec.Stopped }
	restarted := func(v *spec.View) { v.Status.Restarts = 1 }
	hooked := func(v *spec.View) { v.Desired.Cause, v.Desired.By = spec.CauseHook, "prehook of api" }
	unsettled := func(v *spec.View) { v.Status.ObservedGeneration-- }
	tests := []struct {
		name string
		want condition
		// verb and generation are those of a command; none of a wait.
		verb       spec.Verb
		generation uint64
		first      uint64
		several    bool
		// fellows are the children of the same command.
		fellows []string
		views   []scene
		// result is done, waits, due in S, or a code, after the last view.
		result string
	}{
		{name: "it runs", want: running, verb: "start", generation: 1, views: []scene{at(1, "starting").pid(1), at(1, "running").pid(1)}, result: "done"},
		{name: "it starts", want: running, verb: "start", generation: 1, views: []scene{at(1, "starting").pid(1)}, result: "waits"},
		{name: "the one before runs", want: running, verb: "restart", generation: 2, views: []scene{at(2, "running").pid(1).with(unsettled)}, result: "waits"},
		{name: "it crashes", want: running, verb: "start", generation: 1, views: []scene{at(1, "starting").pid(1), at(1, "failed").ended(1, 4)}, result: "child-failed"},
		{name: "it crashes and is in back-off", want: running, verb: "start", generation: 1, views: []scene{at(1, "backoff").ended(1, 4)}, result: "child-failed"},
		{name: "it crashed and runs again, nobody saw it", want: running, verb: "start", generation: 1, views: []scene{at(1, "running").pid(2).ended(1, 4).with(restarted)}, result: "child-failed"},
		{name: "it is done before it runs", want: running, verb: "start", generation: 1, views: []scene{at(1, "exited").ended(1, 0)}, result: "child-failed"},
		{name: "one of all is done", want: running, verb: "start", generation: 1, several: true, views: []scene{at(1, "exited").ended(1, 0)}, result: "done"},
		{name: "it cannot be launched", want: running, verb: "start", generation: 1, views: []scene{at(1, "failed").with(func(v *spec.View) {
			v.Status.Failure = &spec.Failure{Generation: 1, Code: spec.CannotStart}
		})}, result: "cannot-start"},
		{name: "a failure before", want: running, verb: "start", generation: 2, views: []scene{at(2, "starting").pid(1).with(func(v *spec.View) {
			v.Status.Failure = &spec.Failure{Generation: 1, Code: spec.CannotStart}
		})}, result: "waits"},
		{name: "another command", want: running, verb: "start", generation: 1, views: []scene{at(2, "running").pid(2)}, result: "superseded"},
		{name: "the hook of a child of the same command", want: running, verb: "trystart", generation: 1, several: true, fellows: []string{"web", "api"},
			views: []scene{at(1, "running").pid(2).with(unsettled), at(2, "starting").pid(2).with(hooked).with(unsettled), at(2, "running").pid(3).ended(2, 0).with(hooked)}, result: "done"},
		{name: "that hook has begun", want: stable, verb: "trystart", generation: 1, several: true, fellows: []string{"web", "api"},
			views: []scene{at(1, "running").pid(2), at(2, "stopping").with(hooked).with(unsettled)}, result: "waits"},
		{name: "that hook starts what the command had left alone", want: stable, verb: "trystart", generation: 1, first: 2, several: true, fellows: []string{"web", "api"},
			views: []scene{at(1, "running").pid(2), at(2, "running").pid(3).ended(2, 0).with(hooked)}, result: "due in 10s"},
		{name: "what that hook starts fails", want: running, verb: "trystart", generation: 1, first: 2, several: true, fellows: []string{"web", "api"},
			views: []scene{at(1, "running").pid(2).with(unsettled), at(2, "failed").ended(3, 1).with(hooked)}, result: "child-failed"},
		{name: "what that hook starts cannot be launched", want: stable, verb: "trystart", generation: 1, first: 2, several: true, fellows: []string{"web", "api"},
			views: []scene{at(2, "failed").ended(2, 1).with(hooked).with(func(v *spec.View) {
				v.Status.Failure = &spec.Failure{Generation: 2, Code: spec.CannotStart}
			})}, result: "cannot-start"},
		{name: "that hook stops it", want: running, verb: "trystart", generation: 1, several: true, fellows: []string{"web", "api"},
			views: []scene{at(2, "stopping").with(hooked).with(stoppedBy)}, result: "superseded"},
		{name: "the hook of another child", want: running, verb: "trystart", generation: 1, several: true, fellows: []string{"web", "ap"},
			views: []scene{at(2, "running").pid(3).with(hooked)}, result: "superseded"},
		{name: "a rolling change, and the hook", want: condition{aim: aimWell}, verb: "restart", generation: 1, several: true, fellows: []string{"web", "api"},
			views: []scene{at(2, "running").pid(3).with(hooked)}, result: "done"},
		{name: "the server ends", want: stable, verb: "start", generation: 1, views: []scene{at(1, "running").pid(1), at(1, "stopping").pid(1)}, result: "superseded"},
		{name: "the server ends, it has ended", want: stable, verb: "start", generation: 1, views: []scene{at(1, "running").pid(1), at(1, "stopped").ended(1, 1)}, result: "superseded"},
		{name: "the server ends, with a success", want: exited, verb: "start", generation: 1, views: []scene{at(1, "running").pid(1), at(1, "stopping").ended(1, 0), at(1, "stopped").ended(1, 0)}, result: "superseded"},
		{name: "the server ends before it is started", want: running, verb: "start", generation: 1, views: []scene{at(1, "stopped").with(func(v *spec.View) {
			v.Status.Failure = &spec.Failure{Generation: 1, Code: spec.HookFailed}
		})}, result: "superseded"},
		{name: "the server has ended and another has begun", want: running, verb: "start", generation: 1, views: []scene{at(1, "stopped").with(unsettled).with(func(v *spec.View) { v.Desired.Run = "" })}, result: "superseded"},
		{name: "its leader has ended, the rest not yet", want: stable, verb: "start", generation: 1, views: []scene{at(1, "running").pid(1), at(1, "stopping").ended(1, 1)}, result: "waits"},
		{name: "it has ended by itself, and the rest", want: stable, verb: "start", generation: 1, views: []scene{at(1, "running").pid(1), at(1, "stopping").ended(1, 1), at(1, "backoff").ended(1, 1)}, result: "child-failed"},
		{name: "the rest cannot be killed", want: stable, verb: "start", generation: 1, views: []scene{at(1, "stopping").ended(1, 1).with(func(v *spec.View) {
			v.Status.Failure = &spec.Failure{Generation: 1, Code: spec.NotStopped}
		})}, result: "not-stopped"},
		{name: "wait: the server ends", want: exited, views: []scene{at(1, "running").pid(1), at(1, "stopping").pid(1), at(1, "stopping").ended(1, 0)}, result: "waits"},
		{name: "wait: the server has ended it", want: exited, views: []scene{at(1, "running").pid(1), at(1, "stopped").ended(1, 0)}, result: "superseded"},
		{name: "it was left alone", want: stable, verb: "trystart", generation: 4, first: 9, views: []scene{at(4, "running").pid(9)}, result: "due in 10s"},
		{name: "it was left alone and crashes", want: stable, verb: "trystart", generation: 4, first: 9, views: []scene{at(4, "running").pid(9), at(4, "starting").pid(10).ended(9, 1).with(restarted)}, result: "child-failed"},
		{name: "not yet stable", want: stable, verb: "start", generation: 1, views: []scene{at(1, "starting").pid(1), at(1, "running").pid(1)}, result: "due in 9s"},
		{name: "restarted by policy", want: stable, verb: "start", generation: 1, views: []scene{at(1, "running").pid(1), at(1, "starting").pid(2).ended(1, 1).with(restarted)}, result: "child-failed"},
		{name: "an exit", want: exited, verb: "start", generation: 1, views: []scene{at(1, "running").pid(1), at(1, "exited").ended(1, 0)}, result: "done"},
		{name: "an exit of a run before", want: exited, verb: "restart", generation: 2, views: []scene{at(2, "running").pid(2).ended(1, 0)}, result: "waits"},
		{name: "another exit", want: exited, verb: "start", generation: 1, views: []scene{at(1, "failed").ended(1, 3)}, result: "child-failed"},
		{name: "that exit", want: code3, verb: "start", generation: 1, views: []scene{at(1, "failed").ended(1, 3)}, result: "done"},
		{name: "tried again", want: exited, verb: "start", generation: 1, views: []scene{at(1, "backoff").ended(1, 3)}, result: "waits"},
		{name: "tried again with success, nobody saw it", want: exited, verb: "start", generation: 1,
			views: []scene{at(1, "running").pid(3).ended(1, 3).ended(2, 0).with(func(v *spec.View) { v.Status.Restarts = 2 })}, result: "done"},

		{name: "wait: it runs", want: running, views: []scene{at(1, "running").pid(1)}, result: "done"},
		{name: "wait: back-off", want: running, views: []scene{at(1, "backoff").ended(1, 1)}, result: "waits"},
		{name: "wait: failed for good", want: running, views: []scene{at(1, "failed").ended(1, 1)}, result: "child-failed"},
		{name: "wait: failed, a repeat is due", want: running, views: []scene{at(1, "failed").ended(1, 1).with(func(v *spec.View) { v.Status.RepeatAt = new(time.Unix(9, 0)) })}, result: "waits"},
		{name: "wait: stopped", want: running, views: []scene{at(1, "stopped").with(stoppedBy)}, result: "not-running"},
		{name: "wait: never started", want: running, views: []scene{at(0, "stopped").with(func(v *spec.View) { v.Desired.Run = "" })}, result: "not-running"},
		{name: "wait: about to start", want: running, views: []scene{at(1, "stopped").with(unsettled)}, result: "waits"},
		{name: "wait: being stopped", want: running, views: []scene{at(1, "stopping").pid(1).with(stoppedBy)}, result: "waits"},
		{name: "wait: another process is a new beginning", want: stable, views: []scene{at(1, "running").pid(1), at(1, "starting").pid(2)}, result: "due in 10s"},
		{name: "wait: stopped is what is wanted", want: stopped, views: []scene{at(1, "stopping").pid(1).with(stoppedBy), at(1, "stopped").with(stoppedBy)}, result: "done"},
		{name: "wait: failed is at rest", want: stopped, views: []scene{at(1, "failed").ended(1, 1)}, result: "done"},
		{name: "wait: back-off is not", want: stopped, views: []scene{at(1, "backoff").ended(1, 1)}, result: "waits"},
		{name: "wait: it has ended already", want: exited, views: []scene{at(1, "exited").ended(1, 0)}, result: "done"},
		{name: "wait: an exit of a run before", want: exited, views: []scene{at(2, "running").pid(2).ended(1, 0)}, result: "waits"},
		{name: "wait: stopped before its end", want: exited, views: []scene{at(1, "running").pid(1), at(2, "stopped").ended(1, 0).with(stoppedBy)}, result: "superseded"},
		{name: "wait: the end by a restart does not count", want: exited, views: []scene{at(1, "running").pid(1), at(2, "running").pid(2).ended(1, 0)}, result: "waits"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := &expectation{child: "web", want: tt.want, verb: tt.verb, generation: tt.generation, first: tt.first, unchanged: tt.first > 0, several: tt.several, fellows: names(tt.fellows)}
			now, got := time.Unix(1000, 0), ""
			for _, s := range tt.views {
				due, failure := e.look(s.View, now, 0)
				switch {
				case failure != nil:
					got = string(failure.Code)
				case e.done:
					got = "done"
				case due.IsZero():
					got = "waits"
				default:
					got = "due in " + due.Sub(now).String()
				}
				now = now.Add(time.Second)
			}
			if got != tt.result {
				t.Errorf("%s, want %s", got, tt.result)
			}
		})
	}
}

// What is said of a child that has not come to it.
func TestAFailureSaysWhatWasWaitedFor(t *testing.T) {
	for want, of := range map[string]struct {
		e *expectation
		v scene
	}{
		"web was started, and has ended since: exit 0, and not exit 3": {&expectation{want: condition{aim: aimExited, code: new(3)}, verb: "start"}, at(1, "exited").ended(1, 0)},
		"web has ended: exit 1, and not exit 3":                        {&expectation{want: condition{aim: aimExited, code: new(3)}}, at(1, "failed").ended(1, 1)},
		"web was started, and has ended since: exit 1":                 {&expectation{want: condition{aim: aimExited}, verb: "start"}, at(1, "failed").ended(1, 1)},
	} {
		of.e.child, of.e.generation = "web", 1
		if _, failure := of.e.look(of.v.View, time.Unix(1000, 0), 0); failure == nil || failure.Message != want {
			t.Errorf("got %+v, want %q", failure, want)
		}
	}
	e := &expectation{child: "web", want: condition{aim: aimRunning}, latest: at(1, "backoff").View}
	e.latest.Status.Reason = "exit 1"
	if got, want := e.late(2*time.Second).Message, "web: waited 2s for running, it is in back-off: exit 1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, failure := fares("web", spec.Status{Phase: spec.PhaseBackOff}); failure == nil || failure.Message != "web was started, and is in back-off again" {
		t.Errorf("got %+v", failure)
	}
}

// The age that the server tells is believed, as long as it is the same process.
func TestAProcessThatIsOldIsStableAtOnce(t *testing.T) {
	e := &expectation{child: "web", want: condition{aim: aimStable, length: 10 * time.Second}}
	now := time.Unix(1000, 0)
	if _, failure := e.look(at(1, "running").pid(1).View, now, 3*time.Second); failure != nil || e.done {
		t.Fatalf("after 3 s: %v, %v", e.done, failure)
	}
	if _, failure := e.look(at(1, "running").pid(1).View, now.Add(7*time.Second), 0); failure != nil || !e.done {
		t.Errorf("after 10 s: %v, %v", e.done, failure)
	}
}

func TestConditionsAreReadStrictly(t *testing.T) {
	for text, want := range map[string]string{
		"running": "running", "stable=10s": "stable=10s", "exited": "exited", "exited=0": "exited=0", "exited=255": "exited=255", "stopped": "stopped",
		"": "", "well": "", "running=": "", "stable": "", "stable=": "", "stable=10": "", "stable=0s": "", "stable=-1s": "",
		"exited=": "", "exited=-1": "", "exited=256": "", "stopped=1": "", "Running": "",
	} {
		c, err := parseCondition(text, waitAims)
		if (err == nil) != (want != "") || err == nil && c.String() != want {
			t.Errorf("%q: %v, %v", text, c, err)
		}
	}
	if _, err := parseCondition("stopped", commandAims); err == nil {
		t.Error("a start can be waited for to be stopped")
	}
}

// TestEveryCodeHasAClass reads the codes out of the source: a new one needs a
// status.
func TestEveryCodeHasAClass(t *testing.T) {
	codes := map[string]bool{}
	for _, dir := range []string{"../../spec", "../../control", "."} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				codesIn(t, file, codes)
			}
		}
	}
	for code := range codes {
		if _, known := classes[spec.Code(code)]; !known {
			t.Errorf("%s has no exit status", code)
		}
	}
	if len(codes) < 20 {
		t.Errorf("found only %q", slices.Sorted(maps.Keys(codes)))
	}
	for code, status := range classes {
		if !codes[string(code)] {
			t.Errorf("there is no code %s", code)
		}
		if !slices.Contains(severity, status) || status == exitOK || status == exitUsage {
			t.Errorf("%s has the status %d", code, status)
		}
	}
}

// codesIn adds the constants of type Code of a file, and the codes that failureOf
// gives.
func codesIn(t *testing.T, file string, codes map[string]bool) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	add := func(value ast.Expr) {
		if literal, ok := value.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			if text, err := strconv.Unquote(literal.Value); err == nil {
				codes[text] = true
			}
		}
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ValueSpec:
			name := ""
			switch kind := n.Type.(type) {
			case *ast.Ident:
				name = kind.Name
			case *ast.SelectorExpr:
				name = kind.Sel.Name
			}
			if name == "Code" {
				for _, value := range n.Values {
					add(value)
				}
			}
		case *ast.KeyValueExpr:
			if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Code" && filepath.Base(file) == "encode.go" {
				add(n.Value)
			}
		}
		return true
	})
}

// names is a set of names.
func names(list []string) map[string]bool {
	all := map[string]bool{}
	for _, name := range list {
		all[name] = true
	}
	return all
}

// What never ran has not ended.
func TestWhatCouldNotBeStartedHasNotEnded(t *testing.T) {
	never := at(1, "failed").with(func(v *spec.View) {
		v.Status.Reason = "start limit reached, 3 starts within 1m0s: exec /x: no such file"
		v.Status.Failure = &spec.Failure{Generation: 1, Code: spec.CannotStart, Message: v.Status.Reason}
	})
	hooked := at(2, "failed").ended(1, 0).with(func(v *spec.View) {
		v.Status.Reason = `prehook "start db": cannot start db`
		v.Status.Failure = &spec.Failure{Generation: 2, Code: spec.HookFailed, Message: v.Status.Reason}
	})
	for want, s := range map[string]scene{
		"web could not be started: start limit reached, 3 starts within 1m0s: exec /x: no such file": never,
		`web could not be started: prehook "start db": cannot start db`:                              hooked,
		"web has ended: exit 3":  at(1, "failed").ended(1, 3),
		"web has ended: exit 74": at(1, "failed").ended(1, 74).with(func(v *spec.View) { v.Status.Reason = "exit 74" }),
		"web does not run, and nothing is going to start it: the server stops all its children": at(1, "stopped").ended(1, 0),
	} {
		e := &expectation{child: "web", want: condition{aim: aimRunning}}
		if _, failure := e.look(s.View, time.Unix(1000, 0), 0); failure == nil || failure.Message != want {
			t.Errorf("got %v, want %s", failure, want)
		}
	}
}
