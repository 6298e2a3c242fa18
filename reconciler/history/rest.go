package history

import (
	"bytes"
	"slices"
)

// Rest is what could not be written, of a disk that is full or hangs: a version that
// takes over in order goes on with it. The zero value is nothing.
type Rest struct {
	// Lines are as they are to be in the file.
	Lines []byte `json:"lines,omitempty"`
	// Lost counts the events of which that is to be told still.
	Lost uint64 `json:"lost,omitempty"`
	// Seq is the latest number that was given out.
	Seq uint64 `json:"seq,omitempty"`
}

// Rest returns what is left to be written after Close.
func (h *History) Rest() Rest {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := Rest{Lost: h.pending.lost, Seq: h.seq}
	select {
	case <-h.done:
		batch := h.out.batch
		if h.out.cut {
			// Another writer begins a line of its own behind what is there of this one.
			batch = batch[bytes.IndexByte(batch, '\n')+1:]
			r.Lost++
		}
		r.Lines = slices.Concat(batch, h.pending.lines)
	default:
		// The writer is still at it. Lines that come to be there twice count once.
		if h.pending.inWork {
			r.Lines = h.pending.taken
		}
		r.Lines = slices.Concat(r.Lines, h.pending.lines)
	}
	return r
}

// takeRest makes r what is written first. It comes before the writer begins.
func (h *History) takeRest(r Rest) {
	h.seq = max(h.seq, r.Seq)
	h.pending.lines = r.Lines
	h.pending.lost, h.pending.lostEver = r.Lost, r.Lost
	if h.known == nil {
		h.known = map[turn]bool{}
	}
	readEvents(r.Lines, h.known)
	if !h.pending.isEmpty() {
		put(h.wake)
	}
}
