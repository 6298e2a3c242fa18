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
	"syscall"
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

func TestTornTailIsCutOff(t *testing.T) {
	d := newDirs(t)
	s := d.open(t, "b")
	mustSet(t, s, map[string]spec.Desired{"web": running(1)})
	mustClose(t, s)
	appendTo(t, d.journal(), line(t, set(2, "web"))[:20])

	s = d.open(t, "b")
	wantDesired(t, s, map[string]spec.Desired{"web": running(1)})
	if s.Damage() != nil || !strings.Contains(d.log.String(), "cut off an unfinished write") {
		t.Errorf("damage %v, log %s", s.Damage(), d.log)
	}
	mustSet(t, s, map[string]spec.Desired{"web": running(3)})
	mustClose(t, s)
	wantDesired(t, d.open(t, "b"), map[string]spec.Desired{"web": running(3)})
}

func TestDamageIsSetAsideAndReported(t *testing.T) {
	d := newDirs(t)
	s := d.open(t, "b")
	mustSet(t, s, map[string]spec.Desired{"web": running(1)})
	mustClose(t, s)
	lost := append([]byte("not a record\n"), line(t, set(2, "db"))...)
	appendTo(t, d.journal(), lost)

	s = d.open(t, "b")
	wantDesired(t, s, map[string]spec.Desired{"web": running(1)})
	if s.Damage() == nil || !strings.Contains(s.Damage().Error(), "journal was damaged: line 3: no checksum") {
		t.Errorf("damage %v", s.Damage())
	}
	if !strings.Contains(d.log.String(), "level=ERROR") {
		t.Errorf("log %s", d.log)
	}
	kept, err := os.ReadFile(filepath.Join(d.state, journalBad))
	if err != nil || !bytes.HasSuffix(kept, lost) {
		t.Errorf("kept %q, %v", kept, err)
	}
	mustSet(t, s, map[string]spec.Desired{"db": running(5)})
	mustClose(t, s)
	s = d.open(t, "b")
	wantDesired(t, s, map[string]spec.Desired{"web": running(1), "db": running(5)})
	if s.Damage() != nil {
		t.Errorf("reported again: %v", s.Damage())
	}
}

