package output

import (
	"bytes"
	"errors"
	"sync"

	"kita/runtime/exitlog"
)

// mostSeam is how many bytes before the head the record has, so that it can be
// told whether the live file still begins with what is in archives.
const mostSeam = 1024

// seamAt reads what lies in the live file before the offset end. That is done
// before what lies there is copied: then it shows if that changes meanwhile.
func (w *work) seamAt(end int64) ([]byte, error) {
	seam := make([]byte, min(end, mostSeam))
	n, err := preadEINTR(w.live, seam, end-int64(len(seam)))
	if err == nil && n < len(seam) {
		err = errTruncated
	}
	if err != nil {
		return nil, w.failed("read", err)
	}
	return seam, nil
}

// checkSeam makes sure that what lies before the head is what was archived, or
// the hole that was left of it. Where it is not, or the file does not go as far,
// somebody emptied it and it may have grown again: all that is in it comes after
// what was seen, and nothing of it is freed.
func (w *work) checkSeam() error {
	rec := w.f.record()
	if rec.Head == rec.Base {
		return nil
	}
	same, err := w.sameSeam(&rec)
	if err != nil || same {
		return err
	}
	w.f.shared.log.Warn("an output file was truncated, all that is in it counts as new", "path", w.f.path)
	w.f.change(func() {
		if w.f.rec.Base == rec.Base && w.f.rec.Head == rec.Head {
			w.f.beginAt(max(w.f.seen, rec.Head))
			w.f.hole = 0
		}
	})
	return nil
}

func (w *work) sameSeam(rec *record) (bool, error) {
	st, err := statFD(w.live)
	if err != nil {
		return false, w.failed("stat", err)
	}
	end := int64(rec.Head - rec.Base)
	if st.Size < end {
		return false, nil
	}
	hole := end / w.block * w.block
	data, err := firstData(w.live, st.Size)
	if err != nil {
		return false, w.failed("seek", err)
	}
	if data < int64(rec.Freed) {
		return false, nil
	}
	seam := rec.Seam[max(0, len(rec.Seam)-int(min(end, mostSeam))):]
	if len(seam) == 0 {
		return data >= hole, nil // of a file without a record
	}
	now, err := w.seamAt(end)
	if errors.Is(err, errTruncated) {
		return false, nil
	}
	if err != nil || len(now) < len(seam) {
		return false, err
	}
	now = now[len(now)-len(seam):]
	freed := min(max(hole-(end-int64(len(seam))), 0), int64(len(seam)))
	kept := bytes.Equal(now[freed:], seam[freed:])
	return kept && (bytes.Equal(now[:freed], seam[:freed]) || data >= hole), nil
}

var bootID = sync.OnceValues(exitlog.Boot)

// noteFreed keeps in mind how much of the hole before the head is one. Not all of
// it is on a file system that writes zeros instead, or does not tell.
func (w *work) noteFreed(hole int64) error {
	base := w.f.base()
	data, err := firstData(w.live, hole)
	if err != nil {
		return w.failed("seek", err)
	}
	boot, err := bootID()
	if err != nil {
		return err
	}
	freed := uint64(min(data, hole))
	w.f.change(func() {
		rec := &w.f.rec
		if rec.Base == base && rec.Freed < freed && freed <= rec.Head-rec.Base {
			rec.Freed, rec.Boot, w.f.unsaved = freed, boot, w.f.unsaved || w.f.kept
		}
	})
	return nil
}

// doubtFreed forgets what was freed before this boot: that it was on the disk is
// not known.
func (r *record) doubtFreed() {
	if boot, err := bootID(); err != nil || boot != r.Boot {
		r.Freed = 0
	}
}

// takenOut has the live file begin so many bytes later.
func (r *record) takenOut(bytes uint64) {
	r.Base += bytes
	r.Freed -= min(r.Freed, bytes)
}
