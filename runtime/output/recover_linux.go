package output

import (
	"errors"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// recover finds the live file, and finishes what a former server was interrupted
// in. A file or directory that is gone is no error.
func (f *File) recover() error {
	f.unsettled = f.rec.Collapsing > 0
	got, err := f.look()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // or held by a process, as may be told later
	case err != nil:
		return err
	}
	f.identify(got)
	if got.key != f.rec.Key {
		return nil
	}
	if !f.kept {
		return f.skipHole(got)
	}
	p, err := findPlace(f.path, f.user())
	if err != nil {
		return err
	}
	defer p.close()
	return errors.Join(f.clear(p), f.clearPacks(p), f.freeAgain())
}

// identify says which file is the live one, of what is at the path now.
func (f *File) identify(got found) {
	switch {
	case !got.regular:
	case f.rec.Key == Key{}:
		f.rec.Key, f.rec.Born = got.key, got.born
	case got.same(&f.rec):
		f.rec.Key = got.key
	case got.key == f.rec.Key:
		// Its file is gone, and the number was given to this one.
		f.beginAt(f.rec.Head)
		f.rec.Born = got.born
	}
}

// skipHole has a file without a record begin behind the hole at its head: what
// was there was rotated by a server of which no state is left.
func (f *File) skipHole(got found) error {
	if got.allocated >= got.size {
		return nil
	}
	fd, err := f.openLive(unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	at, err := firstData(fd, int64(got.size))
	if err != nil {
		return f.failed("seek", err)
	}
	f.change(func() { f.rec.Head = uint64(at); f.seen = max(f.seen, f.rec.Head) })
	return nil
}

// settle finds out whether a crash came before or after the head was taken out
// of the live file, which is open as fd: what was to be taken out was a hole.
func (f *File) settle(fd int) error {
	f.mu.Lock()
	unsettled := f.unsettled
	f.mu.Unlock()
	if !unsettled {
		return nil
	}
	var err error
	f.change(func() {
		if !f.unsettled {
			return
		}
		var at int64
		if at, err = unix.Seek(fd, 0, unix.SEEK_DATA); err != nil && err != unix.ENXIO {
			err = f.failed("seek", err)
			return
		}
		if err == nil && at == 0 {
			f.rec.takenOut(f.rec.Collapsing)
		}
		f.rec.Collapsing, f.unsettled, f.unsaved, err = 0, false, true, nil
	})
	return err
}

// clearPacks removes, of two files of one archive, that which the record does not
// name, and what was not finished.
func (f *File) clearPacks(p *place) error {
	errs := []error{p.remove(tempName(p.name, toPack))}
	for _, a := range f.rec.Archives {
		plain, c := cutEnding(a.Name)
		if c != spec.NoCompression {
			errs = append(errs, p.removeRegular(plain))
			continue
		}
		for _, ending := range endings {
			errs = append(errs, p.removeRegular(plain+ending))
		}
	}
	return errors.Join(errs...)
}

// clear removes what there is of an archive that was being made.
func (f *File) clear(p *place) error {
	seq := f.record().Making
	if seq == 0 {
		return nil
	}
	plain := archiveName(p.name, seq)
	errs := []error{p.remove(tempName(p.name, toCopy)), p.removeRegular(plain)}
	for _, ending := range endings {
		errs = append(errs, p.removeRegular(plain+ending))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return f.update(func(r *record) error { r.Making = 0; return nil })
}

// freeAgain frees what a crash has left of the head, unless the file has become
// shorter since.
func (f *File) freeAgain() error {
	fd, err := f.openLive(unix.O_RDWR)
	if err != nil {
		return err
	}
	w := &work{f: f, live: fd, can: punches}
	defer unix.Close(fd)
	if _, err := f.measure(time.Now()); err != nil {
		return err
	}
	if err := w.measureBlock(); err != nil {
		return err
	}
	err = w.free()
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil // nor could it be rotated
	}
	f.hole = uint64(w.hole())
	return err
}
