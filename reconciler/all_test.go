package reconciler

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kita/spec"
)

func TestStartAllStartsWhatDoesNotRun(t *testing.T) {
	w := newWorld(t, "", map[string]string{"a": plain, "b": plain, "c": plain})
	w.mustServe()
	w.want(spec.VerbStart, "b", "")
	before := w.runtime.pid("b")
	w.want(spec.VerbStart, spec.All, "")
	for _, name := range []string{"a", "b", "c"} {
		if got := w.phase(name); got != spec.PhaseRunning && got != spec.PhaseStarting {
			t.Errorf("%s is %s", name, got)
		}
	}
	if got := w.runtime.pid("b"); got != before {
		t.Errorf("b ran already, and its PID went from %d to %d", before, got)
	}
	w.want(spec.VerbStart, spec.All, "")
	if got := len(w.runtime.started()); got != 3 {
		t.Errorf("%d starts, want 3", got)
	}
}

func TestRestartAllRestartsWhatRuns(t *testing.T) {
	w := newWorld(t, "", map[string]string{"a": plain, "b": plain, "rests": plain})
	w.mustServe()
	w.want(spec.VerbRestart, spec.All, "")
	w.want(spec.VerbStart, "a", "")
	w.want(spec.VerbStart, "b", "")
	a, b := w.runtime.pid("a"), w.runtime.pid("b")
	w.want(spec.VerbRestart, spec.All, "")
	if w.runtime.pid("a") == a || w.runtime.pid("b") == b || w.runtime.pid("rests") != 0 {
		t.Errorf("PIDs %d and %d became %d and %d, and that of what did not run is %d", a, b,
			w.runtime.pid("a"), w.runtime.pid("b"), w.runtime.pid("rests"))
	}
	w.want(spec.VerbTrystart, spec.All, "")
	if w.runtime.pid("rests") == 0 {
		t.Error("trystart all left out what did not run")
	}
}

// One bad file holds up nobody else, and is told.
func TestStartAllTellsOfThoseThatCannotBeStarted(t *testing.T) {
	files := map[string]string{"bad": "comand: x\n", "lost": plain + "hooks:\n- prehook: start none\n", "fails": plain, "good": plain}
	w := newWorld(t, "", files)
	w.mustServe()
	w.runtime.failures["fails"] = errors.New("exec ./x: no such file or directory")
	_, err := w.Do(t.Context(), spec.Command{Verb: spec.VerbStart, Child: spec.All})
	var refusal *spec.Refusal
	if !errors.As(err, &refusal) || refusal.Code != spec.InvalidFile {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"bad.yml:1: ", "cannot start lost: ", "cannot start fails: exec ./x"} {
		if !strings.Contains(refusal.Message, want) {
			t.Errorf("nothing of %q in %q", want, refusal.Message)
		}
	}
	if w.runtime.pid("good") == 0 {
		t.Error("the good one does not run")
	}
}

func TestManyRefusalsAreCutShort(t *testing.T) {
	files := map[string]string{}
	for i := range 3 * maxTold {
		files[fmt.Sprintf("bad%02d", i)] = "comand: x\n"
	}
	w := newWorld(t, "", files)
	w.mustServe()
	_, err := w.Do(t.Context(), spec.Command{Verb: spec.VerbTrystart, Child: spec.All})
	if err == nil || !strings.HasSuffix(err.Error(), fmt.Sprintf("\nand %d more", 2*maxTold)) {
		t.Errorf("got %v", err)
	}
}

// What runs and has no file any more is left as it is, and named: that is no failure
// of the others.
func TestACommandForAllNamesWhatRunsWithoutAFile(t *testing.T) {
	for _, c := range []spec.Command{
		{Verb: spec.VerbRestart}, {Verb: spec.VerbTrystart}, {Verb: spec.VerbTrystart, IfChanged: true}, {Verb: spec.VerbRestart, NoWait: true},
	} {
		w := newWorld(t, "", map[string]string{"a": plain, "b": plain, "stopped": plain})
		w.mustServe()
		w.want(spec.VerbStart, spec.All, "")
		w.want(spec.VerbStop, "stopped", "")
		w.remove("a")
		w.remove("stopped")
		before, a := w.view("b").Desired.Generation, w.runtime.pid("a")
		c.Child = spec.All
		out, err := w.Do(t.Context(), c)
		if err != nil || !slices.Equal(out.LeftRunning, []string{"a"}) || out.LeftStopped != nil || len(out.Children) != 1 || out.Children[0].Child != "b" {
			t.Errorf("%+v: %+v, %v", c, out, err)
		}
		if out.Unchanged != c.IfChanged || (w.view("b").Desired.Generation == before) != c.IfChanged {
			t.Errorf("%+v: b is left alone: %v", c, out.Unchanged)
		}
		if w.runtime.pid("a") != a {
			t.Errorf("%+v: a does not run on", c)
		}
		// By its name it is refused.
		w.want(c.Verb, "a", spec.NotFound)
		w.want(spec.VerbStart, spec.All, "")
		w.want(spec.VerbStop, "a", "")
		if out, err := w.Do(t.Context(), c); err != nil || out.LeftRunning != nil {
			t.Errorf("%+v, once a is stopped: %+v, %v", c, out, err)
		}
	}
}

