package output

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// empty has the live file begin empty, for a new run; fd is it, open for writing.
// archive: what it holds becomes an archive first. Where that cannot be, nothing
// is lost: the run writes after what is there, and keepSmall returns the error.
// An error is that of truncating, or of ctx.
func (f *File) empty(ctx context.Context, fd int, archive bool, now time.Time) error {
	if archive {
		if _, err := f.archiveAll(ctx, now); err != nil {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.backoff = f.backoff.after(now, err)
			return ctx.Err()
		}
	}
	done, err := f.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	if _, err := f.measure(now); err != nil {
		return err
	}
	if err := f.truncate(fd, archive); err != nil {
		return err
	}
	if !f.isKept() {
		return nil
	}
	// Whoever reads the record without a run that tells more.
	return f.save()
}

func (f *File) isKept() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.kept
}

// truncate cuts the file to nothing, and its positions go on. careful: not if
// something is in it that is in no archive, of another run.
func (f *File) truncate(fd int, careful bool) error {
	var err error
	f.change(func() {
		st, statErr := statFD(fd)
		size := uint64(st.Size)
		switch {
		case statErr != nil:
			err = &os.PathError{Op: "stat", Path: f.path, Err: statErr}
			return
		case size == 0, careful && f.rec.Base+size > f.rec.Head:
			return
		}
		if truncErr := unix.Ftruncate(fd, 0); truncErr != nil {
			err = &os.PathError{Op: "truncate", Path: f.path, Err: truncErr}
			return
		}
		f.beginAt(max(f.rec.Base+size, f.seen))
		f.hole = 0
	})
	return err
}

// extent are the positions of the first byte in the live file, which is open as
// fd, and of its end.
func (f *File) extent(fd int) (base, end uint64, err error) {
	f.layout.RLock()
	defer f.layout.RUnlock()
	st, err := statFD(fd)
	if err != nil {
		return 0, 0, err
	}
	base = f.base()
	return base, base + uint64(st.Size), nil
}
