package output

import (
	"context"
	"errors"
	"io/fs"
	"math"
	goruntime "runtime"
	"time"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// stage is a point in a rotation at which tests try a crash.
type stage string

const (
	afterMaking    stage = "the number of the archive is recorded"
	afterCopy      stage = "the archive is written"
	afterRename    stage = "the archive has its name"
	afterCommit    stage = "the archive is recorded"
	afterPunch     stage = "the head is freed"
	beforeCollapse stage = "the collapse is recorded"
	afterCollapse  stage = "the head is taken out"
	afterPacking   stage = "the archive is packed"
	afterPackName  stage = "the packed archive has its name"
	afterPackNote  stage = "the packed archive is recorded"
	// whileReading is passed by a reader.
	whileReading stage = "it is known where to read"
)

// rotate makes archives of all complete lines, and returns those that were made
// and kept. They may come with an error. Where there is no file there is nothing
// to do.
func (f *File) rotate(ctx context.Context, now time.Time) ([]spec.Archive, error) {
	return f.archiveBy(ctx, now, func(w *work, ctx context.Context) error {
		if w.can == unable {
			return f.failed("rotate", errUnable)
		}
		return w.cutLines(ctx)
	})
}

// archiveAll is rotate, and takes an unfinished last line along.
func (f *File) archiveAll(ctx context.Context, now time.Time) ([]spec.Archive, error) {
	return f.archiveBy(ctx, now, (*work).cutAll)
}

func (f *File) archiveBy(ctx context.Context, now time.Time, cut func(*work, context.Context) error) (made []spec.Archive, err error) {
	if _, err := f.measure(now); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	done, err := f.take(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	next := f.record().Next
	err = politely(func() error { return f.with(now, func(w *work) error { return cut(w, ctx) }) })
	for _, a := range f.record().Archives {
		if a.Seq >= next {
			made = append(made, f.show(a))
		}
	}
	return made, err
}

// keepSmall does what the rules ask for now: it rotates a file that is large
// enough, or that was rotated long enough ago, takes the freed head out of a
// file that is quiet, and removes archives. After an error there is a back-off,
// in which it returns the same error. It may take as long as the disk does.
func (f *File) keepSmall(ctx context.Context, now time.Time) error {
	f.mu.Lock()
	last := f.backoff
	f.mu.Unlock()
	if now.Before(last.until) {
		return last.err
	}
	// Where it cannot be measured keep says why.
	_, _ = f.measure(now)
	if !f.wanting(now) {
		return nil
	}
	done, err := f.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	err = politely(func() error { return f.keep(ctx, now) })
	if ctx.Err() != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.backoff = f.backoff.after(now, err)
	return err
}

// keep is keepSmall for the holder of the turn.
func (f *File) keep(ctx context.Context, now time.Time) error {
	if err := f.prune(now, 0); err != nil {
		return err
	}
	if _, err := f.measure(now); err != nil {
		return err
	}
	f.mu.Lock()
	t := f.todo(now)
	f.mu.Unlock()
	if !t.every && !t.collapse && (t.size == 0 || t.held < t.size) {
		return nil
	}
	return f.with(now, func(w *work) error {
		if w.can == unable {
			return f.failed("rotate", errUnable)
		}
		t.free, t.total = w.fs.Bavail, w.fs.Blocks
		switch {
		case t.every:
			return w.cutLines(ctx)
		case due(t.size, t.standing):
			return w.cutSizes(ctx)
		}
		return nil
	})
}

// unruled is how a file is rotated of which nobody says how: what a command
// makes is kept.
var unruled = spec.Rotate{Size: 100_000_000, Keep: math.MaxInt, Compress: spec.NoCompression}

// work is a rotation under way. It belongs to the holder of the turn.
type work struct {
	f     *File
	now   time.Time
	rules spec.Rotate
	place *place
	live  int // read and write
	fs    unix.Statfs_t
	block int64
	can   ability
	// taken are the numbers of archives in the directory; nil: not looked yet.
	taken map[uint64]bool
}

// with opens what a rotation needs and does what is asked; then it removes
// what is not to be kept, and frees what is in archives.
func (f *File) with(now time.Time, do func(*work) error) error {
	w, err := f.begin(now)
	if err != nil {
		return err
	}
	defer w.close()
	if err := do(w); err != nil {
		return errors.Join(err, w.free())
	}
	if err := f.prune(now, 0); err != nil {
		return err
	}
	if err := w.free(); err != nil {
		return err
	}
	if err := w.collapseIfQuiet(); err != nil {
		return err
	}
	return f.save() // what was freed
}

func (f *File) begin(now time.Time) (*work, error) {
	f.mu.Lock()
	rules := unruled
	if f.rules != nil {
		rules = *f.rules
	}
	f.mu.Unlock()
	if err := f.save(); err != nil {
		return nil, err
	}
	place, err := makePlace(f.path, f.user())
	if err != nil {
		return nil, err
	}
	w := &work{f: f, now: now, rules: rules, place: place, live: -1}
	if err := w.open(); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *work) open() error {
	var err error
	if w.live, err = w.f.openLive(unix.O_RDWR); err != nil {
		return err
	}
	is, err := statx(w.live, "", unix.AT_EMPTY_PATH)
	if err != nil {
		return err
	}
	w.f.change(func() { w.f.rec.Born = is.born })
	if err := w.measureBlock(); err != nil {
		return err
	}
	if err := w.checkSeam(); err != nil {
		return err
	}
	if w.can, err = w.f.shared.volumes.of(w.place, is.key.Dev, w.block); err != nil {
		return err
	}
	return w.f.clear(w.place)
}

// measureBlock asks the file system for the size of its blocks.
func (w *work) measureBlock() error {
	if err := eachEINTR(func() error { return unix.Fstatfs(w.live, &w.fs) }); err != nil {
		return w.f.failed("statfs", err)
	}
	w.block = max(int64(w.fs.Bsize), 512)
	return nil
}

// errUnable: rotation in place needs one or the other.
var errUnable = errors.New("its file system can neither punch holes nor collapse: put the file on another, or write rotate: off")

func (w *work) close() {
	if w.live >= 0 {
		unix.Close(w.live)
	}
	w.place.close()
}

// cutSizes makes archives of the size in the rules, as many as there are.
func (w *work) cutSizes(ctx context.Context) error {
	end, err := w.f.measure(w.now)
	if err != nil {
		return err
	}
	for {
		head := w.f.record().Head
		if end-min(head, end) < w.rules.Size {
			return nil
		}
		to, err := w.chooseEnd(head, end)
		if err == nil {
			err = w.cut(ctx, to)
		}
		if err == nil {
			err = w.free()
		}
		if err != nil {
			return err
		}
	}
}

// cutLines makes archives of all complete lines.
func (w *work) cutLines(ctx context.Context) error {
	if err := w.cutSizes(ctx); err != nil {
		return err
	}
	end, err := w.f.measure(w.now)
	if err != nil {
		return err
	}
	head := w.f.record().Head
	to, ok, err := w.lastLineEnd(head, end)
	if err != nil || !ok {
		w.f.mu.Lock()
		w.f.begun = w.now // of nothing every makes no archive
		w.f.mu.Unlock()
		return err
	}
	return w.cut(ctx, to)
}

// cutAll makes archives of all there is.
func (w *work) cutAll(ctx context.Context) error {
	if err := w.cutSizes(ctx); err != nil {
		return err
	}
	end, err := w.f.measure(w.now)
	if err != nil || end <= w.f.record().Head {
		return err
	}
	return w.cut(ctx, end)
}

// collapseIfQuiet takes the hole out, or leaves a note that this is to be done.
func (w *work) collapseIfQuiet() error {
	end, err := w.f.measure(w.now)
	if err != nil {
		return err
	}
	w.noteHole()
	w.f.mu.Lock()
	now := w.f.collapseDue(end)
	w.f.mu.Unlock()
	if !now {
		return nil
	}
	err = w.collapse()
	w.noteHole()
	return err
}

func (w *work) noteHole() {
	hole := uint64(0)
	if w.can == collapses {
		hole = uint64(w.hole())
	}
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	w.f.hole = hole
}

// niceness of what is done beside the children's work, see setpriority(2).
const niceness = 10

// politely calls do on a thread of low priority.
func politely(do func() error) error {
	done := make(chan error, 1)
	go func() {
		// The thread ends with the goroutine: an ordinary user cannot take a low
		// priority back.
		goruntime.LockOSThread()
		// It goes on without, where the server's own priority is lower.
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, niceness)
		done <- do()
	}()
	return <-done
}
