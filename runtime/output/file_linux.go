package output

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// Key says which file: no two that exist at once have the same. The number of
// an inode is given again once its file is gone.
type Key struct {
	Dev   uint64 `json:"dev"`
	Inode uint64 `json:"inode"`
}

// Segment is a part of what can be read, in positions.
type Segment struct {
	Start, End uint64
	// At is when an archive was cut off; zero for the live file.
	At time.Time
	// Archive: reading from the middle may mean that its beginning is unpacked.
	Archive bool
}

// errGone: the live file is neither at its path nor held by anybody known.
var errGone = errors.New("it was removed, or another file is in its place")

// shared is what the files of a manager have in common.
type shared struct {
	records recordDir
	volumes volumes
	log     *slog.Logger
	// packing holds a token while an archive is packed: one at a time.
	packing chan struct{}
	// passed is called at each stage of a rotation or of a read, for tests.
	passed func(stage)
}

// newShared keeps its records in the directory output of stateDir, which it
// makes. Empty: there are no records, and nothing can be rotated.
func newShared(stateDir string) (*shared, error) {
	s := &shared{packing: make(chan struct{}, 1), log: slog.Default(), passed: func(stage) {}}
	if stateDir == "" {
		return s, nil
	}
	dir := filepath.Join(stateDir, "output")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s.records = recordDir(dir)
	return s, nil
}

// File is one output file and its archives, as one stream of bytes. The
// position of a byte counts those that were ever written before it; it stays
// what it is when the file is rotated.
//
// A File has nothing open. All methods may be called at once from several
// goroutines.
type File struct {
	shared *shared
	path   string

	// times and followers have locks of their own; see there.
	times     times
	followers followers

	// turn holds a token while somebody changes the live file or makes archives.
	turn chan struct{}
	// layout is held for writing while Base or Head change, and for reading over
	// one read of the live file: so what is read lies where it is thought to.
	layout sync.RWMutex
	// saving is held while rec is changed, also on disk. It is taken before
	// layout, that before mu.
	saving sync.Mutex
	// measuring is held while the live file's size is looked at, so that no old
	// size comes after a newer one.
	measuring sync.Mutex

	// mu guards all below, for moments only; rec changes under saving and layout.
	mu  sync.Mutex
	rec record
	// kept: there is a record on disk. unsaved: it is not, or not surely, rec.
	kept, unsaved bool
	// unsettled: it is not known yet whether rec.Collapsing bytes were taken out.
	unsettled bool
	// seen is the end of the stream when it was last looked at.
	seen  uint64
	pulse pulse
	// rules are nil where the file is not rotated.
	rules *spec.Rotate
	// hold opens the live file where the path does not lead to it; nil: nobody can.
	hold func() (int, error)
	// launched is the file that was opened for a run; zero: not known.
	launched found
	// hole is how many bytes are to be taken out of the live file once that
	// holds nobody up.
	hole uint64
	// begun is when every counts from, where nothing was cut yet.
	begun   time.Time
	backoff backoff
	// stuck are archives that cannot be packed, by number.
	stuck map[uint64]bool
}

// open returns the file at path, which is absolute and need not exist. owner is
// whose it is, nil: the server's own. What a crash interrupted is finished; where
// that cannot be, or the record cannot be read, there is a File and an error.
func (s *shared) open(path string, owner *Owner) (*File, error) {
	f := &File{shared: s, path: path, turn: make(chan struct{}, 1)}
	f.rec = record{Path: path, Owner: owner, Next: 1}
	rec, err := s.records.load(path)
	if rec != nil {
		f.rec, f.kept = *rec, true
		f.rec.notAfter(time.Now())
		f.rec.doubtFreed()
		f.rec.Owner = owner
	}
	f.seen = f.rec.Head
	return f, errors.Join(err, f.recover())
}

// Path is the absolute path of the live file.
func (f *File) Path() string { return f.path }

// Key is that of the live file; zero where there was none yet.
func (f *File) Key() Key {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rec.Key
}

// user is whom the file and its archives are for; nil is the server itself.
func (f *File) user() *Owner {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rec.Owner
}

// setUser says for whom they are from now on: for whom a launch opens the file.
func (f *File) setUser(owner *Owner) {
	if former := f.user(); former == owner || former != nil && owner != nil && *former == *owner {
		return
	}
	f.change(func() { f.rec.Owner, f.unsaved = owner, f.kept || f.unsaved })
}

// base is the position of the live file's first byte.
func (f *File) base() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rec.Base
}

// configure sets the rules of rotation; nil: the file is not rotated.
func (f *File) configure(rules *spec.Rotate) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = rules
	f.backoff = backoff{}
}

