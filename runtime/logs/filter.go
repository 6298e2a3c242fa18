package logs

import (
	"bytes"
	"regexp"

	"kita/spec"
)

// filter says which lines are sent. Its zero value lets all through.
type filter struct {
	// stream is empty for both.
	stream spec.StreamName
	// grep is nil for any line.
	grep *regexp.Regexp
}

// shows tells whether a line is sent, by its first chunkSize bytes. A line that
// does not tell its stream is in either.
func (f filter) shows(m mark, line []byte) bool {
	if m.foreign || f.stream != "" && m.stream != "" && m.stream != f.stream {
		return false
	}
	return f.grep == nil || f.grep.Match(withoutEnd(line))
}

// withoutEnd leaves out the line end, that of DOS as well.
func withoutEnd(line []byte) []byte {
	line, found := bytes.CutSuffix(line, []byte("\n"))
	if found {
		line = bytes.TrimSuffix(line, []byte("\r"))
	}
	return line
}
