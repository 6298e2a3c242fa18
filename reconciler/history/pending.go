package history

import (
	"strconv"
	"time"

	"kita/spec"
)

// maxPending bounds, in bytes, what waits to be written: many thousand children may
// start at once. maxFailing does while the disk takes nothing, which may last.
const maxPending, maxFailing = 4 << 20, 512 << 10

// maxSpare is the largest buffer that is kept for the next events.
const maxSpare = 64 << 10

// pending are the lines that wait to be written. It is guarded by History.mu.
type pending struct {
	lines []byte
	// inWork: the writer has taken lines that are not written yet.
	inWork bool
	// taken are the latest that the writer took, as it took them.
	taken []byte
	// lost counts the events since the last that told of it, lostEver all.
	lost, lostEver uint64
}

func (p *pending) isEmpty() bool { return len(p.lines) == 0 && p.lost == 0 }

// add appends a line, which begins behind its Seq; false where that would be more
// than most.
func (p *pending) add(seq uint64, line []byte, most int) bool {
	if len(p.lines)+len(line)+len(lineStart)+20 > most {
		return false
	}
	p.put(seq, line)
	return true
}

func (p *pending) put(seq uint64, line []byte) {
	p.lines = append(p.lines, lineStart...)
	p.lines = strconv.AppendUint(p.lines, seq, 10)
	p.lines = append(p.lines, line...)
}

func (p *pending) lose() {
	p.lost++
	p.lostEver++
}

// take returns what there is, and leaves spare to collect what comes. why is why
// events were lost, where some were. mu is held.
func (h *History) take(spare []byte, why error) []byte {
	p := &h.pending
	if p.lost > 0 {
		e := spec.Event{Type: spec.EventLost, Lost: p.lost, Message: "they came faster than they could be written"}
		if why != nil {
			e.Message = why.Error()
		}
		// There is room for it: all is written now.
		if line, err := encode(&e, time.Now()); err == nil {
			h.seq++
			p.put(h.seq, line)
			p.lost = 0
		}
	}
	lines := p.lines
	p.lines, p.inWork = spare, len(lines) > 0
	return lines
}
