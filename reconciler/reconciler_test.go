package reconciler

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"kita/spec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const plain = "command: sleep 1000\n"

func TestCommandsAndTheirRefusals(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": plain, "bad": "comand: x\n"})
	w.mustServe()
	w.want(spec.VerbStop, "web", spec.NotRunning)
	w.want(spec.VerbRestart, "web", spec.NotRunning)
	w.want(spec.VerbStart, "none", spec.NotFound)
	w.want(spec.VerbStart, "bad", spec.InvalidFile)
	w.want(spec.VerbStart, "kill", spec.BadRequest)
	w.want(spec.VerbStart, "web", "")
	first := w.runtime.pid("web")
	w.want(spec.VerbStart, "web", spec.AlreadyRunning)
	w.want(spec.VerbRestart, "web", "")
	if pid := w.runtime.pid("web"); pid == first || pid == 0 {
		t.Errorf("restart left PID %d, was %d", pid, first)
	}
	w.want(spec.VerbTrystart, "web", "")
	w.want(spec.VerbStop, "web", "")
	if got := w.phase("web"); got != spec.PhaseStopped {
		t.Errorf("phase %s after stop", got)
	}
	w.want(spec.VerbTrystart, "web", "")
	w.want(spec.VerbStop, spec.All, "")
	w.want(spec.VerbStop, spec.All, "")
	if w.runtime.doubles != 0 {
		t.Errorf("%d doubles", w.runtime.doubles)
	}
}

func TestSameNameInTwoFilesIsRefusedButStops(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": plain})
	w.mustServe()
	w.want(spec.VerbStart, "web", "")
	w.write("web.other", plain)
	w.want(spec.VerbRestart, "web", spec.Ambiguous)
	w.want(spec.VerbStop, "web", "")
	w.want(spec.VerbStart, "web", spec.Ambiguous)
}

func TestLaunchFailureIsToldAndTheChildFails(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": plain})
	w.mustServe()
	w.runtime.failures["web"] = errors.New("exec ./x: no such file or directory")
	_, err := w.Do(t.Context(), spec.Command{Verb: spec.VerbStart, Child: "web"})
	if err == nil || !strings.Contains(err.Error(), "exec ./x: no such file") {
		t.Errorf("got %v", err)
	}
	if got := w.phase("web"); got != spec.PhaseFailed {
		t.Errorf("phase %s", got)
	}
}

func TestPrehookRunsFirstAndItsFailureLeavesTheChildAlone(t *testing.T) {
	w := newWorld(t, "", map[string]string{
		"web": plain + "hooks:\n- prehook: start db\n", "db": plain + "hooks:\n- prehook: start disk\n", "disk": plain})
	w.mustServe()
	w.want(spec.VerbStart, "web", "")
	if got := w.runtime.started(); !slices.Equal(got, []string{"disk", "db", "web"}) {
		t.Errorf("started %v", got)
	}
	before := w.runtime.pid("web")
	w.want(spec.VerbRestart, "web", "") // satisfied: db runs
	if w.runtime.pid("web") == before {
		t.Error("restart did nothing")
	}
	before = w.runtime.pid("web")
	w.want(spec.VerbStop, "db", "")
	w.runtime.mu.Lock()
	w.runtime.failures["db"] = errors.New("no")
	w.runtime.mu.Unlock()
	w.want(spec.VerbRestart, "web", spec.HookFailed)
	if got := w.runtime.pid("web"); got != before {
		t.Errorf("the old process %d is now %d", before, got)
	}
	w.write("db", plain+"hooks:\n- prehook: start web\n")
	w.want(spec.VerbRestart, "web", spec.BadHook)
	w.write("db", plain+"hooks:\n- prehook: start none\n")
	w.want(spec.VerbStart, "web", spec.AlreadyRunning)
	w.want(spec.VerbTrystart, "web", spec.BadHook)
}

