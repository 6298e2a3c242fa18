package pump

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"time"
	"unicode/utf8"

	"kita/spec"
)

// splitMark ends a piece of a line in text, before its line end.
const splitMark = " [kita: the line goes on]"

// timeFormat has always the same length.
const timeFormat = "2006-01-02T15:04:05.000000Z"

// style is how the lines of a stream are written.
type style struct {
	format     spec.Format
	timestamps bool
	// child and stream are empty without a prefix.
	child  string
	stream spec.StreamName
}

func styleOf(k Key, a attachment) style {
	st := style{format: a.Format, timestamps: a.Timestamps}
	if a.Prefix {
		st.child, st.stream = k.Child, k.Stream
	}
	return st
}

// plain tells whether lines are written as they are.
func (st style) plain() bool { return st.format != spec.JSON && !st.timestamps && st.child == "" }

// formatter writes lines in one style. It belongs to one goroutine.
type formatter struct {
	style
	// head is what comes before each line: in JSON the object up to the line.
	head []byte
	// timeAt is where in head the time is, -1 for nowhere.
	timeAt int
}

func newFormatter(st style) *formatter {
	f := &formatter{style: st, timeAt: -1}
	if st.format == spec.JSON {
		f.head = append(f.head, '{')
		if st.timestamps {
			f.head = append(f.head, `"time":"`...)
			f.timeAt = len(f.head)
			f.head = append(append(f.head, timeFormat...), `",`...)
		}
		if st.child != "" {
			f.head = append(f.head, `"child":`...)
			f.head = appendJSONString(f.head, []byte(st.child))
			f.head = append(f.head, `,"stream":"`+string(st.stream)+`",`...)
		}
		return f
	}
	if st.timestamps {
		f.timeAt = 0
		f.head = append(append(f.head, timeFormat...), ' ')
	}
	if st.child != "" {
		f.head = append(f.head, st.child+" "+string(st.stream)+": "...)
	}
	return f
}

// stamp gives the lines that follow the time now.
func (f *formatter) stamp(now time.Time) {
	if f.timeAt >= 0 {
		// AppendFormat writes nanoseconds and takes back what is too much: in place
		// it would spoil what comes after the time.
		var room [len(timeFormat) + 8]byte
		copy(f.head[f.timeAt:], now.UTC().AppendFormat(room[:0], timeFormat))
	}
}

// appendPiece appends one piece of a line, with its line end.
func (f *formatter) appendPiece(out, piece []byte, end lineEnd) []byte {
	out = append(out, f.head...)
	if f.format == spec.JSON {
		return append(appendJSONLine(out, piece, end), '\n')
	}
	out = append(out, piece...)
	if end == split {
		out = append(out, splitMark...)
	}
	return append(out, '\n')
}

// appendDropped appends the line that tells how many are missing.
func (f *formatter) appendDropped(out []byte, lines uint64) []byte {
	out = append(out, f.head...)
	if f.format == spec.JSON {
		out = append(out, `"dropped":`...)
		return append(strconv.AppendUint(out, lines, 10), "}\n"...)
	}
	out = append(out, "kita: "...)
	out = strconv.AppendUint(out, lines, 10)
	if lines == 1 {
		return append(out, " line was dropped here\n"...)
	}
	return append(out, " lines were dropped here\n"...)
}

// tornNote is what a line says where a pump was killed.
const tornNote = "kita: the pump was killed, lines may be missing here and the next may be the end of one"

// appendTorn appends that line.
func (f *formatter) appendTorn(out []byte) []byte {
	out = append(out, f.head...)
	if f.format == spec.JSON {
		return append(out, `"torn":true}`+"\n"...)
	}
	return append(out, tornNote+"\n"...)
}

// appendJSONLine appends the fields of a piece and the end of the object.
func appendJSONLine(out, piece []byte, end lineEnd) []byte {
	switch {
	case harmless(piece):
		out = append(append(append(out, `"line":"`...), piece...), '"')
	case utf8.Valid(piece):
		out = appendJSONString(append(out, `"line":`...), piece)
	default:
		out = append(out, `"bytes":"`...)
		out = append(base64.StdEncoding.AppendEncode(out, piece), '"')
	}
	if end == split {
		out = append(out, `,"partial":true`...)
	}
	return append(out, '}')
}

// harmless tells whether text means itself in a JSON string: it is ASCII without
// control characters, quotes and backslashes. It looks at eight bytes at a time,
// as in "Determine if a word has a byte less than n" of Sean Anderson's Bit
// Twiddling Hacks; byte by byte it would take longer than all else.
func harmless(text []byte) bool {
	const (
		ones  = 0x0101010101010101
		highs = 0x80 * ones
	)
	for ; len(text) >= 8; text = text[8:] {
		word := binary.LittleEndian.Uint64(text)
		quotes, backslashes := word^('"'*ones), word^('\\'*ones)
		if (word|(word-' '*ones)|(quotes-ones)|(backslashes-ones))&highs != 0 {
			return false
		}
	}
	for _, b := range text {
		if b < ' ' || b == '"' || b == '\\' || b >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// appendJSONString appends valid UTF-8 as a JSON string.
func appendJSONString(out, text []byte) []byte {
	const hex = "0123456789abcdef"
	out = append(out, '"')
	for len(text) > 0 {
		i := bytes.IndexFunc(text, func(r rune) bool { return r < ' ' || r == '"' || r == '\\' })
		if i < 0 {
			out = append(out, text...)
			break
		}
		out = append(out, text[:i]...)
		switch b := text[i]; b {
		case '"', '\\':
			out = append(out, '\\', b)
		case '\t':
			out = append(out, `\t`...)
		case '\r':
			out = append(out, `\r`...)
		default:
			out = append(out, '\\', 'u', '0', '0', hex[b>>4], hex[b&15])
		}
		text = text[i+1:]
	}
	return append(out, '"')
}
