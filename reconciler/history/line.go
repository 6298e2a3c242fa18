package history

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"time"

	"kita/spec"
)

// maxSeq is the largest number that every reader of JSON takes.
const maxSeq = 1 << 53

// head is what decides whether a line is wanted.
type head struct {
	Seq   uint64         `json:"seq"`
	At    time.Time      `json:"time"`
	Child string         `json:"child"`
	Type  spec.EventType `json:"type"`
}

// readHead reads the head of a line; false where the line is no event. A line that
// was written here is not parsed as a whole, for that takes ten times as long.
func readHead(line []byte) (h head, ok bool) {
	h, ok = scanHead(line)
	if !ok {
		h = head{}
		ok = json.Unmarshal(line, &h) == nil
	}
	return h, ok && h.Seq > 0 && h.Seq <= maxSeq && h.Type != ""
}

// scanHead reads the head of a line as encode makes it.
func scanHead(line []byte) (h head, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte(lineStart))
	if !ok || len(line) < 2 || line[len(line)-1] != '}' {
		return h, false
	}
	end := bytes.IndexByte(rest, ',')
	if end < 0 {
		return h, false
	}
	var err error
	if h.Seq, err = strconv.ParseUint(string(rest[:end]), 10, 64); err != nil {
		return h, false
	}
	rest = rest[end:]
	at, rest, ok := member(rest, `,"time":"`)
	if !ok || h.At.UnmarshalText(at) != nil {
		return h, false
	}
	if child, behind, ok := member(rest, `,"child":"`); ok {
		h.Child, rest = string(child), behind
	}
	kind, _, ok := member(rest, `,"type":"`)
	h.Type = spec.EventType(kind)
	return h, ok
}

// member cuts a member off whose value is a string with nothing escaped in it.
func member(text []byte, start string) (value, rest []byte, ok bool) {
	rest, ok = bytes.CutPrefix(text, []byte(start))
	if !ok {
		return nil, text, false
	}
	end := bytes.IndexByte(rest, '"')
	if end < 0 || bytes.IndexByte(rest[:end], '\\') >= 0 {
		return nil, text, false
	}
	return rest[:end], rest[end+1:], true
}

// lines yields the whole lines of what r has, without their ends. What is longer
// than any line is passed over. It says how many bytes the lines took, and stops
// where the last one has no end yet.
type lines struct {
	r *bufio.Reader
	// at is where the next line begins.
	at int64
}

// begin has l read r, whose first byte is at so much.
func (l *lines) begin(r io.Reader, at int64) {
	if l.r == nil {
		l.r = bufio.NewReaderSize(nil, maxLine)
	}
	l.r.Reset(r)
	l.at = at
}

// next returns the next whole line, valid until the call after; io.EOF where there
// is none yet.
func (l *lines) next() ([]byte, error) {
	for {
		line, err := l.r.ReadSlice('\n')
		switch {
		case err == nil:
			l.at += int64(len(line))
			return line[:len(line)-1], nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
		if err := l.skip(int64(len(line))); err != nil {
			return nil, err
		}
	}
}

// skip passes over the rest of a line of which n bytes were read.
func (l *lines) skip(n int64) error {
	for {
		more, err := l.r.ReadSlice('\n')
		n += int64(len(more))
		switch {
		case err == nil:
			l.at += n
			return nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}
