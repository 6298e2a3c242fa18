package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"kita/spec"
)

// dirs is a state and a run directory for one test.
type dirs struct {
	state, run string
	log        *bytes.Buffer
}

func newDirs(t *testing.T) *dirs {
	base := t.TempDir()
	return &dirs{state: filepath.Join(base, "lib", "kita"), run: filepath.Join(base, "run", "kita"), log: &bytes.Buffer{}}
}

func (d *dirs) journal() string { return filepath.Join(d.state, journalName) }

func (d *dirs) options(boot string) Options {
	return Options{StateDir: d.state, RunDir: d.run, BootID: boot, Logger: slog.New(slog.NewTextHandler(d.log, nil))}
}

func (d *dirs) open(t *testing.T, boot string) *Store {
	t.Helper()
	s, err := Open(d.options(boot))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func mustSet(t *testing.T, s *Store, changes map[string]spec.Desired) {
	t.Helper()
	if err := s.SetDesired(t.Context(), changes); err != nil {
		t.Fatal(err)
	}
}

func mustClose(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func wantDesired(t *testing.T, s *Store, want map[string]spec.Desired) {
	t.Helper()
	if got := s.Desired(); !reflect.DeepEqual(got, want) {
		t.Errorf("desired %v\nwant    %v", got, want)
	}
}

func TestDesiredStateSurvivesRestart(t *testing.T) {
	d := newDirs(t)
	s := d.open(t, "boot-1")
	wantDesired(t, s, map[string]spec.Desired{})
	web := spec.Desired{Run: spec.Running, Generation: 3, RestartGeneration: 2, Posthook: 1, Cause: spec.CauseCommand, By: "unix:0"}
	mustSet(t, s, map[string]spec.Desired{"web": web, "gone": running(1)})
	mustSet(t, s, map[string]spec.Desired{"böses \"kind\"\n": running(7)})
	if err := s.Forget("gone", "never-there", "\xff"); err != nil {
		t.Fatal(err)
	}
	if err := s.Forget("\xff"); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)

	want := map[string]spec.Desired{"web": web, "böses \"kind\"\n": running(7)}
	for range 2 { // the first reads changes, the second the snapshot they became
		s = d.open(t, "boot-1")
		wantDesired(t, s, want)
		mustClose(t, s)
	}
}

func TestOpenDoesNotRewriteSnapshot(t *testing.T) {
	d := newDirs(t)
	s := d.open(t, "b")
	mustSet(t, s, map[string]spec.Desired{"web": running(1)})
	mustClose(t, s)
	mustClose(t, d.open(t, "b"))
	before, err := os.Stat(d.journal())
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, d.open(t, "b"))
	after, err := os.Stat(d.journal())
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("a journal that needs nothing was replaced (%v)", err)
	}
}

func TestSameBootAndEnded(t *testing.T) {
	d := newDirs(t)
	type life struct {
		name            string
		boot            string
		sameBoot, ended bool
		act             func(*Store) error
	}
	begin := (*Store).Begin
	endIt := func(s *Store) error { return errors.Join(s.Begin(), s.MarkEnded()) }
	for _, l := range []life{
		{name: "first", boot: "1", act: begin},
		{name: "same boot", boot: "1", sameBoot: true, act: endIt},
		{name: "after kill", boot: "1", sameBoot: true, ended: true},
		{name: "kill is known until begin", boot: "1", sameBoot: true, ended: true},
		{name: "and on another boot", boot: "2", ended: true, act: begin},
		{name: "begin cleared it", boot: "2", sameBoot: true, act: begin},
		{name: "reboot", boot: "3", act: begin},
	} {
		s := d.open(t, l.boot)
		if s.SameBoot() != l.sameBoot || s.Ended() != l.ended {
			t.Errorf("%s: same boot %v, ended %v", l.name, s.SameBoot(), s.Ended())
		}
		if l.act != nil {
			if err := l.act(s); err != nil {
				t.Fatal(l.name, err)
			}
		}
		mustClose(t, s)
	}
}

func TestNameThatJSONWouldChangeIsRefused(t *testing.T) {
	s := newDirs(t).open(t, "b")
	err := s.SetDesired(t.Context(), map[string]spec.Desired{"ok": running(1), "\xff": running(1)})
	if err == nil || !strings.Contains(err.Error(), `"\xff"`) {
		t.Errorf("error %v", err)
	}
	if len(s.state.desired) != 0 {
		t.Errorf("half of a refused change is in force: %v", s.state.desired)
	}
}

