package logs

import (
	"bytes"
	"time"
	"unicode/utf8"

	"kita/spec"
)

// timeSpan is how much later than the chunk's Time its other lines may be. A
// program that writes a thousand lines a second needs no thousand chunks.
const timeSpan = 100 * time.Millisecond

// turn is a place in the order in which lines are sent.
type turn struct {
	at    time.Time
	order int
}

func (t turn) before(o turn) bool {
	if !t.at.Equal(o.at) {
		return t.at.Before(o.at)
	}
	return t.order < o.order
}

// limits say where a chunk ends, besides at its size.
type limits struct {
	// until is the turn of another source; nil means there is none.
	until *turn
	// unfinished takes a last line without an end, too.
	unfinished bool
	// now is when what is read was noticed, and is the time of lines that have
	// no other. It is zero for what was written long ago.
	now time.Time
	// room is for the text; nothing of it is used by the chunk.
	room []byte
}

// look decides on the line of which next has returned the beginning.
func (f *feed) look(flt filter, line []byte, now time.Time) {
	if f.inLine {
		return
	}
	m := f.mark(line)
	switch {
	case !f.stamped():
		f.at = f.Source.TimeOf(f.pos)
	case !m.at.IsZero():
		f.at = m.at
	case f.at.IsZero():
		f.at = f.Source.TimeOf(f.pos)
	}
	if f.at.IsZero() {
		f.at = now
	}
	f.stream = m.stream
	if len(f.Streams) == 1 {
		f.stream = f.Streams[0]
	}
	f.shown = flt.shows(m, line)
}

// head is the turn of the next line; ok is false where there is none.
func (f *feed) head() (t turn, ok bool, err error) {
	if !f.stamped() && !f.inLine && f.gap == nil {
		// The file need not be read.
		return turn{f.Source.TimeOf(f.pos), f.order}, f.pos < f.until, nil
	}
	line, p, err := f.next()
	if err != nil || p == nothing {
		return turn{}, false, err
	}
	f.look(filter{}, line, time.Time{})
	return turn{f.at, f.order}, true, nil
}

// chunk takes lines that the filter lets through, of about one time and of
// one stream, until it has seen chunkSize bytes or comes to a limit. It may have none. more
// is false where nothing is left to take.
func (f *feed) chunk(flt filter, l limits) (c spec.LogChunk, after cursor, more bool, err error) {
	text := l.room[:0]
	after = f.cursor(time.Time{})
	for seen := 0; seen < chunkSize; {
		line, p, err := f.next()
		if err != nil || p == nothing || p == unfinished && !l.unfinished {
			return f.finish(c, text), after, false, err
		}
		f.look(flt, line, l.now)
		if f.shown {
			switch {
			case l.until != nil && l.until.before(turn{f.at, f.order}):
				return f.finish(c, text), after, true, nil
			case len(text) == 0:
				c.Time, c.Stream, c.Lost, f.lost = f.at, f.stream, f.lost, 0
			case f.lost > 0, !isNear(c.Time, f.at), c.Stream != f.stream, len(text)+len(line) > chunkSize:
				return f.finish(c, text), after, true, nil
			}
			text = append(text, line...)
			c.Partial = p != whole
		}
		seen += len(line)
		f.take(len(line), p)
		after = f.cursor(time.Time{})
		if c.Partial {
			break
		}
	}
	return f.finish(c, text), after, true, nil
}

// isNear tells whether a line of time t may be in a chunk of that Time.
func isNear(chunk, t time.Time) bool {
	if chunk.IsZero() || t.IsZero() {
		return chunk.IsZero() && t.IsZero()
	}
	later := t.Sub(chunk)
	return later >= 0 && later <= timeSpan
}

// finish puts the text into the chunk, as a copy.
func (f *feed) finish(c spec.LogChunk, text []byte) spec.LogChunk {
	c.Child, c.Source = f.Child, f.name
	if utf8.Valid(text) {
		c.Text = string(text)
	} else {
		c.Bytes = bytes.Clone(text)
	}
	return c
}