func TestPosthookRunsAfterStopAndBetweenTheHalvesOfTrystart(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": plain + "hooks:\n- posthook: start cleanup\n", "cleanup": plain})
	w.mustServe()
	w.want(spec.VerbTrystart, "web", "")
	if got := w.runtime.started(); !slices.Equal(got, []string{"web"}) {
		t.Fatalf("started %v", got)
	}
	w.want(spec.VerbTrystart, "web", "")
	if got := w.runtime.started(); !slices.Equal(got, []string{"web", "cleanup", "web"}) {
		t.Fatalf("started %v", got)
	}
	w.want(spec.VerbStop, "cleanup", "")
	w.want(spec.VerbStop, spec.All, "")
	w.want(spec.VerbStart, "web", "")
	w.want(spec.VerbRestart, "web", "")
	if w.runtime.pid("cleanup") != 0 {
		t.Error("posthook ran after stop all or restart")
	}
	w.want(spec.VerbStop, "web", "")
	if w.runtime.pid("cleanup") == 0 {
		t.Error("no posthook after stop")
	}
}

func TestRepeatRunsAgainUntilItIsStopped(t *testing.T) {
	w := newWorld(t, "", map[string]string{"job": plain + "repeat: {seconds: 1}\n"})
	w.mustServe()
	w.want(spec.VerbStart, "job", "")
	w.runtime.exit("job", 0)
	w.until("the second run", func() bool { return len(w.runtime.started()) == 2 })
	w.write("job", "comand: typo\n")
	w.until("the refused repeat", func() bool { v, _ := w.Get("job"); return v.FileError != "" && v.Status.RepeatAt != nil })
	w.write("job", plain)
	w.until("the third run", func() bool { return len(w.runtime.started()) == 3 })
	w.until("the end of the chain", func() bool { v, _ := w.Get("job"); return v.Status.RepeatAt == nil })
	w.want(spec.VerbStop, "job", "")
}

func TestASlowStopDelaysNobody(t *testing.T) {
	w := newWorld(t, "", map[string]string{"deaf": plain + "stop: {grace: 30s}\n", "web": plain})
	w.mustServe()
	w.runtime.ignores["deaf"] = true
	w.want(spec.VerbStart, "deaf", "")
	_, err := w.Do(t.Context(), spec.Command{Verb: spec.VerbStop, Child: "deaf", NoWait: true})
	if err != nil {
		t.Fatal(err)
	}
	w.until("stopping", func() bool { return w.phase("deaf") == spec.PhaseStopping })
	w.want(spec.VerbStart, "web", "")
	if got := w.phase("deaf"); got != spec.PhaseStopping {
		t.Errorf("deaf is %s", got)
	}
}

func TestKilledAfterItsGraceIsReported(t *testing.T) {
	w := newWorld(t, "", map[string]string{"deaf": plain + "stop: {grace: 10ms}\n"})
	w.mustServe()
	w.runtime.ignores["deaf"] = true
	w.want(spec.VerbStart, "deaf", "")
	pid := w.runtime.pid("deaf")
	out, err := w.Do(t.Context(), spec.Command{Verb: spec.VerbStop, Child: "deaf"})
	if err != nil || !strings.Contains(out.Note, fmt.Sprintf("killed: PID %d", pid)) {
		t.Errorf("outcome %+v, %v", out, err)
	}
}

func TestModes(t *testing.T) {
	files := map[string]string{"a": plain, "b": plain, "c": plain}
	for _, tt := range []struct {
		mode string
		want []string
	}{
		{"", nil},
		{"mode: quiet\n", nil},
		{"mode: half\nstartup: [c, none, a]\n", []string{"c", "a"}},
		{"mode: full\n", []string{"a", "b", "c"}},
	} {
		t.Run(tt.mode, func(t *testing.T) {
			w := newWorld(t, tt.mode, files)
			w.mustServe()
			w.until("all started", func() bool { return len(w.runtime.started()) >= len(tt.want) })
			got := w.runtime.started()
			if strings.Contains(tt.mode, "full") {
				slices.Sort(got)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("started %v, want %v", got, tt.want)
			}
		})
	}
}

