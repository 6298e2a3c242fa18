package output

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// ability is how a file system frees the head of a file.
type ability int

const (
	// unable: not at all.
	unable ability = iota
	// punches: the file keeps its length and becomes sparse.
	punches
	// collapses: what was punched can be taken out.
	collapses
)

// volumes knows what the file systems can do, by device.
type volumes struct {
	mu    sync.Mutex
	known map[uint64]ability
}

// of returns what the file system of device dev can do, and tries it in the
// place's directory the first time. A full disk is tried again the next time.
func (v *volumes) of(p *place, dev uint64, block int64) (ability, error) {
	v.mu.Lock()
	a, ok := v.known[dev]
	v.mu.Unlock()
	if ok {
		return a, nil
	}
	a, err := try(p, block)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return punches, nil
	}
	if err != nil {
		return unable, err
	}
	v.set(dev, a)
	return a, nil
}

func (v *volumes) set(dev uint64, a ability) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.known == nil {
		v.known = map[uint64]ability{}
	}
	v.known[dev] = a
}

// try finds out by a file of its own.
func try(p *place, block int64) (ability, error) {
	name := tempName(p.name, "try")
	if err := p.remove(name); err != nil {
		return unable, err
	}
	fd, err := p.create(name, 0o600)
	if err != nil {
		return unable, err
	}
	defer unix.Close(fd)
	if err := p.remove(name); err != nil {
		return unable, err
	}
	if err := pwriteAll(fd, bytes.Repeat([]byte{'x'}, int(3*block)), 0); err != nil {
		return unable, p.failed("write", name, err)
	}
	if punch(fd, 0, block) != nil {
		return unable, nil
	}
	if unix.Fallocate(fd, unix.FALLOC_FL_COLLAPSE_RANGE, 0, block) != nil {
		return punches, nil
	}
	st, err := statFD(fd)
	if err != nil || st.Size != 2*block {
		return punches, err
	}
	return collapses, nil
}

func punch(fd int, from, length int64) error {
	return eachEINTR(func() error {
		return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, from, length)
	})
}

func eachEINTR(do func() error) error {
	for {
		if err := do(); err != unix.EINTR {
			return err
		}
	}
}

func pwriteAll(fd int, b []byte, at int64) error {
	for len(b) > 0 {
		n, err := unix.Pwrite(fd, b, at)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		b, at = b[n:], at+int64(n)
	}
	return nil
}

// firstData is the offset of the first byte that is not in a hole; size, or
// more, where there is none.
func firstData(fd int, size int64) (int64, error) {
	at, err := unix.Seek(fd, 0, unix.SEEK_DATA)
	if err == unix.ENXIO {
		return size, nil
	}
	return at, err
}

// punchPiece is how much is freed at once: the kernel holds up whoever writes to
// the file for the time that it takes, about 12 ms for 100 MB.
const punchPiece = 4 << 20

// free gives the space of what is in archives back to the file system. It does
// nothing where that was done.
func (w *work) free() error {
	if err := w.checkSeam(); err != nil {
		return err
	}
	hole := w.hole()
	if hole == 0 || w.can == unable {
		return nil
	}
	st, err := statFD(w.live)
	if err != nil {
		return w.failed("stat", err)
	}
	if st.Size < hole {
		// Truncated by somebody: what is there now is not what was copied.
		_, err := w.f.measure(w.now)
		return err
	}
	at, err := firstData(w.live, st.Size)
	if err != nil {
		return w.failed("seek", err)
	}
	for at -= at % punchPiece; at < hole; at += punchPiece {
		if err := punch(w.live, at, min(punchPiece, hole-at)); err != nil {
			return w.failed("punch a hole", err)
		}
	}
	if err := w.noteFreed(hole); err != nil {
		return err
	}
	w.f.shared.passed(afterPunch)
	return nil
}

// hole is how many bytes at the beginning of the live file are to be freed:
// whole blocks of what lies before the head.
func (w *work) hole() int64 {
	rec := w.f.record()
	return int64(rec.Head-rec.Base) / w.block * w.block
}

// collapse takes the hole at the beginning out of the file, where the file
// system can, and something lies behind it. Nothing depends on it: it keeps the
// file from looking big.
//
// What was punched is on the disk before the record says that it collapses. So
// whether a hole is at the beginning tells after a crash how far it came.
func (w *work) collapse() error {
	hole := w.hole()
	if hole == 0 || w.can != collapses {
		return nil
	}
	st, err := statFD(w.live)
	if err != nil || st.Size <= hole {
		return err
	}
	if err := w.free(); err != nil {
		return err
	}
	if err := unix.Fsync(w.live); err != nil {
		return w.failed("sync", err)
	}
	if err := w.f.update(func(r *record) error { r.Collapsing = uint64(hole); return nil }); err != nil {
		return err
	}
	w.f.shared.passed(beforeCollapse)
	if err := w.takeOut(hole); err != nil {
		return err
	}
	w.f.shared.passed(afterCollapse)
	if err := unix.Fsync(w.live); err != nil {
		return w.failed("sync", err)
	}
	return w.f.save()
}

// takeOut does it, while nobody reads the live file.
func (w *work) takeOut(hole int64) error {
	f := w.f
	f.saving.Lock()
	defer f.saving.Unlock()
	f.layout.Lock()
	defer f.layout.Unlock()
	err := eachEINTR(func() error { return unix.Fallocate(w.live, unix.FALLOC_FL_COLLAPSE_RANGE, 0, hole) })
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rec.Collapsing, f.unsaved = 0, true
	switch err {
	case nil:
		f.rec.takenOut(uint64(hole))
	case unix.EINVAL, unix.EOPNOTSUPP:
		// It could with the file that it was tried with; this one may have been
		// truncated, or have larger blocks.
		w.can = punches
	default:
		return w.failed("collapse", err)
	}
	return nil
}

func (w *work) failed(op string, err error) error { return w.f.failed(op, err) }

func (f *File) failed(op string, err error) error { return fmt.Errorf("%s %s: %w", op, f.path, err) }
