package reconciler

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"kita/reconciler/plan"
	"kita/reconciler/store"
	"kita/spec"
)

// forever is a child that is started again whatever happens, soon.
const forever = plain + "restart: {policy: always, backoff: {initial: 1ms, max: 2ms}}\n"

// launchOf is what the live process of a child is.
func (w *world) launchOf(child string) spec.Launch {
	w.runtime.mu.Lock()
	defer w.runtime.mu.Unlock()
	return spec.Launch{Identity: w.runtime.live[child]}
}

func (w *world) view(child string) spec.View {
	w.t.Helper()
	v, ok := w.Get(child)
	if !ok {
		w.t.Fatalf("%s is not known", child)
	}
	return v
}

func TestTheEndOfARunIsReadFromTheRecords(t *testing.T) {
	tests := []struct {
		name   string
		record func(l spec.Launch) []spec.Found
		want   string
	}{
		{"by its PID alone", func(l spec.Launch) []spec.Found {
			l.Identity.Incarnation, l.Identity.Inode = 0, 0
			return []spec.Found{{Launch: l, Exit: &spec.Exit{Known: true, Code: 7, At: time.Now()}}}
		}, "exit 7"},
		{"of another process with its PID", func(l spec.Launch) []spec.Found {
			l.Identity.StartTicks += 5
			return []spec.Found{{Launch: l, Exit: &spec.Exit{Known: true, Code: 7, At: time.Now()}}}
		}, "exit status unknown"},
		{"no record", func(spec.Launch) []spec.Found { return nil }, "exit status unknown"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, "", map[string]string{"web": plain})
			w.mustServe()
			w.do(spec.VerbStart, "web")
			l := w.launchOf("web")
			w.leave()
			delete(w.runtime.live, "web")
			w.runtime.ended = tt.record(l)
			w.mustServe()
			v := w.view("web")
			if v.Status.Alive() || v.Status.LastExit == nil || v.Status.LastExit.String() != tt.want || v.Status.LastExit.Incarnation != 1 {
				t.Errorf("status is %+v", v.Status)
			}
			if len(v.Status.History) != 1 || v.Status.Starts != 1 || !w.runtime.tidied {
				t.Errorf("history %v, starts %d, tidied %v", v.Status.History, v.Status.Starts, w.runtime.tidied)
			}
		})
	}
}

func TestARunThatWasNotWrittenDownIsTakenUp(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": forever})
	w.mustServe()
	w.do(spec.VerbStart, "web")
	first := w.launchOf("web")
	w.leave()
	// The next run began and its server died before it saved that.
	second := spec.Identity{PID: 900, StartTicks: 50, BootID: "boot", Incarnation: 2}
	w.runtime.live["web"] = second
	w.runtime.ended = []spec.Found{
		{Launch: first, Exit: &spec.Exit{Known: true, Code: 3, At: time.Now()}},
		// An old life of the name, forgotten since, and one that nobody knows.
		{Child: "gone", Launch: spec.Launch{Identity: spec.Identity{PID: 4, StartTicks: 1, BootID: "boot", Incarnation: 9}},
			Exit: &spec.Exit{Known: true}},
	}
	w.runtime.found = []spec.Found{{Child: "web", Launch: spec.Launch{Identity: second}, StartedAt: time.Now().Add(-time.Minute)}}
	w.mustServe()
	v := w.view("web")
	if v.Status.Process == nil || v.Status.Process.PID != 900 || v.Status.Process.Incarnation != 2 || !v.Status.Process.Adopted {
		t.Fatalf("status is %+v", v.Status)
	}
	if got := v.Status.History; len(got) != 1 || got[0].Code != 3 || got[0].Incarnation != 1 || v.Status.Starts != 2 {
		t.Errorf("history %v, starts %d", got, v.Status.Starts)
	}
	if _, known := w.Get("gone"); known {
		t.Error("a forgotten child came back")
	}
	if n := len(w.runtime.started()); n != 1 {
		t.Errorf("%d starts, want none but the first", n)
	}
}

func TestARunThatWasNotWrittenDownAndHasEndedIsTakenUp(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": plain})
	w.mustServe()
	w.runtime.failures["web"] = errors.New("the server died here")
	w.do(spec.VerbStart, "web")
	w.leave()
	// The server forked, and neither failed nor saved it.
	delete(w.runtime.failures, "web")
	if err := os.RemoveAll(filepath.Join(w.dir, "run", "children")); err != nil {
		t.Fatal(err)
	}
	w.runtime.ended = []spec.Found{{Child: "web", StartedAt: time.Now(),
		Launch: spec.Launch{Identity: spec.Identity{PID: 900, StartTicks: 50, BootID: "boot", Incarnation: 1}},
		Exit:   &spec.Exit{Incarnation: 1, Known: true, Code: 5, At: time.Now()}}}
	w.mustServe()
	v := w.view("web")
	if v.Status.Alive() || v.Status.LastExit == nil || v.Status.LastExit.Code != 5 || v.Status.Starts != 1 {
		t.Errorf("status is %+v", v.Status)
	}
	// Once is enough: the record may be there for the next server too.
	w.leave()
	w.mustServe()
	if v := w.view("web"); v.Status.Starts != 1 || len(v.Status.History) != 1 {
		t.Errorf("status is %+v", v.Status)
	}
}