func TestFullModeChecksEveryFileBeforeItStartsOne(t *testing.T) {
	w := newWorld(t, "mode: full\n", map[string]string{"a": plain, "b": "comand: x\n"})
	if err := w.serve(); err == nil || !strings.Contains(err.Error(), "b.yml:1") {
		t.Errorf("got %v", err)
	}
	if got := w.runtime.started(); len(got) > 0 {
		t.Errorf("started %v", got)
	}
}

func TestAModeTellsWhatItPassesOver(t *testing.T) {
	w := newWorld(t, "mode: full\n", map[string]string{"a": plain, "b": plain + "hooks: [{prehook: start nobody}]\n"})
	w.mustServe()
	const want = `mode full did not start it: the prehook of b, "start nobody", names nobody`
	w.until("b says so", func() bool {
		f := w.view("b").Status.Failure
		return f != nil && f.Code == spec.BadHook && strings.HasPrefix(f.Message, want)
	})
	if w.view("a").Status.Failure != nil || len(w.runtime.started()) != 1 {
		t.Errorf("a: %+v", w.view("a").Status)
	}
	if p := w.Info().Problems; len(p) != 1 || !strings.Contains(p[0], "b.yml: hooks: the prehook of b") {
		t.Errorf("problems %q", p)
	}
	events := w.past.of("b")
	if e := events[len(events)-1]; e.Type != spec.EventRefused || e.Code != spec.BadHook || e.By != "mode full" || e.Cause != spec.CauseMode {
		t.Errorf("event %+v", e)
	}

	// It runs by a command, and a server that resumes has nothing to say of it.
	w.write("b", plain)
	w.want(spec.VerbStart, "b", "")
	w.write("b", plain+"hooks: [{prehook: start nobody}]\n")
	w.leave()
	w.mustServe()
	if s := w.view("b").Status; s.Failure != nil || s.Process == nil {
		t.Errorf("resumed: %+v", s)
	}
}

func TestDesiredStateSurvivesTheServer(t *testing.T) {
	w := newWorld(t, "mode: full\n", map[string]string{"a": plain, "b": plain, "c": plain, "d": plain})
	w.mustServe()
	w.until("all started", func() bool { return len(w.runtime.started()) == 4 })
	w.want(spec.VerbStop, "b", "")
	w.runtime.exit("c", 3)
	w.until("c failed", func() bool { return w.phase("c") == spec.PhaseFailed })
	a := w.runtime.pid("a")
	w.leave()

	w.runtime.mu.Lock()
	delete(w.runtime.live, "d") // ends while no server runs
	w.runtime.mu.Unlock()
	w.write("e", plain)
	w.mustServe()
	w.until("e started", func() bool { return w.runtime.pid("e") != 0 })
	w.until("d ended", func() bool { return w.phase("d") == spec.PhaseFailed })
	if got := w.runtime.started(); len(got) != 5 {
		t.Errorf("started %v", got)
	}
	v, _ := w.Get("a")
	if p := v.Status.Process; p == nil || p.PID != a || !p.Adopted {
		t.Errorf("a is %+v", v.Status)
	}
	if b := w.phase("b"); b != spec.PhaseStopped {
		t.Errorf("b is %s", b)
	}
	if v, _ := w.Get("c"); v.Status.Phase != spec.PhaseFailed || v.Status.LastExit.Code != 3 {
		t.Errorf("c is %+v", v.Status)
	}
	if v, _ := w.Get("d"); v.Status.LastExit.Known {
		t.Errorf("d is %+v", v.Status)
	}
	w.want(spec.VerbRestart, "a", "")
}

func TestAfterKillTheModeDecidesAgain(t *testing.T) {
	w := newWorld(t, "mode: full\n", map[string]string{"a": plain, "b": plain})
	w.mustServe()
	w.until("all started", func() bool { return len(w.runtime.started()) == 2 })
	w.want(spec.VerbStop, "b", "")
	w.Kill("test")
	<-w.Ended()
	if w.runtime.pid("a") != 0 {
		t.Error("a lives after kill")
	}
	w.want(spec.VerbStart, "b", spec.Unavailable)
	w.leave()
	w.mustServe()
	w.until("a again", func() bool { return w.runtime.pid("a") != 0 })
	if w.runtime.pid("b") != 0 {
		t.Error("b was stopped by hand and runs")
	}
	w.Kill("test")
	<-w.Ended()
	w.leave()
	w.server = "mode: quiet\n"
	w.mustServe()
	if got := w.runtime.started(); len(got) != 3 {
		t.Errorf("quiet started something: %v", got)
	}
	w.leave()
	w.boot, w.server = "next", "mode: full\n"
	w.mustServe()
	w.until("both after a reboot", func() bool { return w.runtime.pid("a") != 0 && w.runtime.pid("b") != 0 })
}

