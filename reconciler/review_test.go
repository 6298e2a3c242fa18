package reconciler

import (
	"context"
	"errors"
	"testing"

	"kita/spec"
)

func TestARepeatChainCanBeStoppedBetweenTwoRuns(t *testing.T) {
	for _, target := range []string{"job", spec.All} {
		t.Run("stop "+target, func(t *testing.T) {
			w := newWorld(t, "", map[string]string{"job": plain + "repeat: {seconds: 1000}\n"})
			w.mustServe()
			w.want(spec.VerbStart, "job", "")
			w.runtime.exit("job", 0)
			w.until("exited", func() bool { return w.phase("job") == spec.PhaseExited })
			w.want(spec.VerbStop, target, "")
			if v, _ := w.Get("job"); v.Status.RepeatAt != nil || v.Desired.Run != spec.Stopped {
				t.Errorf("job is %+v, %+v", v.Desired, v.Status)
			}
			w.want(spec.VerbStop, "job", spec.NotRunning)
		})
	}
}

func TestStopReachesAChildWhosePolicyIsStartingIt(t *testing.T) {
	for _, target := range []string{"web", spec.All} {
		t.Run("stop "+target, func(t *testing.T) {
			w := newWorld(t, "", map[string]string{
				"web":  plain + "restart: {policy: always, backoff: {initial: 1ms, max: 1h}}\nhooks:\n- prehook: stop deaf\n",
				"deaf": plain + "stop: {grace: 1h}\n"})
			w.mustServe()
			w.want(spec.VerbStart, "web", "")
			w.want(spec.VerbStart, "deaf", "")
			w.runtime.ignores["deaf"] = true
			w.runtime.exit("web", 1)
			w.until("its prehook", func() bool { return w.phase("deaf") == spec.PhaseStopping })
			if _, err := w.Do(t.Context(), spec.Command{Verb: spec.VerbStop, Child: target, NoWait: true}); err != nil {
				t.Fatal(err)
			}
			w.until("web stopped or stuck", func() bool {
				v, _ := w.Get("web")
				return v.Status.Phase == spec.PhaseStopped || v.Desired.Run == spec.Running
			})
			if v, _ := w.Get("web"); v.Status.Phase != spec.PhaseStopped || v.Desired.Run != spec.Stopped {
				t.Errorf("web is %+v, %+v", v.Desired, v.Status)
			}
		})
	}
}

func TestAStopOfAClientThatLeftIsOnDisk(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": plain})
	w.mustServe()
	w.want(spec.VerbStart, "web", "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Do(ctx, spec.Command{Verb: spec.VerbStop, Child: "web"}); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	w.until("stopped", func() bool { return w.phase("web") == spec.PhaseStopped })
	w.leave()
	w.mustServe()
	if v, _ := w.Get("web"); v.Desired.Run != spec.Stopped {
		t.Errorf("after a restart of the server: %+v", v.Desired)
	}
}
