package reconciler

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kita/reconciler/plan"
	"kita/reconciler/store"
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

// background carries out a command; its answer comes from the channel.
func (w *world) background(verb spec.Verb, child string) <-chan error {
	answer := make(chan error, 1)
	r, ctx := w.Reconciler, w.t.Context()
	go func() {
		_, err := r.Do(ctx, spec.Command{Verb: verb, Child: child, By: "test"})
		answer <- err
	}()
	return answer
}

func (w *world) deaf(child string) {
	w.runtime.mu.Lock()
	defer w.runtime.mu.Unlock()
	w.runtime.ignores[child] = true
}

func TestARestartThatKillCutShortIsNoSuccess(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": plain + "stop: {grace: 1h}\n"})
	w.mustServe()
	w.deaf("web")
	w.want(spec.VerbStart, "web", "")
	restart := w.background(spec.VerbRestart, "web")
	w.until("stopping", func() bool { return w.phase("web") == spec.PhaseStopping })
	w.Kill("test")
	w.runtime.exit("web", 0)
	<-w.Ended()
	var refusal *spec.Refusal
	if err := <-restart; !errors.As(err, &refusal) || refusal.Code != spec.Unavailable {
		t.Errorf("restart: %v", err)
	}
}

func TestAFailureIsToldToAllWhoWaitForTheSameStart(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": plain + "stop: {grace: 1h}\n"})
	w.mustServe()
	w.deaf("web")
	w.want(spec.VerbStart, "web", "")
	first := w.background(spec.VerbRestart, "web")
	w.until("stopping", func() bool { return w.phase("web") == spec.PhaseStopping })
	second := w.background(spec.VerbTrystart, "web")
	w.until("both", func() bool { v, _ := w.Get("web"); return v.Desired.Generation == 3 })
	w.runtime.mu.Lock()
	w.runtime.failures["web"] = errors.New("no such file")
	w.runtime.mu.Unlock()
	w.runtime.exit("web", 0)
	for _, answer := range []<-chan error{second, first} {
		var refusal *spec.Refusal
		if err := <-answer; !errors.As(err, &refusal) || refusal.Code != spec.CannotStart {
			t.Errorf("got %v", err)
		}
	}
}

func TestAHookCutShortByStopIsNoFailure(t *testing.T) {
	w := newWorld(t, "", map[string]string{
		"web": plain + "hooks:\n- prehook: stop deaf\n", "deaf": plain + "stop: {grace: 1h}\n"})
	w.mustServe()
	w.deaf("deaf")
	w.want(spec.VerbStart, "deaf", "")
	if _, err := w.Do(t.Context(), spec.Command{Verb: spec.VerbStart, Child: "web", NoWait: true}); err != nil {
		t.Fatal(err)
	}
	w.until("the prehook", func() bool { return w.phase("deaf") == spec.PhaseStopping })
	w.cancel() // what Stop does before it closes the queue
	w.Reconciler.Stop()
	e := w.children["web"]
	if e.mailbox != nil || e.obs.Failure != nil {
		t.Errorf("web: %v, %v", e.mailbox, e.obs.Failure)
	}
	w.leave()
	w.mustServe()
	w.runtime.exit("deaf", 0)
	w.until("the start that was asked for", func() bool { return w.runtime.pid("web") != 0 })
}

func TestAnOlderLookAtAFileDoesNotReplaceANewerOne(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": plain})
	w.mustServe()
	older := w.Catalogue.Lookup("web")
	w.write("web", "command: sleep 2000\n")
	w.Refresh()
	w.apply(older)
	v, _ := w.Get("web")
	if newest, _ := w.Catalogue.Child("web"); v.Spec.Hash != newest.Hash {
		t.Errorf("in force: %v", v.Spec.Command)
	}
}

func TestALostJournalEndsNoLiveChild(t *testing.T) {
	w := newWorld(t, "mode: full\n", map[string]string{"web": plain})
	w.mustServe()
	w.until("started", func() bool { return w.phase("web") != spec.PhaseStopped && w.runtime.pid("web") != 0 })
	pid := w.runtime.pid("web")
	w.leave()
	if err := os.RemoveAll(filepath.Join(w.dir, "state")); err != nil {
		t.Fatal(err)
	}
	w.mustServe()
	w.until("settled", func() bool { v, _ := w.Get("web"); return v.Status.ObservedGeneration == v.Desired.Generation })
	if v, _ := w.Get("web"); v.Status.Process == nil || v.Status.Process.PID != pid || v.Desired.Run != spec.Running {
		t.Errorf("PID was %d, web is %+v, %+v", pid, v.Desired, v.Status)
	}
	w.want(spec.VerbStop, "web", "")
}

func TestAnOldJournalEndsNoLiveChild(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": plain})
	w.mustServe()
	w.want(spec.VerbStart, "web", "")
	w.want(spec.VerbStop, "web", "")
	w.leave()
	state, old := filepath.Join(w.dir, "state"), filepath.Join(w.dir, "old")
	if err := os.CopyFS(old, os.DirFS(state)); err != nil {
		t.Fatal(err)
	}
	w.mustServe()
	w.want(spec.VerbStart, "web", "")
	pid := w.runtime.pid("web")
	w.leave()
	if err := errors.Join(os.RemoveAll(state), os.Rename(old, state), os.Chmod(state, 0o700)); err != nil {
		t.Fatal(err)
	}
	w.mustServe()
	w.until("settled", func() bool { v, _ := w.Get("web"); return v.Status.ObservedGeneration == v.Desired.Generation })
	if v, _ := w.Get("web"); v.Status.Process == nil || v.Status.Process.PID != pid || v.Desired.Run != spec.Running {
		t.Errorf("PID was %d, web is %+v, %+v", pid, v.Desired, v.Status)
	}
}