func TestCrashLoopBacksOffAndAManualStartResetsIt(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": plain + "restart: {policy: always, backoff: {initial: 1h, max: 2h}}\n"})
	w.mustServe()
	w.want(spec.VerbStart, "web", "")
	w.runtime.exit("web", 1)
	w.until("back-off", func() bool { return w.phase("web") == spec.PhaseBackOff })
	w.want(spec.VerbStart, "web", "")
	w.runtime.exit("web", 1)
	w.until("back-off", func() bool { return w.phase("web") == spec.PhaseBackOff })
	w.want(spec.VerbStop, "web", "")
	if got := w.phase("web"); got != spec.PhaseStopped {
		t.Errorf("phase %s", got)
	}
}

func TestADroppedFileAppearsAndADeletedOneGoes(t *testing.T) {
	w := newWorld(t, "", nil)
	w.mustServe()
	changes := w.Watch(t.Context())
	if c := <-changes; c.Type != spec.Synced {
		t.Fatalf("got %+v", c)
	}
	w.write("web", plain)
	if c := <-changes; c.Type != spec.Present || c.View.Name != "web" {
		t.Fatalf("got %+v", c)
	}
	w.want(spec.VerbStart, "web", "")
	if err := os.Remove(filepath.Join(w.dir, "children", "web.yml")); err != nil {
		t.Fatal(err)
	}
	w.until("the file is missed", func() bool { v, _ := w.Get("web"); return v.FileError != "" })
	if w.runtime.pid("web") == 0 {
		t.Fatal("a deleted file ended its child")
	}
	w.want(spec.VerbStop, "web", "")
	for c := range changes {
		if c.Type == spec.Removed {
			break
		}
	}
	w.write("web", plain)
	w.want(spec.VerbStart, "web", "")
}

func TestManyCommandsAtOnceNeverMakeTwo(t *testing.T) {
	w := newWorld(t, "", map[string]string{"a": plain, "b": plain + "hooks:\n- prehook: trystart a\n"})
	w.mustServe()
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			verbs := []spec.Verb{spec.VerbStart, spec.VerbTrystart, spec.VerbStop, spec.VerbRestart}
			for j := range 25 {
				w.do(verbs[(i+j)%4], []string{"a", "b"}[(i*j)%2])
			}
		})
	}
	group.Wait()
	w.want(spec.VerbStop, spec.All, "")
	w.until("nothing alive", func() bool { return w.runtime.pid("a") == 0 && w.runtime.pid("b") == 0 })
	if w.runtime.doubles != 0 {
		t.Errorf("%d doubles", w.runtime.doubles)
	}
}

func TestQueueGivesANameToOneWorkerAtATime(t *testing.T) {
	q := newQueue()
	q.Add("a")
	q.Add("a")
	name, _ := q.Get()
	q.Add("a")
	q.Add("b")
	if other, _ := q.Get(); name != "a" || other != "b" {
		t.Fatalf("got %s, %s", name, other)
	}
	q.Done("a")
	if again, _ := q.Get(); again != "a" {
		t.Fatalf("got %s", again)
	}
	q.Done("a")
	q.AddAt("c", time.Now().Add(time.Hour))
	q.AddAt("c", time.Now().Add(-time.Second))
	q.AddAt("c", time.Now().Add(time.Hour))
	if early, _ := q.Get(); early != "c" {
		t.Fatalf("got %s", early)
	}
	q.Close()
	if _, ok := q.Get(); ok {
		t.Error("a closed queue gave a name")
	}
}
