package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// Options says where a store is and in which boot it is used.
type Options struct {
	// StateDir holds the journal, RunDir the facts. Both are made when they
	// are missing, and must not be writable by anyone else.
	StateDir, RunDir string
	// BootID is the content of /proc/sys/kernel/random/boot_id.
	BootID string
	// ID is that of the server before this one, whose processes bear it; it is
	// made anew where it is empty.
	ID string
	// Locks are what Detach returned, in the program that executed this one.
	// Open takes the files over, or closes those that it has no use for.
	Locks []*os.File
	// Files is what UnsavedFiles returned in that program.
	Files  *FilesSeen
	Logger *slog.Logger
}

// Store is an open pair of directories. Its methods may be called from any
// goroutine.
type Store struct {
	stateDir, runDir, bootID, id string
	log                          *slog.Logger
	locks                        []*os.File // guarded by mu
	given                        []*os.File
	// unsavedFiles is owned by the one goroutine that may call SaveFiles.
	unsavedFiles *FilesSeen

	// As the journal was when it was opened; not written afterwards, but for
	// opened.desired, which is guarded by mu.
	opened state
	damage error

	// disk is held, by sending to it, by the one goroutine that writes.
	disk chan struct{}
	// Owned by the holder of disk.
	journal journal
	state   state
	closed  bool
	// astray: it is not known that the state directory is this store's.
	astray bool

	mu         sync.Mutex
	open       *batch     // mu: the batch that a write joins
	journalErr error      // mu
	factsErr   error      // mu
	groundErr  error      // mu
	restored   []Restored // mu

	// factsMu is held while facts are read or written.
	factsMu sync.Mutex
	table   table // factsMu
	loaded  bool  // factsMu: the table has been read
	// oldFiles are the children with a file of their own, of an older version;
	// true: it does not say what the table does, and could not be removed yet.
	oldFiles map[string]bool // factsMu
}

// Open locks the directories and reads the desired state. The error is a
// *LockedError when another server uses one of them. A journal that cannot be
// read to its end is no error: see Damage.
func Open(o Options) (*Store, error) {
	if o.BootID == "" {
		return nil, errors.New("open store: no boot id")
	}
	s := &Store{
		stateDir: o.StateDir, runDir: o.RunDir, bootID: o.BootID, log: o.Logger,
		disk: make(chan struct{}, 1), open: newBatch(), oldFiles: map[string]bool{},
		journal: journal{dir: o.StateDir, sync: syncData},
	}
	s.table = table{dir: s.childrenDir(), boot: o.BootID}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.given, s.unsavedFiles = o.Locks, o.Files
	err := s.openDirs()
	s.closeUnused()
	if s.id = o.ID; err == nil && s.id == "" {
		s.id, err = findID(s.bootID, s.runDir)
	}
	if err != nil {
		return nil, errors.Join(err, s.unlock())
	}
	s.keepID()
	if err := s.openJournal(); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", s.journal.path(journalName), err), s.journal.close(), s.unlock())
	}
	s.opened = state{boot: s.state.boot, ended: s.state.ended, desired: maps.Clone(s.state.desired)}
	return s, nil
}

// openJournal reads the journal and makes it fit to be appended to. A disk too
// full for that, or one that has become read-only, is no reason not to look after
// the children: the file is then replaced by the first change that can be written.
func (s *Store) openJournal() error {
	j := &s.journal
	if err := os.Remove(j.path(journalTemp)); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.EROFS) {
		return err
	}
	f, err := os.OpenFile(j.path(journalName), os.O_RDWR, 0)
	if errors.Is(err, unix.EROFS) {
		f, err = os.Open(j.path(journalName))
		j.broken = true
	}
	if errors.Is(err, os.ErrNotExist) {
		s.state = newState()
		s.tidy()
		return nil
	}
	if err != nil {
		return err
	}
	j.file, j.id = f, idOf(f)
	data, err := os.ReadFile(f.Name())
	if err != nil {
		return err
	}
	st, good, err := readJournal(data)
	s.state, j.size = st, int64(good)
	var damage *damageError
	switch {
	case errors.As(err, &damage) && damage.torn:
		s.log.Warn("cut off an unfinished write", "file", f.Name(), "bytes", len(data)-good)
		j.cutBack()
	case errors.As(err, &damage):
		if err := j.setAside(); err != nil {
			return err
		}
		s.damage = fmt.Errorf("%s was damaged: %w; what follows is not in force and is kept in %s", f.Name(), err, j.path(journalBad))
		s.log.Error("the journal is damaged, what follows is not in force", "file", f.Name(), "error", err,
			"bytes", len(data)-good, "kept", j.path(journalBad))
		j.broken = true
	case err != nil:
		return err
	}
	s.tidy()
	return nil
}

