package reconciler

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kita/spec"
)

// told is an event in a line, without what differs from run to run.
func told(e spec.Event) string {
	words := []string{string(e.Type)}
	add := func(format string, value any, is bool) {
		if is {
			words = append(words, fmt.Sprintf(format, value))
		}
	}
	add("%s", e.Verb, e.Verb != "")
	add("by %s", e.By, e.By != "")
	add("(%s)", e.Cause, e.Cause != "")
	add("gen %d", e.Generation, e.Generation != 0)
	add("#%d", e.Incarnation, e.Incarnation != 0)
	add("pid %d", e.PID, e.PID != 0)
	add("%v", e.Signal, e.Signal != 0)
	add("met %v", e.PIDs, e.PIDs != nil)
	if e.Exit != nil {
		words = append(words, e.Exit.String())
	}
	add("ran", 0, e.Ran != 0)
	add("success", 0, e.Success)
	add("asked", 0, e.Asked)
	add("attempt %d", e.Attempt, e.Attempt != 0)
	add("next", 0, e.Next != nil)
	add("%s", e.Hook, e.Hook != "")
	add("%s", e.Config, e.Config != "")
	add("down", 0, e.Down)
	add("%s", e.Server, e.Server != "")
	add("with its hash", 0, e.Hash != "")
	add("[%s]", e.Code, e.Code != "")
	add("%q", e.LastLines, e.LastLines != nil)
	add(": %s", e.Message, e.Message != "")
	return strings.ReplaceAll(strings.Join(words, " "), "%!(EXTRA int=0)", "")
}

