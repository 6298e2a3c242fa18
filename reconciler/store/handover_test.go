package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kita/spec"
)

func TestDetachKeepsTheLocks(t *testing.T) {
	o := Options{StateDir: filepath.Join(t.TempDir(), "state"), RunDir: filepath.Join(t.TempDir(), "run"), BootID: "boot"}
	first, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	want := spec.Desired{Run: spec.Running, Generation: 3}
	if err := first.SetDesired(context.Background(), map[string]spec.Desired{"web": want}); err != nil {
		t.Fatal(err)
	}
	locks, err := first.Detach()
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Forget("web"); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a write after Detach: %v", err)
	}
	var locked *LockedError
	if s, err := Open(o); !errors.As(err, &locked) {
		t.Fatalf("a stranger opened the detached store: %v %v", s, err)
	}
	o.Locks = locks
	second, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if got := second.Desired()["web"]; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if second.ID() != first.ID() || second.ID() == "" {
		t.Errorf("the ID was %q and is %q", first.ID(), second.ID())
	}
	o.Locks = nil
	if _, err := Open(o); !errors.As(err, &locked) {
		t.Errorf("a stranger opened the store that took the locks over: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	third, err := Open(o)
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	third.Close()
}

func TestEveryRunDirectoryHasItsOwnID(t *testing.T) {
	seen := map[string]bool{}
	for range 20 {
		dir := filepath.Join(t.TempDir(), "run")
		s, err := Open(Options{StateDir: dir, RunDir: dir, BootID: "boot"})
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		if seen[s.ID()] {
			t.Errorf("%s was given twice", s.ID())
		}
		seen[s.ID()] = true
		// A new directory in the place of the old one may get its inode.
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCheckReadsWithoutALock(t *testing.T) {
	o := Options{StateDir: filepath.Join(t.TempDir(), "state"), RunDir: filepath.Join(t.TempDir(), "run"), BootID: "boot"}
	if err := Check(o.StateDir, o.RunDir, o.BootID); err != nil {
		t.Errorf("nothing there yet: %v", err)
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.SaveFacts("web", Facts{Data: []byte(`{}`)}); err != nil {
		t.Fatal(err)
	}
	if err := Check(o.StateDir, o.RunDir, o.BootID); err != nil {
		t.Errorf("while it is open: %v", err)
	}
	line, err := encodeLine(factsRecord{Version: factsVersion + 1, Name: "db", Boot: "boot", Data: []byte(`{}`)})
	if err == nil {
		err = os.WriteFile(filepath.Join(s.childrenDir(), "db"), line, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(o.StateDir, o.RunDir, o.BootID); err == nil || !strings.Contains(err.Error(), "this kita reads 1") {
		t.Errorf("facts of a newer version: %v", err)
	}
	line, err = encodeLine(record{Format: journalFormat + 1})
	if err == nil {
		err = os.WriteFile(filepath.Join(o.StateDir, journalName), line, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(o.StateDir, o.RunDir, o.BootID); err == nil || !strings.Contains(err.Error(), "run the version that wrote it") {
		t.Errorf("a journal of a newer format: %v", err)
	}
}
