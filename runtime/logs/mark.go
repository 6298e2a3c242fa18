package logs

import (
	"bytes"
	"encoding/json"
	"time"

	"kita/spec"
)

// mark is what a pump adds to a line.
type mark struct {
	at     time.Time       // zero: it has none
	stream spec.StreamName // empty: it has none
	// foreign: the line is of another child that has the same file.
	foreign bool
}

// stampSize is more than a time stamp has.
const stampSize = 64

// mark reads what a pump has added to a line. What the line has not, because a
// pump of other settings wrote it or none, is left empty.
func (n *Named) mark(line []byte) mark {
	if !n.Timestamps && !n.Prefix {
		return mark{}
	}
	switch n.Format {
	case spec.Text:
		return n.textMark(line)
	case spec.JSON:
		return n.jsonMark(line)
	}
	return mark{}
}

// textMark reads "2026-11-21T13:17:41.123456Z web err: LINE".
func (n *Named) textMark(line []byte) (m mark) {
	if n.Timestamps {
		head := line[:min(len(line), stampSize)]
		if stamp, _, found := bytes.Cut(head, []byte(" ")); found {
			if at, ok := parseStamp(stamp); ok {
				m.at, line = at, line[len(stamp)+1:]
			}
		}
	}
	if !n.Prefix {
		return m
	}
	child, rest, found := bytes.Cut(line, []byte(" "))
	if !found || !bytes.HasPrefix(rest, []byte("out: ")) && !bytes.HasPrefix(rest, []byte("err: ")) {
		return m
	}
	m.of(n.Child, child, rest[:3])
	return m
}

// jsonMark reads {"time":"…","child":"web","stream":"err",…}. That is how the
// pump begins a line; other orders are understood as well, in objects that are
// whole.
func (n *Named) jsonMark(line []byte) (m mark) {
	rest := line
	stamp, rest, stamped := cutField(rest, '{', "time")
	opening := byte(',')
	if !stamped {
		opening = '{'
	}
	child, rest, named := cutField(rest, opening, "child")
	stream, _, streamed := cutField(rest, ',', "stream")
	if stamped || named && streamed {
		m.at, _ = parseStamp(stamp)
		if named && streamed {
			m.of(n.Child, child, stream)
		}
		if !n.Prefix || named && streamed {
			return m
		}
	}
	var object struct{ Time, Child, Stream string }
	if !bytes.HasPrefix(line, []byte("{")) || json.Unmarshal(line, &object) != nil {
		return m
	}
	m.at, _ = parseStamp([]byte(object.Time))
	m.of(n.Child, []byte(object.Child), []byte(object.Stream))
	return m
}

// cutField takes a field off the front of an object whose value is a string
// without escapes, with the byte before it.
func cutField(object []byte, before byte, name string) (value, rest []byte, ok bool) {
	if len(object) == 0 || object[0] != before {
		return nil, object, false
	}
	after, found := bytes.CutPrefix(object[1:], []byte(`"`+name+`":"`))
	if !found {
		return nil, object, false
	}
	end := bytes.IndexByte(after, '"')
	if end < 0 || bytes.IndexByte(after[:end], '\\') >= 0 {
		return nil, object, false
	}
	return after[:end], after[end+1:], true
}

// of takes note of whose line it is, where that can be.
func (m *mark) of(own string, child, stream []byte) {
	name := spec.StreamName(stream)
	if name != spec.Out && name != spec.Err {
		return
	}
	switch {
	case string(child) == own:
		m.stream = name
	case spec.ValidName(string(child)) == nil:
		m.foreign = true
	}
}

// parseStamp reads a time in the notation of RFC 3339.
func parseStamp(text []byte) (at time.Time, ok bool) {
	if len(text) > stampSize || at.UnmarshalText(text) != nil {
		return time.Time{}, false
	}
	at = at.UTC()
	if year := at.Year(); year < 0 || year > 9999 {
		// It could not be written again: it is in another year in UTC.
		return time.Time{}, false
	}
	return at, true
}