func (w *world) wantTold(child string, want ...string) {
	w.t.Helper()
	var got []string
	for _, e := range w.past.of(child) {
		got = append(got, strings.ReplaceAll(told(e), w.dir, "DIR"))
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("of %q\n\t%s\nwant\n\t%s", child, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func TestWhatHappensIsTold(t *testing.T) {
	const (
		startWeb = "command start by test (command) gen 1"
		webRuns  = "started by test (command) gen 1 #1 pid 101 with its hash"
	)
	stopped := []string{
		"command stop by test (command) gen 2",
		"stopping by test (command) gen 2 #1 pid 101 SIGTERM next",
		"exited #1 pid 101 killed by SIGTERM ran asked",
	}
	tests := []struct {
		name   string
		server string
		files  map[string]string
		do     func(w *world)
		want   []string
	}{
		{"start and stop", "", map[string]string{"web": plain}, func(w *world) {
			w.do(spec.VerbStart, "web")
			w.do(spec.VerbStop, "web")
		}, append([]string{startWeb, webRuns}, stopped...)},
		{"for all", "", map[string]string{"web": plain}, func(w *world) {
			w.do(spec.VerbStart, spec.All)
			w.do(spec.VerbStop, spec.All)
		}, append([]string{startWeb, webRuns}, stopped...)},
		{"killed", "", map[string]string{"web": plain + "stop: {grace: 1ms}\n"}, func(w *world) {
			w.runtime.ignores["web"] = true
			w.do(spec.VerbStart, "web")
			w.do(spec.VerbStop, "web")
		}, []string{startWeb, webRuns, stopped[0], stopped[1], "killed #1 pid 101 SIGKILL met [101]", "exited #1 pid 101 killed by SIGKILL ran asked"}},
		{"ended well", "", map[string]string{"web": plain}, func(w *world) {
			w.do(spec.VerbStart, "web")
			w.runtime.exit("web", 0)
			w.until("exited", func() bool { return w.phase("web") == spec.PhaseExited })
		}, []string{startWeb, webRuns, "exited #1 pid 101 exit 0 ran success"}},
		{"back-off", "", map[string]string{"web": plain + "restart: {policy: always, backoff: {initial: 1h, max: 2h}}\n"}, func(w *world) {
			w.do(spec.VerbStart, "web")
			w.runtime.exit("web", 3)
			w.until("in back-off", func() bool { return w.phase("web") == spec.PhaseBackOff })
		}, []string{startWeb, webRuns, "exited #1 pid 101 exit 3 ran", "backoff attempt 1 next : exit 3"}},
		{"gave up", "", map[string]string{"web": plain + "restart: {policy: always, limit: {starts: 2, within: 1h}, backoff: {initial: 1ms, max: 1ms}}\n"}, func(w *world) {
			w.runtime.failures["web"] = os.ErrPermission
			w.do(spec.VerbStart, "web")
			w.until("failed", func() bool { return w.phase("web") == spec.PhaseFailed })
		}, []string{
			startWeb,
			"cannot-start gen 1 attempt 1 : permission denied", "backoff attempt 1 next : permission denied",
			"cannot-start gen 1 attempt 2 : permission denied", "gave-up attempt 2 : start limit reached, 2 starts within 1h0m0s: permission denied",
		}},
		{"last lines before the end", "", map[string]string{"web": plain}, func(w *world) {
			w.do(spec.VerbStart, "web")
			w.Wrote("web", spec.LastLines{Incarnation: 1, Lines: []string{"no", "luck"}})
			w.runtime.exit("web", 1)
			w.until("failed", func() bool { return w.phase("web") == spec.PhaseFailed })
		}, []string{startWeb, webRuns, `exited #1 pid 101 exit 1 ran ["no" "luck"]`}},
		{"last lines after the end", "", map[string]string{"web": plain}, func(w *world) {
			w.do(spec.VerbStart, "web")
			w.runtime.exit("web", 1)
			w.until("failed", func() bool { return w.phase("web") == spec.PhaseFailed })
			w.Wrote("web", spec.LastLines{Incarnation: 1, Lines: []string{"no", "luck"}})
			w.until("told", func() bool { return w.view("web").Status.LastLines != nil })
		}, []string{startWeb, webRuns, "exited #1 pid 101 exit 1 ran", `output #1 ["no" "luck"]`}},
		{"last lines of what was stopped", "", map[string]string{"web": plain}, func(w *world) {
			w.do(spec.VerbStart, "web")
			w.Wrote("web", spec.LastLines{Incarnation: 1, Lines: []string{"bye"}})
			w.do(spec.VerbStop, "web")
		}, append([]string{startWeb, webRuns}, stopped...)},
		{"prehook that fails", "", map[string]string{"web": plain + "hooks: [prehook: start db]\n", "db": plain}, func(w *world) {
			w.runtime.failures["db"] = os.ErrPermission
			w.do(spec.VerbStart, "web")
		}, []string{
			startWeb,
			`hook gen 1 prehook start db : prehook "start db": cannot start db: permission denied`,
			`cannot-start gen 1 attempt 1 : prehook "start db": cannot start db: permission denied`,
		}},
		{"prehook that is satisfied", "", map[string]string{"web": plain + "hooks: [prehook: start db]\n", "db": plain}, func(w *world) {
			w.do(spec.VerbStart, "db")
			w.do(spec.VerbStart, "web")
			w.wantTold("db", startWeb, webRuns)
		}, []string{startWeb, "hook gen 1 prehook start db", "started by test (command) gen 1 #1 pid 102 with its hash"}},
		{"started by a hook", "", map[string]string{"app": plain + "hooks: [prehook: start web]\n", "web": plain}, func(w *world) {
			w.do(spec.VerbStart, "app")
		}, []string{"command start by prehook of app (hook) gen 1", "started by prehook of app (hook) gen 1 #1 pid 101 with its hash"}},
		{"started by the mode", "mode: full\n", map[string]string{"web": plain}, func(*world) {},
			[]string{"command start by mode full (mode) gen 1", "started by mode full (mode) gen 1 #1 pid 101 with its hash"}},
		{"restarted by its policy", "", map[string]string{"web": plain + "restart: {policy: always, backoff: {initial: 1s, max: 1s}}\n"}, func(w *world) {
			// Long enough that a busy machine sees the back-off, too.
			w.do(spec.VerbStart, "web")
			w.runtime.exit("web", 1)
			w.until("again", func() bool { return w.view("web").Status.Starts == 2 })
		}, []string{startWeb, webRuns, "exited #1 pid 101 exit 1 ran", "backoff attempt 1 next : exit 1", "started (policy) #2 pid 102 with its hash"}},
		{"refused, again and again", "", map[string]string{"web": plain}, func(w *world) {
			w.do(spec.VerbStart, "web")
			for range 5 {
				w.do(spec.VerbStart, "web")
			}
			w.do(spec.VerbStop, "web")
			w.do(spec.VerbStop, "web")
		}, append(append([]string{startWeb, webRuns, "refused start by test (command) [already-running] : web is already running"}, stopped...),
			"refused stop by test (command) [not-running] : web is not running")},
		{"its file", "", map[string]string{"web": plain}, func(w *world) {
			w.write("web", "command: [\n")
			w.Refresh()
			w.Refresh()
			w.do(spec.VerbStart, "web")
			w.write("web", plain)
			w.Refresh()
			w.write("web", plain+"env: {A: b}\n")
			w.Refresh()
			if err := os.Remove(filepath.Join(w.dir, "children", "web.yml")); err != nil {
				w.t.Fatal(err)
			}
			w.Refresh()
			w.until("forgotten", func() bool { _, known := w.Get("web"); return !known })
			w.write("web", plain)
			w.Refresh()
		}, nil},
		{"the server ends", "", map[string]string{"web": plain}, func(w *world) {
			w.do(spec.VerbStart, "web")
			w.Kill("test")
			<-w.Ended()
			w.wantTold("", "server by test ends : ends, all children are stopped first")
		}, []string{startWeb, webRuns, "stopping #1 pid 101 SIGTERM next : the server stops all children", "exited #1 pid 101 killed by SIGTERM ran asked"}},
		{"adopted", "", map[string]string{"web": plain}, func(w *world) {
			w.do(spec.VerbStart, "web")
			w.leave()
			w.mustServe()
		}, []string{startWeb, webRuns, "adopted #1 pid 101"}},
		{"ended while no server lived", "", map[string]string{"web": plain + "restart: {policy: always, backoff: {initial: 1h, max: 2h}}\n"}, func(w *world) {
			w.do(spec.VerbStart, "web")
			w.endWhileAway("web", 7)
			w.leave()
			w.mustServe()
		}, []string{startWeb, webRuns, "exited #1 pid 101 exit 7 ran", "backoff attempt 1 next : exit 7"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.server, tt.files)
			w.mustServe()
			tt.do(w)
			if tt.want != nil {
				w.wantTold("web", tt.want...)
				return
			}
			w.wantFiles()
		})
	}
}

// endWhileAway ends a child's process with a record and without a server, and begins
// the next one.
func (w *world) endWhileAway(child string, code int) {
	w.t.Helper()
	l := w.launchOf(child)
	w.leave()
	delete(w.runtime.live, child)
	w.runtime.ended = []spec.Found{{Launch: l, Exit: &spec.Exit{Known: true, Code: code, At: time.Now()}}}
	w.mustServe()
}

// wantFiles looks at what the test of files did.
func (w *world) wantFiles() {
	w.t.Helper()
	var got []string
	for _, e := range w.past.of("web") {
		got = append(got, strings.TrimSpace(fmt.Sprint(e.Type, " ", e.Config, " ", e.Code)))
		isGood := e.Config == spec.ConfigNew || e.Config == spec.ConfigChanged || e.Config == spec.ConfigMended
		if (e.Hash != "") != isGood || (e.Message != "") != (e.Code != "" || e.Config == spec.ConfigBroken) {
			w.t.Errorf("%+v", e)
		}
	}
	want := []string{"config broken", "refused  invalid-file", "config mended", "config changed", "config gone", "forgotten", "config new"}
	if !slices.Equal(got, want) {
		w.t.Errorf("got %q, want %q", got, want)
	}
}

// Whoever asks for what is refused, in whatever way, does not push out the rest.
func TestRefusalsDoNotFloodTheHistory(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": plain})
	w.mustServe()
	w.do(spec.VerbStart, "web")
	for i := range 100 {
		_, _ = w.Do(t.Context(), spec.Command{Verb: spec.VerbStart, Child: "web", By: fmt.Sprint("key-", i)})
		_, _ = w.Do(t.Context(), spec.Command{Verb: spec.VerbStart, Child: fmt.Sprint("nobody-", i), By: "test"})
	}
	if n := len(w.past.events); n != 2+maxRefusals {
		t.Errorf("%d events: %v", n, w.past.events)
	}
}

// A change that could not be saved is told with its refusal.
func TestACommandThatCouldNotBeSavedIsTold(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": plain})
	w.mustServe()
	_ = w.store.Close()
	w.do(spec.VerbStart, "web")
	got := w.past.of("web")
	if len(got) != 2 || got[0].Type != spec.EventCommand || got[1].Type != spec.EventRefused || got[1].Code != spec.Unavailable || !strings.Contains(got[1].Message, "cannot save it") {
		t.Errorf("told %+v", got)
	}
}
