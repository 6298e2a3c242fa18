package logs

import (
	"bytes"
	"errors"
	"io"
	"math"
	"sync"
	"time"
	"unicode/utf8"

	"kita/spec"
)

// chunkSize is the most bytes of a chunk, and of a line that is sent in one
// piece.
const chunkSize = 64 << 10

// noBound is a feed's until when nothing bounds it.
const noBound = math.MaxUint64

// feed cuts a source into lines. It belongs to one goroutine.
type feed struct {
	Named
	// name is that of the source, and identity what identityOf was when pos was
	// chosen.
	name, identity string
	// order is its place among those that have a line of the same time.
	order int

	// pos is the position of what is to be taken next, and of held[0]. Nothing is
	// read from until on.
	pos, until uint64
	// inLine: the line that goes on at pos began before. shown is what was
	// decided of it, at and stream what was found in it.
	inLine, shown bool
	at            time.Time
	stream        spec.StreamName

	// reader, buffer and held are nil while nothing is read. held is the part of
	// buffer that has been read and not taken.
	reader Reader
	buffer *[chunkSize]byte
	held   []byte
	// gap is what the reader found missing behind held.
	gap *LostError
	// lost is how many bytes before pos are missing that nobody was told of.
	lost uint64
}

// buffers are those that no feed uses.
var buffers = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// piece is how much of a line next has found.
type piece int

const (
	// nothing: there is no more to be read.
	nothing piece = iota
	// whole: the line's end is there.
	whole
	// goesOn: what is there is as long as a chunk, or what follows is lost.
	goesOn
	// unfinished: what is there is all that has been written.
	unfinished
)

// next returns the next line with its end, or the piece of it that there is, at
// most chunkSize bytes. It is taken with take, and until then returned again.
// The bytes are valid until the next call.
func (f *feed) next() ([]byte, piece, error) {
	end := bytes.IndexByte(f.held, '\n')
	for end < 0 && f.gap == nil && len(f.held) < chunkSize {
		n, err := f.read()
		if err != nil {
			return nil, nothing, err
		}
		if n == 0 {
			break
		}
		if i := bytes.IndexByte(f.held[len(f.held)-n:], '\n'); i >= 0 {
			end = len(f.held) - n + i
		}
	}
	switch {
	case end >= 0:
		return f.held[:end+1], whole, nil
	case len(f.held) == chunkSize:
		return wholeRunes(f.held), goesOn, nil
	case f.gap != nil && len(f.held) > 0:
		return f.held, goesOn, nil
	case f.gap != nil:
		f.skipGap()
		return f.next()
	case len(f.held) > 0:
		return f.held, unfinished, nil
	}
	return nil, nothing, nil
}

// skipGap goes on behind what is lost, where a line begins.
func (f *feed) skipGap() {
	f.lost += f.gap.To - f.pos
	f.pos, f.inLine, f.gap = f.gap.To, false, nil
}

// read appends to held. At the present end and at until it returns 0, and also
// where it has found a gap.
func (f *feed) read() (n int, err error) {
	behind := f.pos + uint64(len(f.held))
	if behind >= f.until {
		return 0, nil
	}
	if f.reader == nil {
		r, err := f.Source.Open(behind)
		if err != nil {
			return 0, err
		}
		f.reader = r
	}
	if f.buffer == nil {
		f.buffer = buffers.Get().(*[chunkSize]byte)
	}
	if cap(f.held) < chunkSize {
		// What was taken lies before it: move it to the front.
		f.held = f.buffer[:copy(f.buffer[:], f.held)]
	}
	held := len(f.held)
	room := min(uint64(chunkSize-held), f.until-behind)
	n, err = f.reader.Read(f.held[held : held+int(room)])
	f.held = f.held[:held+n]
	var gap *LostError
	switch {
	case err == nil && n == 0:
		return 0, io.ErrNoProgress
	case errors.As(err, &gap):
		f.gap = &LostError{From: behind + uint64(n), To: max(gap.To, behind+uint64(n))}
	case err != nil && !errors.Is(err, io.EOF):
		return n, err
	}
	return n, nil
}

// take is called when n bytes of what next returned have been dealt with.
func (f *feed) take(n int, p piece) {
	f.held = f.held[n:]
	f.pos += uint64(n)
	f.inLine = p != whole
}

// close gives back the file and the memory. The feed goes on at pos when it is
// read again.
func (f *feed) close() {
	if f.reader != nil {
		_ = f.reader.Close()
	}
	if f.buffer != nil {
		buffers.Put(f.buffer)
	}
	f.reader, f.buffer, f.held, f.gap = nil, nil, nil, nil
}

// cursor is the place at which the feed goes on.
func (f *feed) cursor(now time.Time) cursor {
	return cursor{pos: f.pos, place: placeOf(f.inLine, f.shown), at: now, identity: f.identity}
}

// wholeRunes leaves out the beginning of a character at the end of text, if it
// has valid characters otherwise.
func wholeRunes(text []byte) []byte {
	for n := 1; n < utf8.UTFMax && n < len(text); n++ {
		if last := text[len(text)-n:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				return text[:len(text)-n]
			}
			break
		}
	}
	return text
}
