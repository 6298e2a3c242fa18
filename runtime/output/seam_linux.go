package output

import (
	"bytes"
	"errors"
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
