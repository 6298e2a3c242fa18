package reconciler

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"kita/spec"
)

func TestRotationIsInForceWithoutARestart(t *testing.T) {
	const output = "command: x\noutput: [{stdout: a}]\n"
	w := newWorld(t, "", map[string]string{"web": output + "rotate: {keep: 1}\n"})
	w.mustServe()
	w.want(spec.VerbStart, "web", "")
	kept := func() int {
		c := w.runtime.configuredAs("web")
		if c == nil || c.Stdout.Rotate == nil {
			return 0
		}
		return c.Stdout.Rotate.Keep
	}
	w.until("the first rotation", func() bool { return kept() == 1 })
	w.write("web", output+"rotate: {keep: 2} # two\n")
	w.Refresh()
	w.until("another rotation", func() bool { return kept() == 2 })
	if v, _ := w.Get("web"); v.Stale || v.Spec.Stdout.Rotate.Keep != 2 {
		t.Errorf("stale %v, its file says %+v", v.Stale, v.Spec.Stdout.Rotate)
	}

	w.leave()
	w.write("web", output+"rotate: {keep: 3}\n")
	w.mustServe()
	w.until("the rotation of the file, by the next server", func() bool { return kept() == 3 })
	w.write("web", output)
	w.Refresh()
	w.until("no rotation", func() bool { return kept() == 0 })
	if starts := w.runtime.started(); !slices.Equal(starts, []string{"web"}) {
		t.Errorf("started: %q", starts)
	}
}

func TestLastLinesOfARunThatFailed(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": "command: x\n"})
	w.mustServe()
	w.want(spec.VerbStart, "web", "")
	last := &spec.LastLines{Incarnation: 1, Stream: spec.Err, Lines: []string{"no port", "giving up"}}
	w.Wrote("web", *last)
	w.runtime.exit("web", 1)
	shown := func() *spec.LastLines {
		v, _ := w.Get("web")
		return v.Status.LastLines
	}
	w.until("the failure", func() bool { return w.phase("web") == spec.PhaseFailed })
	if got := shown(); !reflect.DeepEqual(got, last) {
		t.Errorf("last lines are %+v", got)
	}
	var refusal *spec.Refusal
	_, err := w.Do(t.Context(), spec.Command{Verb: spec.VerbRestart, Child: "web"})
	if !errors.As(err, &refusal) || refusal.Code != spec.NotRunning || !reflect.DeepEqual(refusal.LastLines, last) {
		t.Errorf("restart: %v, %+v", err, refusal)
	}

	w.leave()
	w.mustServe()
	w.until("the next server knows it", func() bool { return reflect.DeepEqual(shown(), last) })
	w.want(spec.VerbStart, "web", "")
	if got := shown(); got != nil {
		t.Errorf("the next run has last lines: %+v", got)
	}
	w.Wrote("web", *last)
	w.runtime.exit("web", 1)
	w.until("the second failure", func() bool { return w.phase("web") == spec.PhaseFailed })
	if got := shown(); got != nil {
		t.Errorf("lines of the first run are shown as those of the second: %+v", got)
	}
}

func TestOutputFaultsAreShownWhileTheyHold(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": "command: x\n"})
	w.mustServe()
	w.want(spec.VerbStart, "web", "")
	warnings := func() []string {
		v, _ := w.Get("web")
		return v.Status.Warnings
	}
	w.OutputFault("web", 1, []string{"out.log was removed"})
	w.until("the fault", func() bool { return slices.Equal(warnings(), []string{"out.log was removed"}) })
	w.OutputFault("web", 2, []string{"disk full"}) // no such run
	w.OutputFault("db", 1, []string{"disk full"})  // no such child
	w.OutputFault("web", 1, nil)
	w.until("the end of it", func() bool { return len(warnings()) == 0 })
}
