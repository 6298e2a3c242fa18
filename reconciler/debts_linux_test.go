package reconciler

import (
	"errors"
	"strings"
	"testing"

	"kita/reconciler/smalldisk"
	"kita/spec"
)

// What could not be saved is saved when there is room again, though nobody asks
// for anything more.
func TestFullDisk(t *testing.T) { smalldisk.Run(t, "256k", onFullDisk) }

func onFullDisk(t *testing.T, disk string) {
	w := newWorld(t, "", map[string]string{"web": plain, "db": plain, "job": plain})
	w.mustServe()
	for _, name := range []string{"web", "db", "job"} {
		w.want(spec.VerbStart, name, "")
	}
	// Longer than what is left of the journal's last block.
	by := strings.Repeat("x", 8<<10)

	free := smalldisk.Fill(t, disk)
	stop, err := w.Do(t.Context(), spec.Command{Verb: spec.VerbStop, Child: "web", By: by})
	if err != nil || !strings.Contains(stop.Note, "no space left on device") {
		t.Fatalf("stop: %+v, %v", stop, err)
	}
	_, err = w.Do(t.Context(), spec.Command{Verb: spec.VerbRestart, Child: "db", By: by})
	if refusal, ok := errors.AsType[*spec.Refusal](err); !ok || refusal.Code != spec.Unavailable {
		t.Fatalf("restart: %v", err)
	}
	starts := len(w.runtime.started())
	_, err = w.Do(t.Context(), spec.Command{Verb: spec.VerbTrystart, Child: spec.All, By: by})
	if refusal, ok := errors.AsType[*spec.Refusal](err); !ok || refusal.Code != spec.Unavailable || len(w.runtime.started()) != starts {
		t.Fatalf("trystart all: %v, %d starts", err, len(w.runtime.started())-starts)
	}
	w.runtime.exit("job", 0)
	w.until("the end of job, which has its place", func() bool { return w.phase("job") == spec.PhaseExited })
	if v, _ := w.Get("job"); len(v.Status.Warnings) != 0 {
		t.Errorf("not saved: %v", v.Status.Warnings)
	}
	w.Wrote("job", spec.LastLines{Incarnation: 1, Lines: []string{by}})
	w.until("a warning", func() bool { v, _ := w.Get("job"); return len(v.Status.Warnings) == 1 })
	if w.store.Err() == nil {
		t.Error("the store reports nothing")
	}

	free()
	w.until("all saved", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.debts.desired) == 0 && w.store.Err() == nil
	})
	w.until("no warning", func() bool { v, _ := w.Get("job"); return len(v.Status.Warnings) == 0 })
	w.leave()
	w.mustServe()
	for name, want := range map[string]spec.Run{"web": spec.Stopped, "db": spec.Running, "job": spec.Running} {
		if v, _ := w.Get(name); v.Desired.Run != want || (v.Status.Process != nil) != (name == "db") {
			t.Errorf("%s is %+v, %+v", name, v.Desired.Run, v.Status)
		}
	}
}