func TestNewerFormatIsLeftAlone(t *testing.T) {
	d := newDirs(t)
	mustClose(t, d.open(t, "b"))
	newer := []byte(string(line(t, record{Format: 9})) + "whatever\n")
	if err := os.WriteFile(d.journal(), newer, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(d.options("b")); err == nil || !strings.Contains(err.Error(), "has format 9") {
		t.Errorf("got %v", err)
	}
	if got, err := os.ReadFile(d.journal()); err != nil || !bytes.Equal(got, newer) {
		t.Errorf("the file is now %q, %v", got, err)
	}
}

func TestJournalIsCompactedWhileOpen(t *testing.T) {
	d := newDirs(t)
	s := d.open(t, "b")
	big := strings.Repeat("x", 64<<10)
	for i := range 40 {
		mustSet(t, s, map[string]spec.Desired{"web": {Run: spec.Running, Generation: uint64(i), By: big}})
	}
	info, err := os.Stat(d.journal())
	if err != nil || info.Size() > 2*compactSize {
		t.Errorf("%d bytes after 2.5 MiB of changes, %v", info.Size(), err)
	}
	mustClose(t, s)
	wantDesired(t, d.open(t, "b"), map[string]spec.Desired{"web": {Run: spec.Running, Generation: 39, By: big}})
}

func TestFailedCompactionCostsNoChange(t *testing.T) {
	d := newDirs(t)
	s := d.open(t, "b")
	attempts := 0
	s.journal.sync = func(f *os.File) error {
		if _, err := os.Stat(filepath.Join(d.state, journalTemp)); err == nil {
			attempts++
			return syscall.ENOSPC
		}
		return syncData(f)
	}
	last := spec.Desired{Run: spec.Running, By: strings.Repeat("x", 64<<10)}
	for last.Generation < 40 {
		last.Generation++
		mustSet(t, s, map[string]spec.Desired{"web": last})
	}
	if s.Err() != nil {
		t.Errorf("reported as lost: %v", s.Err())
	}
	// At 1 MiB and at 2 MiB, not at every change in between.
	if attempts != 2 {
		t.Errorf("%d attempts", attempts)
	}
	mustClose(t, s)
	wantDesired(t, d.open(t, "b"), map[string]spec.Desired{"web": last})
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

func TestFailedSyncIsReplacedOrReported(t *testing.T) {
	failing := func(times int) func(*os.File) error {
		return func(f *os.File) error {
			if times--; times >= 0 {
				return syscall.EIO
			}
			return syncData(f)
		}
	}
	for _, tt := range []struct {
		name     string
		failures int
		saved    bool
	}{
		// The order of syncs: the append, its cutting back, the new file, its
		// directory, cutting that back.
		{"the append only", 1, true},
		{"and the cutting back", 2, true},
		{"and the new file", 3, false},
		{"everything", 1000, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDirs(t)
			s := d.open(t, "b")
			mustSet(t, s, map[string]spec.Desired{"web": running(1)})
			before, err := os.Stat(d.journal())
			if err != nil {
				t.Fatal(err)
			}
			s.journal.sync = failing(tt.failures)
			err = s.SetDesired(t.Context(), map[string]spec.Desired{"web": running(2)})
			if (err == nil) != tt.saved || (s.Err() == nil) != tt.saved {
				t.Fatalf("error %v, Err %v", err, s.Err())
			}
			if !tt.saved && !errors.Is(err, syscall.EIO) {
				t.Errorf("error %v", err)
			}
			if got := onDisk(t, d)["web"].Generation; (got == 2) != tt.saved {
				t.Errorf("generation %d is on disk", got)
			}
			s.journal.sync = syncData
			mustSet(t, s, map[string]spec.Desired{"web": running(3)})
			if s.Err() != nil {
				t.Errorf("still reported: %v", s.Err())
			}
			if after, err := os.Stat(d.journal()); err != nil || os.SameFile(before, after) {
				t.Errorf("the file that a sync failed on is still used (%v)", err)
			}
			mustClose(t, s)
			wantDesired(t, d.open(t, "b"), map[string]spec.Desired{"web": running(3)})
		})
	}
}

// A rename that may not be durable: neither the old nor the new journal may
// have the change that was refused.
func TestFailedDirectorySyncLeavesOldState(t *testing.T) {
	d := newDirs(t)
	s := d.open(t, "b")
	mustSet(t, s, map[string]spec.Desired{"web": running(1)})
	s.journal.broken = true
	s.journal.sync = func(f *os.File) error {
		if f.Name() == d.state {
			return syscall.EIO
		}
		return syncData(f)
	}
	if err := s.SetDesired(t.Context(), map[string]spec.Desired{"web": running(2)}); !errors.Is(err, syscall.EIO) {
		t.Fatalf("got %v", err)
	}
	if got := onDisk(t, d)["web"].Generation; got != 1 {
		t.Errorf("generation %d is on disk", got)
	}
	s.journal.sync = syncData
	mustSet(t, s, map[string]spec.Desired{"web": running(3)})
	if got := onDisk(t, d)["web"].Generation; got != 3 {
		t.Errorf("generation %d is on disk", got)
	}
}

// onDisk is what a server would read if this one were gone.
func onDisk(t *testing.T, d *dirs) map[string]spec.Desired {
	t.Helper()
	data, err := os.ReadFile(d.journal())
	if err != nil {
		t.Fatal(err)
	}
	st, _, err := readJournal(data)
	if err != nil {
		t.Fatal(err)
	}
	return st.desired
}

func appendTo(t *testing.T, path string, data []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}
