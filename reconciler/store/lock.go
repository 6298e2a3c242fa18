package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lockName = "lock"
	// lockPatience is how long a lock may still be held by nobody who matters:
	// a process that a former server had forked and that has not reached its
	// exec has the server's descriptors for that moment.
	lockPatience = 300 * time.Millisecond
)

// LockedError says that another server uses a directory.
type LockedError struct {
	// PID is the other server; 0 where it could not be learned.
	PID int
	Dir string
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return e.Dir + " is in use by another kita server"
	}
	return fmt.Sprintf("%s is in use by another kita server (PID %d)", e.Dir, e.PID)
}

// openDirs makes and locks both directories, which may be one and the same.
func (s *Store) openDirs() error {
	if err := s.makeDirs(); err != nil {
		return err
	}
	if err := s.lock(s.stateDir); err != nil {
		return err
	}
	if !sameFile(s.stateDir, s.runDir) {
		if err := s.lock(s.runDir); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(s.childrenDir(), 0o700); err != nil {
		return err
	}
	s.keepFromCleaners()
	return nil
}

// makeDirs makes those of the two that are missing.
func (s *Store) makeDirs() error {
	_, statErr := os.Stat(s.stateDir)
	for _, dir := range []string{s.stateDir, s.runDir} {
		if err := makeDir(dir); err != nil {
			return err
		}
	}
	if errors.Is(statErr, os.ErrNotExist) {
		// A change in the directory is only as durable as the directory.
		parent := journal{dir: filepath.Dir(s.stateDir), sync: syncData}
		if err := parent.syncDir(); err != nil {
			s.log.Warn("cannot sync", "dir", parent.dir, "error", err)
		}
	}
	return nil
}

// lock takes the lock of dir until the store is closed or the process ends. It
// is the kernel's, so a lock file that a dead server left means nothing.
func (s *Store) lock(dir string) error {
	path := filepath.Join(dir, lockName)
	if f := s.inherited(path); f != nil {
		s.locks = append(s.locks, f)
		return nil
	}
	f, err := openLock(path)
	if err != nil {
		return err
	}
	if err := flock(f); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return &os.PathError{Op: "flock", Path: f.Name(), Err: err}
		}
		return &LockedError{PID: readPID(f), Dir: dir}
	}
	if readPID(f) == 0 {
		// A new file says nothing: a server that lives may have locked the one
		// that somebody has removed.
		if pid := holderOfRemoved(path); pid != 0 {
			// That one is to find the place free. Nobody else has this file: the
			// lock is held.
			return errors.Join(&LockedError{PID: pid, Dir: dir}, os.Remove(path), f.Close())
		}
	}
	// The PID is for people only; a full disk must not matter here.
	if err = f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		s.log.Warn("cannot write", "file", f.Name(), "error", err)
	}
	s.keepLock(f)
	return nil
}

// openLock opens the lock file, and makes it if need be. On a disk that has
// become read-only the one that is there can still be locked.
func openLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, unix.EROFS) {
		if f, readErr := os.Open(path); readErr == nil {
			return f, nil
		}
	}
	return f, err
}

func flock(f *os.File) error {
	deadline := time.After(lockPatience)
	retry := time.NewTicker(lockPatience / 20)
	defer retry.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		select {
		case <-retry.C:
		case <-deadline:
			return err
		}
	}
}

// keepFromCleaners takes a shared lock on the directory of the facts: by
// tmpfiles.d(5), systemd-tmpfiles does not remove old files from a directory
// that somebody locked, and /tmp is where the run directory may be.
func (s *Store) keepFromCleaners() {
	for _, dir := range []string{s.runDir, s.childrenDir()} {
		if s.isHeld(dir) {
			continue
		}
		d, err := os.Open(dir)
		if err != nil {
			continue
		}
		if unix.Flock(int(d.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil {
			d.Close()
			continue
		}
		s.keepLock(d)
	}
}

// Locks are the files whose locks keep another server out. They are open until
// Close, and stay the store's.
func (s *Store) Locks() []*os.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.locks)
}

func (s *Store) unlock() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, f := range s.locks {
		errs = append(errs, f.Close())
	}
	s.locks = nil
	return errors.Join(errs...)
}

func readPID(f *os.File) int {
	text, err := io.ReadAll(io.LimitReader(f, 32))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return pid
}

func sameFile(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}
