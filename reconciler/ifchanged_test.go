package reconciler

import (
	"errors"
	"slices"
	"testing"

	"kita/spec"
)

// tryIfChanged is trystart --if-changed.
func (w *world) tryIfChanged(child string) (spec.Outcome, spec.Code) {
	w.t.Helper()
	out, err := w.Do(w.t.Context(), spec.Command{Verb: spec.VerbTrystart, Child: child, IfChanged: true})
	var refusal *spec.Refusal
	if err != nil && !errors.As(err, &refusal) {
		w.t.Fatal(err)
	}
	if refusal != nil {
		return out, refusal.Code
	}
	return out, ""
}

func TestTrystartIfChangedLeavesAloneWhatIsAsItsFile(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": plain})
	w.mustServe()
	if out, code := w.tryIfChanged("web"); code != "" || out.Unchanged || out.Generation == 0 {
		t.Fatalf("of one that does not run: %+v, %s", out, code)
	}
	pid, generation := w.runtime.pid("web"), w.view("web").Desired.Generation
	// Also with a file that is written this moment.
	w.write("web", plain+"stop: {grace: 3s}\n")
	out, code := w.tryIfChanged("web")
	if code != "" || !out.Unchanged || !out.WasRunning || out.Generation != generation || out.Status.Process == nil || out.Status.Process.PID != pid {
		t.Errorf("of one that has not changed: %+v, %s", out, code)
	}
	if v := w.view("web"); v.Desired.Generation != generation || w.runtime.pid("web") != pid {
		t.Errorf("it was touched: %+v", v.Desired)
	}

	w.write("web", plain+"env: {PORT: 81}\n")
	out, code = w.tryIfChanged("web")
	if code != "" || out.Unchanged || out.Generation != generation+1 || w.runtime.pid("web") == pid {
		t.Errorf("of one that has changed: %+v, %s", out, code)
	}

	w.write("web", "comand: x\n")
	pid = w.runtime.pid("web")
	if _, code := w.tryIfChanged("web"); code != spec.InvalidFile || w.runtime.pid("web") != pid {
		t.Errorf("of a broken file: %s", code)
	}
}

// Its command failed, and what ran before runs on: that is no news of this command.
func TestTrystartIfChangedForgetsAnEarlierFailure(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": plain, "db": plain})
	w.mustServe()
	w.want(spec.VerbStart, "web", "")
	w.runtime.failures["db"] = errors.New("no such program")
	w.write("web", plain+"hooks: [{prehook: start db}]\n")
	w.want(spec.VerbRestart, "web", spec.HookFailed)
	w.write("web", plain)
	if out, code := w.tryIfChanged("web"); code != "" || !out.Unchanged {
		t.Errorf("%+v, %s", out, code)
	}
}

func TestTrystartAllIfChangedStartsTheOthers(t *testing.T) {
	w := newWorld(t, "", map[string]string{"same": plain, "changes": plain, "rests": plain})
	w.mustServe()
	w.want(spec.VerbStart, "same", "")
	w.want(spec.VerbStart, "changes", "")
	same, changes := w.view("same"), w.runtime.pid("changes")
	w.write("changes", plain+"nice: 3\n")
	w.write("new", plain)
	out, code := w.tryIfChanged(spec.All)
	if code != "" || out.Unchanged {
		t.Errorf("%+v, %s", out, code)
	}
	want := []spec.Part{
		{Child: "changes", Generation: 2},
		{Child: "new", Generation: 1},
		{Child: "rests", Generation: 1},
		{Child: "same", Generation: same.Desired.Generation, Unchanged: true, Incarnation: 1},
	}
	if !slices.Equal(out.Children, want) {
		t.Errorf("the parts are\n%+v\nwant\n%+v", out.Children, want)
	}
	if w.runtime.pid("same") != same.Status.Process.PID || w.runtime.pid("changes") == changes || w.runtime.pid("new") == 0 || w.runtime.pid("rests") == 0 {
		t.Error("another one was started")
	}
	if out, code := w.tryIfChanged(spec.All); code != "" || !out.Unchanged || len(out.Children) != 4 {
		t.Errorf("once more: %+v, %s", out, code)
	}

	// The code says what all refusals have in common.
	w.write("bad", "comand: x\n")
	if _, code := w.tryIfChanged(spec.All); code != spec.InvalidFile {
		t.Errorf("with a broken file: %s", code)
	}
	w.write("lost", plain+"hooks: [{prehook: start none}]\n")
	if _, code := w.tryIfChanged(spec.All); code != spec.CannotStart {
		t.Errorf("with a broken file and a broken hook: %s", code)
	}
}

