package reconciler

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// endsWith waits for the end of the server and returns what it exits with.
func (w *world) endsWith() int {
	w.t.Helper()
	select {
	case <-w.Ended():
	case <-time.After(60 * time.Second):
		w.t.Fatalf("the server never ended; children: %+v", w.List())
	}
	return w.ExitStatus()
}

// goesOn asserts that the end of the server has not begun.
func (w *world) goesOn() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ending {
		w.t.Error("the server is ending")
	}
}

// exitAs ends a child by itself in any way.
func (f *fakeRuntime) exitAs(child string, exit spec.Exit) {
	f.mu.Lock()
	id := f.live[child]
	delete(f.live, child)
	f.mu.Unlock()
	exit.At = time.Now()
	f.sink.Exited(child, id.Incarnation, exit, true)
}

func TestExitWithEndsTheServerWithTheStatusOfItsChild(t *testing.T) {
	tests := []struct {
		name, file string
		exit       spec.Exit
		want       int
	}{
		{"code", "", spec.Exit{Known: true, Code: 3}, 3},
		{"success", "", spec.Exit{Known: true}, 0},
		{"signal", "", spec.Exit{Known: true, Signal: spec.Signal(unix.SIGKILL)}, 128 + 9},
		{"unknown", "", spec.Exit{}, 1},
		{"success that its policy leaves alone", "restart: on-failure\n", spec.Exit{Known: true}, 0},
		{"start limit", "restart: {policy: always, limit: {starts: 1, within: 1h}}\n", spec.Exit{Known: true, Code: 4}, 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, "mode: full\nexit_with: web\n", map[string]string{"web": plain + tt.file, "db": plain,
				"deaf": plain + "stop: {grace: 1ms}\n"})
			w.runtime.ignores["deaf"] = true
			w.mustServe()
			w.runtime.exitAs("web", tt.exit)
			if got := w.endsWith(); got != tt.want {
				t.Errorf("exit status %d, want %d", got, tt.want)
			}
			if w.runtime.pid("db") != 0 || w.runtime.pid("deaf") != 0 {
				t.Error("a child is left")
			}
		})
	}
}

func TestExitWithAChildThatCannotBeLaunched(t *testing.T) {
	w := newWorld(t, "mode: full\nexit_with: web\n", map[string]string{"web": plain, "db": plain})
	w.runtime.failures["web"] = unix.ENOENT
	if err := w.serve(); err != nil {
		t.Fatal(err)
	}
	if got := w.endsWith(); got != 127 {
		t.Errorf("exit status %d, want 127", got)
	}
}

func TestExitWithWaitsForTheRestartPolicy(t *testing.T) {
	w := newWorld(t, "exit_with: web\n", map[string]string{
		"web": plain + "restart: {policy: on-failure, backoff: {initial: 1h, max: 1h}}\n"})
	w.mustServe()
	w.want(spec.VerbStart, "web", "")
	w.runtime.exit("web", 1)
	w.until("back-off", func() bool { return w.phase("web") == spec.PhaseBackOff })
	w.goesOn()
	w.want(spec.VerbRestart, "web", "")
	w.runtime.exit("web", 0)
	if got := w.endsWith(); got != 0 {
		t.Errorf("exit status %d, want 0", got)
	}
}

func TestExitWithIsNotForAChildThatWasToldToStop(t *testing.T) {
	w := newWorld(t, "exit_with: web\n", map[string]string{"web": plain, "db": plain})
	w.mustServe()
	w.want(spec.VerbStart, "db", "")
	w.want(spec.VerbStart, "web", "")
	w.want(spec.VerbRestart, "web", "")
	w.goesOn()
	w.want(spec.VerbStop, "web", "")
	w.goesOn()
	w.want(spec.VerbStart, "web", "")
	w.want(spec.VerbStop, spec.All, "")
	w.goesOn()
	w.want(spec.VerbStart, "db", "")
	w.runtime.exit("db", 5)
	w.until("db failed", func() bool { return w.phase("db") == spec.PhaseFailed })
	w.goesOn()
}

