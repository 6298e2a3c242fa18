package reconciler

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	if !errors.As(err, &refusal) || refusal.Code != spec.CannotStart {
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
	if err == nil || !strings.HasSuffix(err.Error(), fmt.Sprintf("; and %d more", 2*maxTold)) {
		t.Errorf("got %v", err)
	}
}

// What runs and cannot be restarted is told of; what is gone altogether is not.
func TestRestartAllTellsOfARunWithoutAFile(t *testing.T) {
	w := newWorld(t, "", map[string]string{"a": plain, "b": plain})
	w.mustServe()
	w.want(spec.VerbStart, spec.All, "")
	if err := os.Remove(filepath.Join(w.dir, "children", "a.yml")); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []spec.Verb{spec.VerbRestart, spec.VerbTrystart} {
		_, err := w.Do(t.Context(), spec.Command{Verb: verb, Child: spec.All})
		if err == nil || !strings.Contains(err.Error(), "no file a.yml") {
			t.Errorf("%s: %v", verb, err)
		}
	}
	w.want(spec.VerbStart, spec.All, "")
	w.want(spec.VerbStop, "a", "")
	w.want(spec.VerbRestart, spec.All, "")
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
