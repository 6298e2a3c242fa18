package store

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kita/spec"
)

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

// restoredPaths are the names of what was made again.
func restoredPaths(s *Store) string {
	var names []string
	for _, r := range s.Restored() {
		names = append(names, filepath.Base(r.Path))
	}
	return strings.Join(names, " ")
}

// TestWhatIsAnsweredAsSavedIsAtThePath takes the journal away in every way there is,
// and asks the next server for what was answered since.
func TestWhatIsAnsweredAsSavedIsAtThePath(t *testing.T) {
	for name, take := range map[string]func(t *testing.T, d *dirs){
		"the directory removed": func(t *testing.T, d *dirs) { remove(t, d.state) },
		"its parent removed":    func(t *testing.T, d *dirs) { remove(t, filepath.Dir(d.state)) },
		"the file removed":      func(t *testing.T, d *dirs) { remove(t, d.journal()) },
		"the directory moved": func(t *testing.T, d *dirs) {
			if err := os.Rename(d.state, d.state+".old"); err != nil {
				t.Fatal(err)
			}
		},
		"an older one put back": func(t *testing.T, d *dirs) {
			content, err := os.ReadFile(d.journal())
			if err != nil {
				t.Fatal(err)
			}
			remove(t, d.state)
			if err := errors.Join(os.Mkdir(d.state, 0o700), os.WriteFile(d.journal(), content, 0o600)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDirs(t)
			s := d.open(t, "b")
			mustSet(t, s, map[string]spec.Desired{"web": running(1), "db": running(1)})
			take(t, d)
			mustSet(t, s, map[string]spec.Desired{"web": {Run: spec.Stopped, Generation: 2}})
			mustSet(t, s, map[string]spec.Desired{"new": running(1)})
			if !strings.Contains(restoredPaths(s), "journal") || !strings.Contains(d.log.String(), "level=ERROR") {
				t.Errorf("not told: %s, %s", restoredPaths(s), d.log)
			}
			info, err := os.Stat(d.state)
			if err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("%v, %v", info, err)
			}
			mustClose(t, s)
			wantDesired(t, d.open(t, "b"), map[string]spec.Desired{
				"web": {Run: spec.Stopped, Generation: 2}, "db": running(1), "new": running(1)})
		})
	}
}

