package output

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"
)

// expired is how many archives, from the oldest on, the rules do not keep; mu is
// held.
func (f *File) expired(now time.Time) int { return f.excess(now, 0) }

// excess is expired for when so many archives more are to be made.
func (f *File) excess(now time.Time, more int) int {
	if f.rules == nil {
		return 0
	}
	all := f.rec.Archives
	n := beyond(all, f.rules.Keep, more)
	if f.rules.MaxAge > 0 {
		for n < len(all) && !now.Before(all[n].At.Add(f.rules.MaxAge.D())) {
			n++
		}
	}
	return n
}

// beyond is how many archives, from the oldest on, are to go for no more than keep
// to be there when so many more are made.
func beyond(all []archive, keep, more int) int {
	kept := more
	for i := len(all) - 1; i >= 0; i-- {
		// One that is made next is the rest of a last one that is a part.
		if !all[i].Part || i == len(all)-1 && more == 0 {
			kept++
		}
		if kept > keep {
			return i + 1
		}
	}
	return 0
}

// prune removes the archives that the rules do not keep, when so many more are
// to be made.
func (f *File) prune(now time.Time, more int) error {
	f.mu.Lock()
	old := slices.Clone(f.rec.Archives[:f.excess(now, more)])
	f.mu.Unlock()
	return f.removeArchives(old)
}

// pruneFor makes room for one more archive; freed: something was removed.
func (f *File) pruneFor(now time.Time) (freed bool, err error) {
	before := len(f.record().Archives)
	err = f.prune(now, 1)
	return len(f.record().Archives) < before, err
}

// removeArchives removes archives. Who reads one now reads it to its end. The
// file goes first: what the record names and is not there is only forgotten.
func (f *File) removeArchives(old []archive) error {
	if len(old) == 0 {
		return nil
	}
	p, err := findPlace(f.path, f.user())
	gone := errors.Is(err, fs.ErrNotExist)
	if err != nil && !gone {
		return err
	}
	if !gone {
		defer p.close()
	}
	for _, a := range old {
		if !gone {
			if err := p.remove(a.Name); err != nil {
				return err
			}
		}
		name, err := f.forget(a.Seq)
		if err != nil {
			return err
		}
		if !gone && name != "" && name != a.Name {
			// It was packed meanwhile.
			if err := p.remove(name); err != nil {
				return err
			}
		}
	}
	oldest, _ := f.Bounds()
	// The index only tells times; a long one does no harm.
	_ = f.times.trim(oldest)
	return nil
}

// forget takes an archive out of the record, and returns the name that it had
// there; empty: it was not there.
func (f *File) forget(seq uint64) (name string, err error) {
	err = f.update(func(r *record) error {
		r.Archives = slices.DeleteFunc(r.Archives, func(a archive) bool {
			if a.Seq == seq {
				name = a.Name
			}
			return a.Seq == seq
		})
		return nil
	})
	return name, err
}

// diskBlock is what the size of an archive is rounded up to, as file systems do.
const diskBlock = 4096

func (a archive) used() uint64 { return (a.Size + diskBlock - 1) / diskBlock * diskBlock }

// used is how many bytes the file and its archives take on the disk. The live
// file counts while it is rotated.
func (f *File) used() uint64 {
	sum := f.held()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.rec.Archives {
		sum += a.used()
	}
	return sum
}

// held is how many bytes a rotated file has that are in no archive, at the last
// look. It has no more on the disk: what is in archives is freed.
func (f *File) held() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rules == nil {
		return 0
	}
	return f.seen - min(f.rec.Head, f.seen)
}

// enforceBudget removes archives, the oldest of all files first, until files take
// no more than budget bytes together. If that is not enough it removes as much as is
// too much from the head of the largest live file. It returns the errors, and goes on where it can.
func enforceBudget(ctx context.Context, now time.Time, files []*File, budget uint64) error {
	used := uint64(0)
	for _, f := range files {
		used += f.used()
	}
	var errs []error
	done := map[*File]bool{} // or nothing can be done
	for used > budget && ctx.Err() == nil {
		f, a := oldestOf(files, done)
		if f == nil {
			break
		}
		if err := f.removeArchives([]archive{a}); err != nil {
			errs = append(errs, err)
			done[f] = true
			continue
		}
		used -= min(used, a.used())
	}
	clear(done)
	for used > budget && ctx.Err() == nil {
		f := largestOf(files, done)
		if f == nil {
			break
		}
		done[f] = true
		before := f.held()
		if err := f.drop(ctx, now, used-budget); err != nil {
			errs = append(errs, err)
		}
		used -= min(used, before-min(before, f.held()))
	}
	return errors.Join(errs...)
}

// oldestOf is the file with the oldest archive, nil where there is none.
func oldestOf(files []*File, but map[*File]bool) (found *File, oldest archive) {
	for _, f := range files {
		a, ok := f.oldestArchive()
		if ok && !but[f] && (found == nil || a.At.Before(oldest.At)) {
			found, oldest = f, a
		}
	}
	return found, oldest
}

func (f *File) oldestArchive() (a archive, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.rec.Archives) == 0 {
		return archive{}, false
	}
	return f.rec.Archives[0], true
}

// largestOf is the rotated file that holds the most, nil where all are empty.
func largestOf(files []*File, but map[*File]bool) *File {
	var found *File
	most := uint64(0)
	for _, f := range files {
		if held := f.held(); held > most && !but[f] {
			found, most = f, held
		}
	}
	return found
}

// drop removes the first so many bytes of the live file, and what is left of the
// line there.
func (f *File) drop(ctx context.Context, now time.Time, bytes uint64) error {
	done, err := f.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	return politely(func() error {
		return f.with(now, func(w *work) error {
			if w.can == unable {
				return f.failed("rotate", errUnable) // it would be hidden, and stay
			}
			return w.dropHead(bytes)
		})
	})
}

func (w *work) dropHead(bytes uint64) error {
	end, err := w.f.measure(w.now)
	rec := w.f.record()
	if err != nil || bytes == 0 || end <= rec.Head {
		return err
	}
	to := rec.Head + min(bytes, end-rec.Head)
	// The byte before may be a line end itself.
	lineEnd, err := w.nextLineEnd(to-1, end)
	if err != nil {
		return err
	}
	to = max(to, lineEnd)
	seam, err := w.seamAt(int64(to - rec.Base))
	if err != nil {
		return err
	}
	return w.commit(rec.Base, to, seam, nil)
}