// Found by a review: stop, delete the file, write it again, restart the server.
func TestAnEndOfAFormerChildOfTheNameStartsNothing(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": forever})
	w.mustServe()
	w.leave()
	w.runtime.ended = []spec.Found{{Child: "web", StartedAt: time.Now(),
		Launch: spec.Launch{Identity: spec.Identity{PID: 900, StartTicks: 50, BootID: "boot", Incarnation: 1}},
		Exit:   &spec.Exit{Incarnation: 1, Known: true, Code: 5, At: time.Now()}}}
	w.mustServe()
	v := w.view("web")
	if v.Desired.Run != "" || v.Status.Starts != 0 || v.Status.LastExit != nil || len(w.runtime.started()) != 0 {
		t.Errorf("%+v", v)
	}
}

func TestTheRestOfAnOldRunIsKilled(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": plain})
	w.mustServe()
	w.do(spec.VerbStart, "web")
	l := w.launchOf("web")
	w.do(spec.VerbStop, "web")
	w.leave()
	// It bears the tokens of the run that was stopped.
	w.runtime.live["web"], w.runtime.rest = l.Identity, map[string]bool{"web": true}
	w.runtime.found = []spec.Found{{Child: "web", Launch: l}}
	// The end of its leader is on record, and hides nothing of what lives.
	leader := l
	leader.Identity.PID, leader.Identity.StartTicks = 1, 0
	w.runtime.ended = []spec.Found{{Child: "web", Launch: leader, Exit: &spec.Exit{Known: true}}}
	w.mustServe()
	if pid := w.runtime.pid("web"); pid != 0 {
		t.Errorf("PID %d of a stopped run is alive", pid)
	}
}

func TestTheLeaderOfAnOldRunIsKilled(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": plain})
	w.mustServe()
	w.do(spec.VerbStart, "web")
	l := w.launchOf("web")
	w.do(spec.VerbStop, "web")
	w.leave()
	w.runtime.live["web"] = l.Identity
	w.runtime.found = []spec.Found{{Child: "web", Launch: l}}
	w.mustServe()
	if pid := w.runtime.pid("web"); pid != 0 {
		t.Errorf("PID %d of a stopped run is alive", pid)
	}
	if v := w.view("web"); v.Status.Starts != 1 || len(v.Status.History) != 1 {
		t.Errorf("status is %+v", v.Status)
	}
}

func TestAProcessThatCannotBeAdoptedNowIsNotStartedTwice(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": forever})
	w.mustServe()
	w.do(spec.VerbStart, "web")
	l := w.launchOf("web")
	w.leave()
	w.runtime.refused, w.runtime.adoptions = 2, 0
	// The runtime finds what is not adopted; that must not end it.
	w.runtime.found = []spec.Found{{Child: "web", Launch: l}}
	w.mustServe()
	w.until("adopted", func() bool {
		s := w.view("web").Status
		return s.Process != nil && s.Process.Adopted
	})
	if got := w.launchOf("web"); got.Identity != l.Identity || len(w.runtime.started()) != 1 {
		t.Errorf("it was %v and is %v, %d starts", l, got, len(w.runtime.started()))
	}
	if w.runtime.adoptions != 3 {
		t.Errorf("%d attempts, want 3", w.runtime.adoptions)
	}
}

func TestWarningsOfALaunchAreShownAndKept(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": plain})
	w.runtime.warnings = []string{"limits.memory is not in force"}
	w.mustServe()
	w.do(spec.VerbStart, "web")
	w.leave()
	w.mustServe()
	if got := w.view("web").Status.Warnings; len(got) != 1 || got[0] != w.runtime.warnings[0] {
		t.Errorf("warnings are %q", got)
	}
}