func TestACommandForAllKeepsItsPartsOverAnUpgrade(t *testing.T) {
	w := newWorld(t, "", map[string]string{"a": plain, "slow": plain})
	w.mustServe()
	w.want(spec.VerbStart, spec.All, "")
	w.deaf("slow")
	w.write("slow", plain+"nice: 3\n")
	c := spec.Command{Verb: spec.VerbTrystart, Child: spec.All, IfChanged: true}
	p := w.doUntilHandover(c, func() bool { return w.phase("slow") == spec.PhaseStopping })
	if len(p.Parts) != 2 || !p.Parts[0].Unchanged || p.Parts[1].Unchanged || len(p.All) != 1 || p.All[0].Command.Child != "slow" {
		t.Errorf("pending: %+v", p)
	}
}

// Who asks for what another is just having done waits for that, and starts nothing
// once more; with a file that has changed since it is another start.
func TestTrystartIfChangedJoinsAnother(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": plain + "stop: {grace: 1h}\n"})
	w.mustServe()
	w.deaf("web")
	w.want(spec.VerbStart, "web", "")
	w.write("web", plain+"stop: {grace: 1h}\nnice: 3\n")
	generation := func() uint64 { return w.view("web").Desired.Generation }
	first := w.background(spec.VerbTrystart, "web")
	w.until("stopping", func() bool { return w.phase("web") == spec.PhaseStopping })
	before := generation()
	noWait := func(child string) spec.Outcome {
		out, err := w.Do(t.Context(), spec.Command{Verb: spec.VerbTrystart, Child: child, IfChanged: true, NoWait: true})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if out := noWait("web"); out.Unchanged || out.Generation != before || generation() != before {
		t.Errorf("%+v, generation %d is now %d", out, before, generation())
	}
	if out := noWait(spec.All); out.Unchanged || len(out.Children) != 1 || out.Children[0].Generation != before || generation() != before {
		t.Errorf("all: %+v, generation %d is now %d", out, before, generation())
	}
	// What is live is no other start.
	w.write("web", plain+"stop: {grace: 2h}\nnice: 3\n")
	if out := noWait("web"); out.Generation != before {
		t.Errorf("with another grace period: %+v, generation was %d", out, before)
	}
	second := make(chan error, 1)
	go func() {
		_, err := w.Do(t.Context(), spec.Command{Verb: spec.VerbTrystart, Child: "web", IfChanged: true})
		second <- err
	}()
	w.runtime.exit("web", 0)
	for _, answer := range []<-chan error{first, second} {
		if err := <-answer; err != nil {
			t.Error(err)
		}
	}
	if s := w.view("web").Status; s.Starts != 2 || s.Process == nil || s.Process.Config.Nice == nil {
		t.Errorf("%+v", s)
	}

	// A file that has changed meanwhile, and back: what is launched is not known.
	third := w.background(spec.VerbRestart, "web")
	w.until("stopping", func() bool { return w.phase("web") == spec.PhaseStopping })
	before = generation()
	w.write("web", plain+"stop: {grace: 1h}\nnice: 4\n")
	if out := noWait("web"); out.Generation != before+1 {
		t.Errorf("of a file that has changed: %+v, generation was %d", out, before)
	}
	w.runtime.exit("web", 0)
	if err := <-third; err != nil {
		t.Error(err)
	}
}
