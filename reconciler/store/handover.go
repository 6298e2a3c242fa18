package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Detach is Close for a program that executes a new version of itself: it waits
// for the write in progress and closes the journal, but keeps the directories
// locked. The files returned hold the locks; the new version gives them to Open
// as Options.Locks.
func (s *Store) Detach() ([]*os.File, error) {
	s.disk <- struct{}{}
	defer func() { <-s.disk }()
	if s.closed {
		return nil, os.ErrClosed
	}
	s.closed = true
	s.factsMu.Lock()
	s.table.close()
	s.factsMu.Unlock()
	s.mu.Lock()
	locks := s.locks
	s.locks = nil
	s.mu.Unlock()
	return locks, s.journal.close()
}

// inherited returns the file among those of Options.Locks that is the lock file
// of dir, locked already; nil if there is none.
func (s *Store) inherited(path string) *os.File {
	want, err := os.Stat(path)
	if err != nil {
		return nil
	}
	for _, f := range s.given {
		if info, err := f.Stat(); err == nil && os.SameFile(info, want) {
			return f
		}
	}
	return nil
}

// closeUnused closes the files of Options.Locks that lock nothing of this store.
func (s *Store) closeUnused() {
	for _, f := range s.given {
		if !slices.Contains(s.locks, f) {
			f.Close()
		}
	}
	s.given = nil
}

// Check tells whether Open could read what is in the directories, without a
// lock and without changing anything: a new version is asked before it takes
// over. Damage is no error, as it is none to Open.
func Check(stateDir, runDir, bootID string) error {
	path := filepath.Join(stateDir, journalName)
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err == nil {
		var format *formatError
		if _, _, err := readJournal(data); errors.As(err, &format) {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	s := &Store{runDir: runDir, bootID: bootID}
	entries, err := os.ReadDir(s.childrenDir())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var errs []error
	for _, e := range entries {
		file := filepath.Join(s.childrenDir(), e.Name())
		if e.Name() == tableName {
			errs = appendErr(errs, checkTable(file))
			continue
		}
		// A file may go between the listing and the look.
		if _, _, err := s.readFacts(file); errors.Is(err, errFactsVersion) {
			errs = append(errs, fmt.Errorf("%s: %w", file, err))
		}
	}
	return errors.Join(errs...)
}

// checkTable tells whether this version reads the table of facts.
func checkTable(file string) error {
	head := make([]byte, unit)
	f, err := os.Open(file)
	if err != nil {
		return nil // it may go between the listing and the look
	}
	defer f.Close()
	n, _ := f.ReadAt(head, 0)
	t := table{}
	if err := t.checkHead(head[:n]); errors.Is(err, errFactsVersion) {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}
