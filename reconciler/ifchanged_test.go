package reconciler

import (
	"errors"
	"slices"
	"testing"

	"kita/reconciler/plan"
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

	// The code is that of the worst refusal.
	w.write("bad", "comand: x\n")
	if _, code := w.tryIfChanged(spec.All); code != spec.InvalidFile {
		t.Errorf("with a broken file: %s", code)
	}
	w.write("lost", plain+"hooks: [{prehook: start none}]\n")
	if _, code := w.tryIfChanged(spec.All); code != spec.InvalidFile {
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

// A job that has done its work is not run again as long as it would be the same,
// by a server that follows neither.
func TestTrystartIfChangedLeavesAJobAloneThatIsDone(t *testing.T) {
	w := newWorld(t, "", map[string]string{"job": plain, "fails": plain, "crashes": plain + "restart: {policy: always, backoff: {initial: 1h, max: 1h}}\n"})
	w.mustServe()
	for child, code := range map[string]int{"job": 0, "fails": 1, "crashes": 0} {
		w.want(spec.VerbStart, child, "")
		w.runtime.exit(child, code)
		w.until(child+" has ended", func() bool { s := w.view(child).Status; return s.Process == nil && s.LastExit != nil })
	}
	generation := w.view("job").Desired.Generation
	done := func(when string) {
		t.Helper()
		out, code := w.tryIfChanged("job")
		if code != "" || !out.Unchanged || out.Generation != generation || out.Status.Phase != spec.PhaseExited || w.view("job").Status.Starts != 1 {
			t.Errorf("%s: %+v, %s", when, out, code)
		}
	}
	done("of one that is done")
	if d, err := w.Diff([]string{"job", "fails"}); err != nil || d[0].State != spec.DiffUnchanged || d[1].State != spec.DiffNotRunning {
		t.Errorf("diff: %+v, %v", d, err)
	}
	w.leave()
	w.mustServe()
	done("by the server that follows")

	out, code := w.tryIfChanged(spec.All)
	want := []spec.Part{
		{Child: "crashes", Generation: 2}, {Child: "fails", Generation: 2},
		{Child: "job", Generation: generation, Unchanged: true, Incarnation: 1},
	}
	if code != "" || !slices.Equal(out.Children, want) || out.LeftStopped != nil {
		t.Errorf("of all: %+v, %s", out, code)
	}

	w.write("job", plain+"env: {PORT: 81}\n")
	if out, code := w.tryIfChanged("job"); code != "" || out.Unchanged || w.view("job").Status.Starts != 2 {
		t.Errorf("of one that has changed: %+v, %s", out, code)
	}
}

// The hash is not known of a run of a former version.
func TestTrystartIfChangedRunsAJobAgainOfWhichTheHashIsUnknown(t *testing.T) {
	w := newWorld(t, "", map[string]string{"job": plain})
	w.mustServe()
	w.want(spec.VerbStart, "job", "")
	w.runtime.exit("job", 0)
	w.until("job has ended", func() bool { return w.phase("job") == spec.PhaseExited })
	w.leave()
	w.editFacts("job", func(o *plan.Observed) { o.End.Hash = "" })
	w.mustServe()
	if out, code := w.tryIfChanged("job"); code != "" || out.Unchanged || w.view("job").Status.Starts != 2 {
		t.Errorf("%+v, %s", out, code)
	}
}

func TestTrystartAllIfChangedLeavesStoppedWhatWasStopped(t *testing.T) {
	w := newWorld(t, "", map[string]string{"db": plain, "web": plain, "worker": plain})
	w.mustServe()
	w.want(spec.VerbStart, spec.All, "")
	w.want(spec.VerbStop, "web", "")
	w.want(spec.VerbStop, "worker", "")
	w.write("worker", plain+"nice: 3\n")
	out, code := w.tryIfChanged(spec.All)
	if code != "" || !out.Unchanged || len(out.Children) != 1 || !slices.Equal(out.LeftStopped, []string{"web", "worker"}) {
		t.Errorf("of all: %+v, %s", out, code)
	}
	if w.phase("web") != spec.PhaseStopped || w.phase("worker") != spec.PhaseStopped {
		t.Error("one that was stopped was started")
	}
	// Without --if-changed all means all, and who names one means it.
	if out, code := w.tryIfChanged("web"); code != "" || out.Unchanged || w.runtime.pid("web") == 0 {
		t.Errorf("by its name: %+v, %s", out, code)
	}
	w.want(spec.VerbTrystart, spec.All, "")
	if w.runtime.pid("worker") == 0 {
		t.Error("trystart all without --if-changed left one stopped")
	}

	// The answer is the same after an upgrade in its midst.
	w.want(spec.VerbStop, "web", "")
	w.deaf("db")
	w.write("db", plain+"nice: 3\n")
	p := w.doUntilHandover(spec.Command{Verb: spec.VerbTrystart, Child: spec.All, IfChanged: true}, func() bool { return w.phase("db") == spec.PhaseStopping })
	if !slices.Equal(p.LeftStopped, []string{"web"}) {
		t.Errorf("pending: %+v", p)
	}
}