func TestAFullDiskKeepsNoServerFromItsChildren(t *testing.T) {
	w := newWorld(t, "mode: full\n", nil)
	w.mustServe()
	settings := w.Settings
	w.leave()
	w.write("web", plain)
	full, err := store.Open(store.Options{StateDir: filepath.Join(w.dir, "state"), RunDir: filepath.Join(w.dir, "run"), BootID: w.boot})
	if err == nil {
		err = full.Close() // from here on it saves no desired state
	}
	if err != nil {
		t.Fatal(err)
	}
	w.store = full
	w.Reconciler = New(Options{Settings: settings, Catalogue: spec.NewCatalogue(), Store: full,
		Observer: quietObserver{}, Logger: slog.New(slog.DiscardHandler)})
	w.runtime.sink = w.Reconciler
	if err := w.Reconciler.Start(w.runtime); err != nil {
		t.Fatal(err)
	}
	w.until("started", func() bool { return w.runtime.pid("web") != 0 })
	w.want(spec.VerbTrystart, "web", spec.Unavailable)
	w.want(spec.VerbStop, "web", "")
}

func TestAChildOfALoadPathThatIsAwayIsNotForgotten(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": plain, "old": plain})
	w.mustServe()
	w.want(spec.VerbStart, "web", "")
	w.want(spec.VerbStop, "web", "")
	children, away := filepath.Join(w.dir, "children"), filepath.Join(w.dir, "away")
	if err := os.Rename(children, away); err != nil {
		t.Fatal(err)
	}
	w.Refresh()
	w.leave()
	w.mustServe() // as after a reboot of its file server
	w.until("the first passes", func() bool {
		w.queue.mu.Lock()
		defer w.queue.mu.Unlock()
		return len(w.queue.order) == 0 && len(w.queue.inWork) == 0
	})
	if err := errors.Join(os.Remove(filepath.Join(away, "old.yml")), os.Rename(away, children)); err != nil {
		t.Fatal(err)
	}
	w.Refresh()
	w.until("old gone", func() bool { _, ok := w.Get("old"); return !ok })
	if v, ok := w.Get("web"); !ok || v.Desired.Run != spec.Stopped {
		t.Errorf("web was stopped by hand and is %+v", v.Desired)
	}
	if err := os.Rename(children, away); err != nil {
		t.Fatal(err)
	}
	w.Refresh()
	w.Kill("test")
	<-w.Ended()
}

func TestARunThatEndsJustBeforeItsRepeatIsRepeated(t *testing.T) {
	w := newWorld(t, "", map[string]string{"job": plain + "repeat: {seconds: 1000}\n"})
	w.mustServe()
	w.want(spec.VerbStart, "job", "")
	v, _ := w.Get("job")
	// The pass that decides on the repeat still sees it alive.
	w.runtime.exit("job", 0)
	w.until("exited", func() bool { return w.phase("job") == spec.PhaseExited })
	w.trigger("job", v.Status.Process.Incarnation, plan.Repeat{Action: spec.VerbRestart, Every: spec.Duration(time.Hour)})
	w.until("the next run", func() bool { return len(w.runtime.started()) == 2 })
}

func TestFactsThatCouldNotBeSavedAreSavedLater(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": plain})
	w.mustServe()
	facts, elsewhere := filepath.Join(w.dir, "run", "children"), filepath.Join(w.dir, "elsewhere")
	if err := errors.Join(os.Rename(facts, elsewhere), os.WriteFile(facts, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	w.want(spec.VerbStart, "web", "")
	pid := w.runtime.pid("web")
	w.until("running", func() bool { return w.phase("web") == spec.PhaseRunning })
	if err := errors.Join(os.Remove(facts), os.Rename(elsewhere, facts)); err != nil {
		t.Fatal(err)
	}
	w.until("saved", func() bool { found, _ := w.Store.Facts(); return len(found) == 1 })
	w.leave()
	w.mustServe()
	if got := w.runtime.started(); len(got) != 1 || w.runtime.pid("web") != pid {
		t.Errorf("started %v", got)
	}
}

func TestWithoutAWatchTheLoadPathsAreStillListed(t *testing.T) {
	w := newWorld(t, "", nil)
	w.mustServe()
	w.leave()
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	r := New(Options{Settings: NewSettings(spec.DefaultServer()), Catalogue: spec.NewCatalogue(), Store: w.store,
		Observer: quietObserver{}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	none := before
	none.Cur = 3 // no descriptor is free, so there is no inotify
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	r.watchSources()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	r.Stop() // waits for the loop that lists them
	if !strings.Contains(log.String(), "they are listed every 30 s instead") {
		t.Errorf("nobody is told: %s", &log)
	}
}