// tidy rewrites the journal unless it is a snapshot and nothing else.
func (s *Store) tidy() {
	j := &s.journal
	snapshot, err := s.state.snapshot()
	if err == nil && !j.broken && j.file != nil && j.size == int64(len(snapshot)) {
		j.base = j.size
		return
	}
	missing := j.file == nil
	if err := j.rewrite(&s.state, nil); err != nil {
		j.broken = j.broken || missing
		s.setErr(&s.journalErr, err, "desired state")
	}
}

// Desired returns the desired state as it was at Open. It is kept until Begin, and
// nil afterwards.
func (s *Store) Desired() map[string]spec.Desired {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.opened.desired)
}

// SameBoot tells whether the server before this one began in this boot.
func (s *Store) SameBoot() bool { return s.opened.boot == s.bootID }

// Ended tells whether the server before this one was ended by the kill
// command, in whatever boot; see MarkEnded.
func (s *Store) Ended() bool { return s.opened.ended }

// Damage returns what Open could not read of the journal and where it is kept,
// or nil. A write that a crash interrupted is no damage.
func (s *Store) Damage() error { return s.damage }

// SetDesired writes all changes or none. They survive a crash and a power cut
// when it returns nil, and are not in force, now or after a restart, when it
// returns an error. Concurrent calls share their disk writes. A ctx that ends
// is noticed only while the change waits for its turn.
func (s *Store) SetDesired(ctx context.Context, changes map[string]spec.Desired) error {
	if len(changes) == 0 {
		return nil
	}
	for name := range changes {
		if err := checkName(name); err != nil {
			return err
		}
	}
	return s.commit(ctx, record{Set: maps.Clone(changes)})
}

// Forget removes the desired state of children that exist no more, with the
// same promises as SetDesired.
func (s *Store) Forget(names ...string) error {
	// A name that SetDesired refuses would come back from the journal as
	// another one, which must not be forgotten in its place.
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return checkName(name) != nil })
	if len(names) == 0 {
		return nil
	}
	return s.commit(context.Background(), record{Forget: names})
}

// Begin writes that a server runs, in this boot.
func (s *Store) Begin() error {
	s.mu.Lock()
	s.opened.desired = nil
	s.mu.Unlock()
	return s.commit(context.Background(), record{Boot: s.bootID})
}

// MarkEnded writes that the server was ended by the kill command: its children
// are stopped, and the next server goes by its startup mode. The next Begin
// takes that back.
func (s *Store) MarkEnded() error {
	return s.commit(context.Background(), record{Ended: true})
}

// Err returns why the last write failed, or nil once one succeeded again.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.groundErr != nil {
		// It is the cause of the others.
		return s.groundErr
	}
	return errors.Join(s.journalErr, s.factsErr)
}

// Close waits for the write in progress and gives the directories free. Later
// writes fail with os.ErrClosed.
func (s *Store) Close() error {
	s.disk <- struct{}{}
	defer func() { <-s.disk }()
	if s.closed {
		return nil
	}
	s.closed = true
	s.factsMu.Lock()
	s.table.close()
	s.factsMu.Unlock()
	return errors.Join(s.journal.close(), s.unlock())
}

func (s *Store) childrenDir() string { return filepath.Join(s.runDir, "children") }