func TestAJournalInThePlaceOfOursIsKept(t *testing.T) {
	d := newDirs(t)
	s := d.open(t, "b")
	remove(t, d.journal())
	if err := os.WriteFile(d.journal(), []byte("of somebody else\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustSet(t, s, map[string]spec.Desired{"web": running(1)})
	kept, err := os.ReadFile(filepath.Join(d.state, journalBad))
	if err != nil || string(kept) != "of somebody else\n" {
		t.Errorf("kept %q, %v", kept, err)
	}
	if all := s.Restored(); len(all) != 1 || all[0].Kept != filepath.Join(d.state, journalBad) {
		t.Errorf("told %v", all)
	}
}

// TestNothingIsAnsweredAsSavedWhereItCannotBe has a file in the way of the directory.
func TestNothingIsAnsweredAsSavedWhereItCannotBe(t *testing.T) {
	d := newDirs(t)
	s := d.open(t, "b")
	mustSet(t, s, map[string]spec.Desired{"web": running(1)})
	remove(t, d.state)
	if err := os.WriteFile(d.state, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.SetDesired(t.Context(), map[string]spec.Desired{"web": running(2)}); err == nil || s.Err() == nil {
		t.Fatalf("set: %v, reported: %v", err, s.Err())
	}
	if _, err := s.Restore(); err == nil || s.Err() == nil {
		t.Fatalf("restore: %v, reported: %v", err, s.Err())
	}
	remove(t, d.state)
	if _, err := s.Restore(); err != nil {
		t.Fatal(err)
	}
	mustSet(t, s, map[string]spec.Desired{"db": running(1)})
	if s.Err() != nil {
		t.Errorf("still reported: %v", s.Err())
	}
	mustClose(t, s)
	wantDesired(t, d.open(t, "b"), map[string]spec.Desired{"web": running(1), "db": running(1)})
}

func TestRestoreMakesAllAgain(t *testing.T) {
	for name, take := range map[string]func(t *testing.T, path string){
		"removed": remove,
		"moved": func(t *testing.T, path string) {
			if err := os.Rename(path, path+".old"); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDirs(t)
			s := d.open(t, "b")
			mustSet(t, s, map[string]spec.Desired{"web": running(1)})
			if err := s.SaveFacts("web", Facts{Data: []byte(`"seen"`)}); err != nil {
				t.Fatal(err)
			}
			if list, err := s.Restore(); err != nil || len(list) > 0 {
				t.Fatalf("restored what was there: %v, %v", list, err)
			}
			id, locks := s.ID(), len(s.Locks())
			for range 3 {
				remove(t, d.state+".old")
				remove(t, d.run+".old")
				take(t, d.state)
				take(t, d.run)
				if list, err := s.Restore(); err != nil || len(list) != 4 {
					t.Fatalf("restored %v, %v", list, err)
				}
			}
			if got := restoredPaths(s); got != "journal lock ~facts lock" {
				t.Errorf("told %s", got)
			}
			if now := len(s.Locks()); name == "removed" && now != locks {
				t.Errorf("%d locks, before %d", now, locks)
			}
			// Nobody gets in beside it.
			var locked *LockedError
			if _, err := Open(d.options("b")); !errors.As(err, &locked) {
				t.Errorf("another store opened them: %v", err)
			}
			mustClose(t, s)
			s = d.open(t, "b")
			wantDesired(t, s, map[string]spec.Desired{"web": running(1)})
			if facts, errs := s.Facts(); string(facts["web"].Data) != `"seen"` || errs != nil {
				t.Errorf("facts %v, %v", facts, errs)
			}
			if s.ID() != id {
				t.Errorf("the id is %s, its processes bear %s", s.ID(), id)
			}
		})
	}
}

// TestACopyOfTheRunDirectoryHasAnIDOfItsOwn: two that run at once never share one.
func TestACopyOfTheRunDirectoryHasAnIDOfItsOwn(t *testing.T) {
	d := newDirs(t)
	s := d.open(t, "b")
	remove(t, d.run)
	if _, err := s.Restore(); err != nil {
		t.Fatal(err)
	}
	other := newDirs(t)
	if err := os.CopyFS(other.run, os.DirFS(d.run)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(other.run, 0o700); err != nil {
		t.Fatal(err)
	}
	if copied := other.open(t, "b"); copied.ID() == s.ID() {
		t.Errorf("both are %s", s.ID())
	}
}

// TestAnotherServerKeepsThisOneFromWriting has one in the new directory before this
// one has seen that it is new.
func TestAnotherServerKeepsThisOneFromWriting(t *testing.T) {
	d := newDirs(t)
	s := d.open(t, "b")
	mustSet(t, s, map[string]spec.Desired{"web": running(1)})
	remove(t, d.state)
	remove(t, d.run)
	other := d.open(t, "b")
	mustSet(t, other, map[string]spec.Desired{"theirs": running(1)})
	var locked *LockedError
	if err := s.SetDesired(t.Context(), map[string]spec.Desired{"web": running(2)}); !errors.As(err, &locked) {
		t.Errorf("set: %v", err)
	}
	if _, err := s.Restore(); !errors.As(err, &locked) || !errors.As(s.Err(), &locked) {
		t.Errorf("restore: %v", err)
	}
	mustSet(t, other, map[string]spec.Desired{"theirs": running(2)})
	mustClose(t, other)
	if _, err := s.Restore(); err != nil || s.Err() != nil {
		t.Errorf("restore: %v, %v", err, s.Err())
	}
	mustClose(t, s)
	wantDesired(t, d.open(t, "b"), map[string]spec.Desired{"web": running(1)})
}

// TestALiveServerIsFoundByTheLockThatWasRemoved has a server of another process lock
// what is then removed.
func TestALiveServerIsFoundByTheLockThatWasRemoved(t *testing.T) {
	const where = "KITA_TEST_HOLDS"
	if base := os.Getenv(where); base != "" {
		s, err := Open(Options{StateDir: filepath.Join(base, "state"), RunDir: filepath.Join(base, "run"), BootID: "b"})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		os.Stdout.WriteString("open\n")
		_, _ = os.Stdin.Read(make([]byte, 1))
		return
	}
	base := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestALiveServerIsFoundByTheLockThatWasRemoved$")
	c.Env = append(os.Environ(), where+"="+base)
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Wait() }()
	defer stdin.Close()
	if _, err := stdout.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	o := Options{StateDir: filepath.Join(base, "state"), RunDir: filepath.Join(base, "run"), BootID: "b"}
	remove(t, o.StateDir)
	remove(t, o.RunDir)
	// A try that is refused must not open the way for the next one, nor may what is
	// left of one that was killed.
	for i := range 4 {
		var locked *LockedError
		if _, err := Open(o); !errors.As(err, &locked) || locked.PID != c.Process.Pid {
			t.Fatalf("open %d: %v, want PID %d", i+1, err, c.Process.Pid)
		}
		if i == 2 {
			if err := os.WriteFile(filepath.Join(o.StateDir, lockName), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}