func TestExitWithWaitsForThePendingRepeat(t *testing.T) {
	w := newWorld(t, "exit_with: job\n", map[string]string{"job": plain + "repeat: {seconds: 1000}\n"})
	w.mustServe()
	w.want(spec.VerbStart, "job", "")
	w.runtime.exit("job", 0)
	w.until("exited", func() bool { return w.phase("job") == spec.PhaseExited })
	w.goesOn()
}

func TestExitWithAChildWhoseFileIsGone(t *testing.T) {
	w := newWorld(t, "exit_with: web\n", map[string]string{"web": plain + "restart: always\n"})
	w.mustServe()
	w.want(spec.VerbStart, "web", "")
	if err := os.Remove(filepath.Join(w.dir, "children", "web.yml")); err != nil {
		t.Fatal(err)
	}
	w.Refresh()
	w.runtime.exit("web", 6)
	if got := w.endsWith(); got != 6 {
		t.Errorf("exit status %d, want 6", got)
	}
}

func TestExitWithAChildThatEndedWhileNoServerRan(t *testing.T) {
	w := newWorld(t, "exit_with: web\n", map[string]string{"web": plain, "db": plain})
	w.mustServe()
	w.want(spec.VerbStart, "web", "")
	w.want(spec.VerbStart, "db", "")
	w.leave()
	w.runtime.mu.Lock()
	delete(w.runtime.live, "web")
	w.runtime.mu.Unlock()
	if err := w.serve(); err != nil {
		t.Fatal(err)
	}
	if got := w.endsWith(); got != 1 {
		t.Errorf("exit status %d, want 1: nobody knows it", got)
	}
	if w.runtime.pid("db") != 0 {
		t.Error("db is left")
	}
}

func TestAfterExitWithTheModeDecidesAgain(t *testing.T) {
	w := newWorld(t, "mode: half\nstartup: [web]\nexit_with: web\n", map[string]string{"web": plain, "db": plain})
	w.mustServe()
	w.want(spec.VerbStart, "db", "")
	w.runtime.exit("web", 3)
	w.endsWith()
	w.leave()
	w.mustServe()
	w.goesOn()
	if w.runtime.pid("web") == 0 || w.runtime.pid("db") != 0 {
		t.Errorf("web has PID %d, db %d", w.runtime.pid("web"), w.runtime.pid("db"))
	}
}

func TestKillExitsWithZero(t *testing.T) {
	w := newWorld(t, "mode: full\nexit_with: web\n", map[string]string{"web": plain})
	w.mustServe()
	w.Kill("test")
	if got := w.endsWith(); got != 0 {
		t.Errorf("exit status %d, want 0", got)
	}
}

func TestInfoTellsThatTheChildOfExitWithHasNoFile(t *testing.T) {
	w := newWorld(t, "exit_with: web\n", map[string]string{"db": plain})
	w.mustServe()
	tells := func() bool {
		return slices.ContainsFunc(w.Info().Problems, func(p string) bool { return strings.Contains(p, "exit_with: no file web.yml") })
	}
	if !tells() {
		t.Errorf("problems are %q", w.Info().Problems)
	}
	w.write("web", plain)
	w.Refresh()
	if tells() {
		t.Errorf("still: %q", w.Info().Problems)
	}
}

// freeze makes a child one that no signal reaches, or undoes that: then it ends
// as by a signal that has been waiting for it.
func (f *fakeRuntime) freeze(child string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.frozen[child] = true
}

func (f *fakeRuntime) thaw(child string) {
	f.mu.Lock()
	f.frozen[child] = false
	f.mu.Unlock()
	f.exitAs(child, spec.Exit{Known: true, Signal: spec.Signal(unix.SIGKILL)})
}