// holdBy says how the live file is opened, for reading and writing, when the
// path does not lead to it any more. A file of another key that open returns is
// not taken. nil: no more.
func (f *File) holdBy(open func() (int, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hold = open
}

// bind says that the live file is now the one with this key. If it is another
// than before, its first byte has the position that comes after all of the
// former one's, and at least base. If it is the same, base is what a run that
// was started with it was told: the file was truncated since if that is more
// than is known. Only where something changes a rotation is waited for.
func (f *File) bind(ctx context.Context, key Key, base uint64) error {
	// A new file may have the number of one that is gone; then it is shorter.
	// Otherwise an error does not matter.
	_, _ = f.measure(time.Now())
	if now := f.record(); key == now.Key && base <= now.Base {
		return nil
	}
	done, err := f.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	f.change(func() {
		if key == f.rec.Key {
			f.beginAt(max(base, f.rec.Head))
			return
		}
		f.beginAt(max(base, f.seen, f.rec.Head))
		f.rec.Key, f.rec.Born = key, 0
	})
	return nil
}

// change changes what is known, in memory.
func (f *File) change(how func()) {
	f.saving.Lock()
	defer f.saving.Unlock()
	f.layout.Lock()
	defer f.layout.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	how()
}

// beginAt gives the live file's first byte the position base, with nothing to
// free before it.
func (f *File) beginAt(base uint64) {
	f.rec.Base, f.rec.Head, f.rec.Freed, f.rec.Collapsing = base, base, 0, 0
	f.seen = max(f.seen, base)
	f.unsettled, f.unsaved = false, f.kept
}

// Bounds are the positions of the oldest byte that can be read and of the end.
// It waits for no rotation: while the head is being cut off, the end is that
// of the last look.
func (f *File) Bounds() (oldest, end uint64) {
	end, _ = f.measure(time.Now())
	f.mu.Lock()
	defer f.mu.Unlock()
	return min(f.rec.oldest(), end), end
}

// Segments are the archives, oldest first, and the live file last. There may be
// gaps between them.
func (f *File) Segments() []Segment {
	_, end := f.Bounds()
	f.mu.Lock()
	defer f.mu.Unlock()
	segments := make([]Segment, 0, len(f.rec.Archives)+1)
	for _, a := range f.rec.Archives {
		segments = append(segments, Segment{Start: a.Start, End: a.End, At: a.At, Archive: true})
	}
	return append(segments, Segment{Start: f.rec.Head, End: max(end, f.rec.Head)})
}

// shown is the file as others see it, but for Streams, Dropped and Fault.
func (f *File) shown() spec.OutputFile {
	_, end := f.Bounds()
	rec := f.record()
	o := spec.OutputFile{Path: f.path, Size: end - min(rec.Head, end), Written: end, Rotations: rec.Rotations}
	for _, a := range rec.Archives {
		o.Archives = append(o.Archives, f.show(a))
	}
	return o
}

func (f *File) show(a archive) spec.Archive {
	return spec.Archive{Path: filepath.Join(filepath.Dir(f.path), a.Name), Size: a.Size, Bytes: a.End - a.Start, At: a.At}
}

// record returns a copy of what is known.
func (f *File) record() record {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rec.clone()
}

// update changes the record on disk, and in memory once that has been done. An
// error of change stops it.
func (f *File) update(change func(*record) error) error {
	f.saving.Lock()
	defer f.saving.Unlock()
	next := f.record()
	if err := change(&next); err != nil {
		return err
	}
	if maybe, err := f.shared.records.save(&next); err != nil {
		f.mu.Lock()
		f.unsaved = f.unsaved || maybe
		f.mu.Unlock()
		return fmt.Errorf("save what is known of %s: %w", f.path, err)
	}
	f.layout.Lock()
	defer f.layout.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rec, f.kept, f.unsaved = next, true, false
	return nil
}

// save makes sure that what is on disk is what is known.
func (f *File) save() error {
	if f.isSaved() {
		return nil
	}
	return f.update(func(*record) error { return nil })
}

// isSaved tells whether what is on disk is surely what is known.
func (f *File) isSaved() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.unsaved
}

// take waits for the turn to change the live file, and gives it back by done.
func (f *File) take(ctx context.Context) (done func(), err error) {
	select {
	case f.turn <- struct{}{}:
		return func() { <-f.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// openLive opens the live file with these flags of open(2). errGone: there is
// none, or it cannot be reached any more.
func (f *File) openLive(flags int) (int, error) {
	f.mu.Lock()
	key, hold := f.rec.Key, f.hold
	f.mu.Unlock()
	fd, err := f.openPath(flags)
	if flags == unix.O_RDONLY && errors.Is(err, errUnsafe) {
		fd, err = f.openLaunched()
	}
	if err == nil && keyOf(fd) == key {
		return f.settled(fd)
	}
	if err == nil {
		unix.Close(fd)
		err = &os.PathError{Op: "open", Path: f.path, Err: errGone}
	}
	if hold == nil {
		return -1, err
	}
	if fd, heldErr := hold(); heldErr == nil {
		if keyOf(fd) == key {
			return f.settled(fd)
		}
		unix.Close(fd)
	}
	return -1, err
}

// settled returns fd, the live file, once it is known what lies where in it.
func (f *File) settled(fd int) (int, error) {
	if err := f.settle(fd); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// byLink tells whether a symbolic link at the path may lead to the live file.
// Archives lie beside the file itself, so it may not where there are, or are to
// be, any.
func (f *File) byLink() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rules == nil && len(f.rec.Archives) == 0
}

// isArchived tells whether there are archives.
func (f *File) isArchived() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.rec.Archives) > 0
}

// look looks at what is at the path.
func (f *File) look() (found, error) {
	flags := unix.AT_SYMLINK_NOFOLLOW
	if f.byLink() {
		flags = 0
	}
	return statx(unix.AT_FDCWD, f.path, flags)
}

func (f *File) openPath(flags int) (int, error) {
	reach := findPlace
	if f.byLink() {
		reach = followPlace
	}
	p, err := reach(f.path, f.user())
	if err != nil {
		return -1, err
	}
	defer p.close()
	return p.open(p.name, flags)
}
