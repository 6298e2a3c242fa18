package store

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// A store stands on two directories, and somebody may take them away under a
// server that runs: a cleaner of /tmp, `rm -rf` of the wrong directory, a backup
// that is put in their place, a mount that goes. The files that are open can be
// written to all the same, and nobody will ever read them again. So before a
// change is answered the journal is looked for by its path, and Restore looks for
// all the rest. What is known in memory is worth more than a complaint: it is
// written again.

// Restored is something that was gone, or was another, and was made again.
type Restored struct {
	// Path is what it was, At when it was made again.
	Path string
	At   time.Time
	// Kept is where that is kept which was in its place; empty where nothing was.
	Kept string
}

func (r Restored) String() string {
	if r.Kept == "" {
		return r.Path
	}
	return fmt.Sprintf("%s (what was in its place is kept as %s)", r.Path, r.Kept)
}

// Restored are the latest of each path, in the order of the paths.
func (s *Store) Restored() []Restored {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.restored)
}

// NoteRestored notes what somebody else made again in the directories.
func (s *Store) NoteRestored(path string) { s.tellRestored(Restored{Path: path}) }

// Restore makes again what of the directories, the locks, the journal and the facts
// is gone, and returns what that was. With an error the rest is missing still, and
// changes that need it are refused.
func (s *Store) Restore() ([]Restored, error) {
	before := s.Restored()
	// A disk that hangs is to hang this call and nobody who needs the store.
	for _, path := range []string{s.stateDir, s.childrenDir()} {
		_, _ = os.Stat(filepath.Join(path, lockName))
	}
	s.disk <- struct{}{}
	defer func() { <-s.disk }()
	if s.closed {
		return nil, nil
	}
	// It is not taken on trust that the lock is there.
	s.astray = true
	err := errors.Join(s.writeWhere(nil), s.restoreRun())
	s.setErr(&s.groundErr, err, "what was removed from the directories")
	return slices.DeleteFunc(s.Restored(), func(r Restored) bool { return slices.Contains(before, r) }), err
}

// writeWhere makes lines durable in the journal at its path, whatever has become of
// the file that was there. The caller holds the disk.
func (s *Store) writeWhere(lines []byte) error {
	j := &s.journal
	where, err := j.whereabouts()
	if err != nil {
		return err
	}
	if s.astray || where != here {
		s.astray = true
		if err := s.holdDir(s.stateDir); err != nil {
			return err
		}
		s.astray = false
	}
	switch {
	case where == gone || where == replaced:
		return s.replaceJournal(where, lines)
	case lines == nil:
		return nil
	}
	return j.append(&s.state, lines)
}

// replaceJournal writes the journal anew at its path, with lines behind it.
func (s *Store) replaceJournal(where whereabouts, lines []byte) error {
	j := &s.journal
	r := Restored{Path: j.path(journalName)}
	if where == replaced {
		if err := j.setAside(); err != nil {
			return err
		}
		r.Kept = j.path(journalBad)
	}
	if err := j.rewrite(&s.state, lines); err != nil {
		return err
	}
	s.setErr(&s.journalErr, nil, "desired state")
	s.tellRestored(r)
	return nil
}

// restoreRun sees to the run directory, and to the facts in it. The caller holds the
// disk.
func (s *Store) restoreRun() error {
	s.factsMu.Lock()
	defer s.factsMu.Unlock()
	if err := s.holdDir(s.runDir); err != nil {
		return err
	}
	if _, err := os.Stat(s.childrenDir()); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(s.childrenDir(), 0o700); err != nil {
			return err
		}
		s.keepFromCleaners()
	}
	if s.table.file == nil || !s.table.isElsewhere() {
		return nil
	}
	if err := s.table.replace(); err != nil {
		return fmt.Errorf("facts: %w", err)
	}
	s.tellRestored(Restored{Path: s.table.path()})
	return nil
}

// holdDir makes dir and its lock again where they are gone. Where another server
// has been quicker that is the error: two never write to one directory. The caller
// holds the disk.
func (s *Store) holdDir(dir string) error {
	path := filepath.Join(dir, lockName)
	if s.isHeld(path) {
		return nil
	}
	if err := s.makeDirs(); err != nil {
		return err
	}
	if err := s.lock(dir); err != nil {
		return err
	}
	if dir == s.runDir {
		s.keepFromCleaners()
		s.keepID()
	}
	s.tellRestored(Restored{Path: path})
	return nil
}

// isHeld tells whether the file at path is one that this store has locked.
func (s *Store) isHeld(path string) bool {
	now, err := os.Stat(path)
	if err != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.locks, func(f *os.File) bool {
		have, err := f.Stat()
		return err == nil && os.SameFile(have, now)
	})
}

// keepLock has the store keep f, locked, in the place of the file that was at its
// path before, if there was one. That one's number stays in use: the launcher has a
// note of it.
func (s *Store) keepLock(f *os.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, old := range s.locks {
		var st unix.Stat_t
		fd := int(old.Fd())
		if unix.Fstat(fd, &st) != nil || st.Nlink > 0 || old.Name() != f.Name() {
			continue
		}
		if dup(int(f.Fd()), fd) == nil {
			f.Close()
			return
		}
	}
	s.locks = append(s.locks, f)
}

// tellRestored notes r, in the place of what was restored at its path before.
func (s *Store) tellRestored(r Restored) {
	r.At = time.Now()
	s.mu.Lock()
	s.restored = slices.DeleteFunc(s.restored, func(other Restored) bool { return other.Path == r.Path })
	s.restored = append(s.restored, r)
	slices.SortFunc(s.restored, func(a, b Restored) int { return cmp.Compare(a.Path, b.Path) })
	s.mu.Unlock()
	args := []any{"file", r.Path}
	if r.Kept != "" {
		args = append(args, "kept", r.Kept)
	}
	s.log.Error("was gone under the running server, and was made again: find out who removes it", args...)
}

// whereabouts is what became of a file that is open.
type whereabouts int

const (
	here     whereabouts = iota // its path leads to it
	unmade                      // there has not been one yet
	gone                        // its path leads nowhere
	replaced                    // its path leads to another
)

// whereabouts tells of the journal, with one system call.
func (j *journal) whereabouts() (whereabouts, error) {
	if j.file == nil {
		return unmade, nil
	}
	var st unix.Stat_t
	path := j.path(journalName)
	switch err := unix.Stat(path, &st); {
	case errors.Is(err, unix.ENOENT):
		return gone, nil
	case err != nil:
		return gone, &os.PathError{Op: "stat", Path: path, Err: err}
	case fileID{uint64(st.Dev), st.Ino} != j.id:
		return replaced, nil
	}
	return here, nil
}
