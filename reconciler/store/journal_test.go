package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"kita/spec"
)

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