func TestIsNews(t *testing.T) {
	e := &entry{obs: plan.Observed{Incarnation: 4, StartTicks: 100}}
	at := func(incarnation, ticks uint64) spec.Found {
		return spec.Found{Launch: spec.Launch{Identity: spec.Identity{Incarnation: incarnation, StartTicks: ticks}}}
	}
	if !isNews(at(5, 100), e) || isNews(at(4, 200), e) || isNews(at(9, 99), e) {
		t.Error("a later run is news, the same one and an older life of the name are not")
	}
	end := at(1, 50)
	end.Exit, end.StartedAt = &spec.Exit{Known: true}, time.Now()
	fresh := &entry{}
	if isNews(end, fresh) || !isNews(at(1, 50), fresh) {
		t.Error("of a child of which nothing is known a process is news, an end is not")
	}
	fresh.desired = spec.Desired{Run: spec.Running, RestartGeneration: 1, At: end.StartedAt}
	if !isNews(end, fresh) {
		t.Error("the end of a start that was asked for is news")
	}
	fresh.desired.At = end.StartedAt.Add(time.Second)
	if isNews(end, fresh) {
		t.Error("an end from before the start was asked for is of a former child")
	}
	e.obs.Process = &plan.Process{}
	if isNews(at(5, 200), e) {
		t.Error("a child has one process")
	}
}

func TestTheFirstAnswerOfANewServerShowsWhatItRecalled(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": plain, "job": plain})
	w.mustServe()
	w.do(spec.VerbStart, "web")
	w.do(spec.VerbStart, "job")
	w.runtime.exit("job", 4)
	w.until("the exit", func() bool { return w.phase("job") == spec.PhaseFailed })
	w.leave()
	if err := w.serve(); err != nil {
		t.Fatal(err)
	}
	// No pass need have run by now.
	if s := w.view("job").Status; s.Phase != spec.PhaseFailed || s.Starts != 1 || s.LastExit == nil || s.LastExit.Code != 4 {
		t.Errorf("job is shown as %+v", s)
	}
	if s := w.view("web").Status; s.Process == nil || s.Starts != 1 {
		t.Errorf("web is shown as %+v", s)
	}
}

func TestLeadersAreTheFirstOfTheirRuns(t *testing.T) {
	at := func(child string, incarnation, ticks uint64, pid int, exit *spec.Exit) spec.Found {
		return spec.Found{Child: child, Exit: exit,
			Launch: spec.Launch{Identity: spec.Identity{PID: pid, StartTicks: ticks, Incarnation: incarnation}}}
	}
	worker, leader := &spec.Exit{Code: 3}, &spec.Exit{Code: 7}
	got := leaders([]spec.Found{
		at("web", 2, 90, 12, worker), at("web", 2, 90, 11, leader), at("web", 2, 91, 4, nil),
		at("db", 1, 50, 8, nil), at("db", 1, 50, 8, leader),
		at("", 0, 1, 1, leader), at("web", 0, 1, 1, leader),
	})
	want := []spec.Found{at("db", 1, 50, 8, leader), at("web", 2, 90, 11, leader)}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// editFacts changes what is saved of a child while no server runs.
func (w *world) editFacts(child string, edit func(*plan.Observed)) {
	w.t.Helper()
	s, err := store.Open(store.Options{StateDir: filepath.Join(w.dir, "state"), RunDir: filepath.Join(w.dir, "run"), BootID: w.boot})
	if err != nil {
		w.t.Fatal(err)
	}
	defer s.Close()
	facts, _ := s.Facts()
	var o plan.Observed
	if err := json.Unmarshal(facts[child].Data, &o); err != nil {
		w.t.Fatal(err)
	}
	edit(&o)
	data, err := json.Marshal(&o)
	if err == nil {
		err = s.SaveFacts(child, store.Facts{Data: data})
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestALaunchOfWhichNothingIsKnownIsAdmitted(t *testing.T) {
	for _, witnessed := range []bool{false, true} {
		w := newWorld(t, "", map[string]string{"web": forever})
		w.mustServe()
		w.do(spec.VerbStart, "web")
		w.leave()
		// The run ended, and its server died with the next launch under way.
		delete(w.runtime.live, "web")
		w.editFacts("web", func(o *plan.Observed) {
			o.Exited(spec.Exit{Incarnation: 1, Known: true, Code: 3, At: time.Now()}, true, 0)
			o.Launching(2)
		})
		w.runtime.witnessed = witnessed
		w.mustServe()
		w.until("the next run", func() bool { return w.runtime.pid("web") != 0 && w.view("web").Status.Process != nil })
		s := w.view("web").Status
		exits := fmt.Sprint(s.History)
		want, starts := "[exit 3 exit status unknown]", uint64(3)
		if witnessed {
			want, starts = "[exit 3]", 2
		}
		if exits != want || s.Starts != starts || s.Process.Incarnation != 3 {
			t.Errorf("witnessed %v: exits %s, starts %d, incarnation %d", witnessed, exits, s.Starts, s.Process.Incarnation)
		}
		w.leave()
	}
}