func TestDirectoriesArePrivate(t *testing.T) {
	d := newDirs(t)
	s := d.open(t, "b")
	if err := s.SaveFacts("web", Facts{Data: []byte(`{}`)}); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(filepath.Dir(d.state), func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	_, err = Open(Options{StateDir: open, RunDir: t.TempDir(), BootID: "b"})
	if err == nil || !strings.Contains(err.Error(), "chmod 700 "+open) {
		t.Errorf("a directory that others can write: %v", err)
	}
}

func TestSecondServerIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name  string
		share func(mine, other *dirs) string // returns what is shared
	}{
		{"state directory", func(mine, other *dirs) string { mine.state = other.state; return mine.state }},
		{"run directory", func(mine, other *dirs) string { mine.run = other.run; return mine.run }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first, second := newDirs(t), newDirs(t)
			shared := tt.share(second, first)
			s := first.open(t, "b")
			_, err := Open(second.options("b"))
			var locked *LockedError
			if !errors.As(err, &locked) || *locked != (LockedError{PID: os.Getpid(), Dir: shared}) {
				t.Fatalf("got %v", err)
			}
			if want := fmt.Sprintf("%s is in use by another kita server (PID %d)", shared, os.Getpid()); err.Error() != want {
				t.Errorf("message %q", err)
			}
			mustClose(t, s)
			second.open(t, "b") // the failed attempt holds no lock either
		})
	}
}

func TestOneDirectoryForBoth(t *testing.T) {
	d := newDirs(t)
	d.run = d.state
	s := d.open(t, "b")
	mustSet(t, s, map[string]spec.Desired{"web": running(1)})
	if err := s.SaveFacts("journal", Facts{Data: []byte(`1`)}); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	wantDesired(t, d.open(t, "b"), map[string]spec.Desired{"web": running(1)})
}

func TestConcurrentChangesShareSyncs(t *testing.T) {
	const callers = 50
	d := newDirs(t)
	s := d.open(t, "b")
	// The first sync waits until everybody else has joined the next batch.
	syncs, entered, release := 0, make(chan struct{}), make(chan struct{})
	s.journal.sync = func(f *os.File) error {
		if syncs++; syncs == 1 {
			close(entered)
			<-release
		}
		return syncData(f)
	}
	var wg sync.WaitGroup
	change := func(i int) {
		if err := s.SetDesired(t.Context(), map[string]spec.Desired{fmt.Sprint("c", i): running(1)}); err != nil {
			t.Error(err)
		}
	}
	wg.Go(func() { change(0) })
	<-entered
	for i := 1; i < callers; i++ {
		wg.Go(func() { change(i) })
	}
	waitForJoined(s, callers-1)
	close(release)
	wg.Wait()
	if syncs != 2 {
		t.Errorf("%d syncs for %d changes, want 2", syncs, callers)
	}
	mustClose(t, s)
	if got := d.open(t, "b").Desired(); len(got) != callers {
		t.Errorf("%d of %d changes survived", len(got), callers)
	}
}

func TestContextEndsTheWaitForTheDisk(t *testing.T) {
	d := newDirs(t)
	s := d.open(t, "b")
	s.disk <- struct{}{} // somebody writes, for long
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() { result <- s.SetDesired(ctx, map[string]spec.Desired{"withdrawn": running(1)}) }()
	waitForJoined(s, 1)
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-s.disk
	mustSet(t, s, map[string]spec.Desired{"web": running(1)})
	if err := s.SetDesired(ctx, map[string]spec.Desired{"late": running(1)}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	mustClose(t, s)
	wantDesired(t, d.open(t, "b"), map[string]spec.Desired{"web": running(1)})
}

func TestClosedStoreRefusesChanges(t *testing.T) {
	s := newDirs(t).open(t, "b")
	mustClose(t, s)
	mustClose(t, s)
	if err := s.SetDesired(t.Context(), map[string]spec.Desired{"web": running(1)}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestTheLaterGenerationStaysInForceInWhateverOrderTheyAreWritten(t *testing.T) {
	st := newState()
	newer := spec.Desired{Run: spec.Stopped, Generation: 2}
	st.apply(record{Set: map[string]spec.Desired{"web": newer}})
	st.apply(record{Set: map[string]spec.Desired{"web": {Run: spec.Running, Generation: 1}}})
	if st.desired["web"] != newer {
		t.Errorf("in force: %+v", st.desired["web"])
	}
	st.apply(record{Forget: []string{"web"}})
	again := spec.Desired{Run: spec.Running, Generation: 1}
	st.apply(record{Set: map[string]spec.Desired{"web": again}})
	if st.desired["web"] != again {
		t.Errorf("after it was forgotten: %+v", st.desired["web"])
	}
}