func TestAChildThatCannotBeStoppedIsToldAndLeftToTheNextServer(t *testing.T) {
	for _, mode := range []string{"quiet", "full"} {
		t.Run("mode "+mode, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "mode: "+mode+"\n", map[string]string{
				"stuck": plain + "stop: {grace: 1ms}\nrestart: always\n", "web": plain})
			w.mustServe()
			w.want(spec.VerbTrystart, "stuck", "")
			pid := w.runtime.pid("stuck")
			w.runtime.freeze("stuck")
			w.Kill("test")
			if got := w.endsWith(); got != 1 {
				t.Errorf("exit status %d, want 1", got)
			}
			if got := w.Unstopped(); !slices.Equal(got, []string{"stuck"}) {
				t.Errorf("not stopped: %q", got)
			}
			if w.runtime.pid("web") != 0 || w.runtime.pid("stuck") != pid {
				t.Errorf("web has PID %d, stuck %d", w.runtime.pid("web"), w.runtime.pid("stuck"))
			}
			w.leave()
			w.mustServe()
			v, _ := w.Get("stuck")
			if p := v.Status.Process; v.Status.Phase != spec.PhaseStopping || p == nil || p.PID != pid || !p.Adopted {
				t.Errorf("the next server has %s, %+v", v.Status.Phase, p)
			}
			w.runtime.thaw("stuck")
			if mode == "full" {
				w.until("another run", func() bool { next := w.runtime.pid("stuck"); return next != 0 && next != pid })
			} else {
				w.until("stopped", func() bool { return w.phase("stuck") == spec.PhaseStopped })
			}
			if w.runtime.doubles > 0 {
				t.Error("a second one was started beside it")
			}
			w.Kill("test")
			if got := w.endsWith(); got != 0 || len(w.Unstopped()) > 0 {
				t.Errorf("exit status %d, not stopped: %q", got, w.Unstopped())
			}
		})
	}
}

func TestWhatMayBeLeftOfAChildIsToldAtTheEnd(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": plain, "db": plain})
	w.mustServe()
	w.want(spec.VerbStart, "web", "")
	w.want(spec.VerbStart, "db", "")
	w.Strayed("web", 1, []int{77}, false)
	// Of these nothing says more than that they are orphans.
	w.Strayed("db", 1, []int{78}, true)
	w.Kill("test")
	if got := w.endsWith(); got != 1 {
		t.Errorf("exit status %d, want 1", got)
	}
	if got := w.Unstopped(); !slices.Equal(got, []string{"web"}) {
		t.Errorf("not stopped: %q", got)
	}
}

func TestTheStatusOfExitWithComesBeforeThatOfAChildThatIsLeft(t *testing.T) {
	for code, want := range map[int]int{0: 1, 5: 5} {
		w := newWorld(t, "mode: full\nexit_with: web\n", map[string]string{"web": plain, "stuck": plain + "stop: {grace: 0s}\n"})
		w.mustServe()
		w.runtime.freeze("stuck")
		w.runtime.exit("web", code)
		if got := w.endsWith(); got != want {
			t.Errorf("web ended with %d: exit status %d, want %d", code, got, want)
		}
		w.leave()
	}
}

func TestAWatchHasTheEndOfEachChildBeforeItEndsWithThem(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": plain, "db": plain})
	w.mustServe()
	w.want(spec.VerbStart, "web", "")
	w.want(spec.VerbStart, "db", "")
	changes := w.Watch(t.Context())
	w.Kill("test")
	<-w.Ended()
	last := map[string]spec.Phase{}
	for c := range changes {
		last[c.View.Name] = c.View.Status.Phase
	}
	for _, name := range []string{"web", "db"} {
		if last[name] != w.phase(name) || last[name] != spec.PhaseStopped {
			t.Errorf("%s: the watch ended with %s, it is %s", name, last[name], w.phase(name))
		}
	}
}