// Where the load path is out of reach nobody knows what a child is to be.
func TestACommandForAllFailsWithoutItsLoadPath(t *testing.T) {
	w := newWorld(t, "", map[string]string{"a": plain, "rests": plain})
	w.mustServe()
	w.want(spec.VerbStart, "a", "")
	children := filepath.Join(w.dir, "children")
	if err := os.Rename(children, children+".away"); err != nil {
		t.Fatal(err)
	}
	_, err := w.Do(t.Context(), spec.Command{Verb: spec.VerbTrystart, Child: spec.All, IfChanged: true})
	if err == nil || !strings.Contains(err.Error(), "no file a.yml") || strings.Contains(err.Error(), "rests") {
		t.Errorf("got %v", err)
	}
}

// That it was passed over is in its history where it was meant to be restarted.
func TestWhatRunsWithoutAFileIsToldOfByItsHistory(t *testing.T) {
	w := newWorld(t, "", map[string]string{"a": plain})
	w.mustServe()
	w.want(spec.VerbStart, "a", "")
	w.remove("a")
	refused := func() (n int) {
		for _, e := range w.past.of("a") {
			if e.Type == spec.EventRefused {
				n++
			}
		}
		return n
	}
	if _, code := w.tryIfChanged(spec.All); code != "" || refused() != 0 {
		t.Errorf("with if_changed: %s, %d refusals", code, refused())
	}
	w.want(spec.VerbRestart, spec.All, "")
	if refused() != 1 {
		t.Errorf("%d refusals", refused())
	}
}

// The answer is the same after an upgrade in its midst.
func TestWhatRunsWithoutAFileIsNamedAfterAnUpgrade(t *testing.T) {
	w := newWorld(t, "", map[string]string{"a": plain, "b": plain})
	w.mustServe()
	w.want(spec.VerbStart, spec.All, "")
	w.remove("a")
	w.deaf("b")
	p := w.doUntilHandover(spec.Command{Verb: spec.VerbRestart, Child: spec.All}, func() bool { return w.phase("b") == spec.PhaseStopping })
	if !slices.Equal(p.LeftRunning, []string{"a"}) {
		t.Fatalf("pending: %+v", p)
	}
}

// Of failures of several kinds the answer has the code of the worst.
func TestAFailureOfAllHasTheWorstCode(t *testing.T) {
	of := func(codes ...spec.Code) error {
		var f failures
		for _, code := range codes {
			f.add(spec.Refuse(code, spec.VerbStart, "x", "x.yml:1: %s\nx.yml:2: more", code))
		}
		return f.refuse(spec.Command{Verb: spec.VerbStart, Child: spec.All})
	}
	for want, codes := range map[spec.Code][]spec.Code{
		spec.BadHook:     {spec.CannotStart, spec.BadHook, spec.Superseded},
		spec.Ambiguous:   {spec.Ambiguous, spec.BadHook},
		spec.HookFailed:  {spec.HookFailed, spec.Unavailable},
		spec.CannotStart: {spec.HookFailed, spec.CannotStart},
		spec.Superseded:  {spec.TimedOut, spec.Superseded},
	} {
		var refusal *spec.Refusal
		if err := of(codes...); !errors.As(err, &refusal) || refusal.Code != want {
			t.Errorf("%v: %+v, want %s", codes, err, want)
		}
	}
	// One thing a line: errors of files are several lines themselves.
	if got, want := of(spec.InvalidFile, spec.BadHook).Error(), "x.yml:1: invalid-file\nx.yml:2: more\nx.yml:1: bad-hook\nx.yml:2: more"; got != want {
		t.Errorf("got %q", got)
	}
}

// A load path of server.yml is that of the directory the server was started in, which
// nobody knows who asks from elsewhere.
func TestPathsOfFilesAreToldInFull(t *testing.T) {
	w := newWorld(t, "", map[string]string{"a": plain, "bad": "comand: x\n"})
	t.Chdir(w.dir)
	w.loadpath = "children"
	w.mustServe()
	children := filepath.Join(w.dir, "children")
	if v := w.view("a"); v.Spec.File != filepath.Join(children, "a.yml") || v.Spec.LoadPath != children {
		t.Errorf("file %s of %s", v.Spec.File, v.Spec.LoadPath)
	}
	if got := w.Info().LoadPaths; !slices.Equal(got, []string{children}) {
		t.Errorf("load paths: %v", got)
	}
	// As it is after server.yml was read again.
	if err := os.WriteFile(filepath.Join(w.dir, "server.yml"), []byte("loadpaths: [./children]\nmode: quiet\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := w.Do(t.Context(), spec.Command{Verb: spec.VerbStart, Child: "bad"})
	if err == nil || !strings.HasPrefix(err.Error(), filepath.Join(children, "bad.yml")+":1: ") {
		t.Errorf("got %v", err)
	}
}

// A file that came just now belongs to all.
func TestStartAllReadsTheLoadPaths(t *testing.T) {
	w := newWorld(t, "", map[string]string{"a": plain})
	w.mustServe()
	w.write("b", plain)
	w.want(spec.VerbStart, spec.All, "")
	if w.runtime.pid("b") == 0 {
		t.Error("b does not run")
	}
}
