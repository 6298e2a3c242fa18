package reconciler

import (
	"testing"

	"kita/spec"
)

// One that has failed is left down by who asks for that, and the next server knows.
func TestAFailedChildIsLeftDown(t *testing.T) {
	for _, target := range []string{"web", spec.All} {
		t.Run("stop "+target, func(t *testing.T) {
			w := newWorld(t, "", map[string]string{"web": plain + "hooks: [{posthook: start after}]\n", "after": plain})
			w.mustServe()
			w.want(spec.VerbStart, "web", "")
			w.runtime.exit("web", 7)
			w.until("failed", func() bool { return w.phase("web") == spec.PhaseFailed })
			// As the old text protocol asks, and hooks.
			if got := w.do(spec.VerbStop, target); target != spec.All && got != spec.NotRunning || w.phase("web") != spec.PhaseFailed {
				t.Errorf("without asking for it: %q, %v", got, w.phase("web"))
			}
			out, err := w.Do(t.Context(), spec.Command{Verb: spec.VerbStop, Child: target, LeaveDown: true, By: "test"})
			if err != nil || out.WasRunning || out.Posthook != nil || target != spec.All && out.Note != noteDown || target == spec.All && len(out.Children) != 1 {
				t.Errorf("%+v, %v", out, err)
			}
			for range 2 {
				v, _ := w.Get("web")
				if v.Desired.Run != spec.Stopped || v.Status.Phase != spec.PhaseStopped || v.Status.Reason != "" || v.Status.LastExit == nil || v.Status.LastExit.Code != 7 {
					t.Errorf("%+v, %+v", v.Desired, v.Status)
				}
				w.leave()
				w.mustServe()
			}
			if got := w.phase("after"); got != spec.PhaseStopped {
				t.Errorf("its posthook has run: %v", got)
			}
			if _, err := w.Do(t.Context(), spec.Command{Verb: spec.VerbStop, Child: "web", LeaveDown: true}); err == nil {
				t.Error("once more it is not refused")
			}
			w.want(spec.VerbStart, "web", "")
			w.until("running", func() bool { return w.view("web").Status.Alive() })
		})
	}
}

// What ended with a success stays as it is.
func TestAnExitedChildIsNotStopped(t *testing.T) {
	w := newWorld(t, "", map[string]string{"job": plain})
	w.mustServe()
	w.want(spec.VerbStart, "job", "")
	w.runtime.exit("job", 0)
	w.until("exited", func() bool { return w.phase("job") == spec.PhaseExited })
	if _, err := w.Do(t.Context(), spec.Command{Verb: spec.VerbStop, Child: "job", LeaveDown: true}); err == nil || w.phase("job") != spec.PhaseExited {
		t.Errorf("%v, %v", err, w.phase("job"))
	}
}
