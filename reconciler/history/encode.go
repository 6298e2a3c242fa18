package history

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"time"
	"unicode/utf8"

	"kita/spec"
)

const (
	// maxMessage bounds the texts of an event, in bytes.
	maxMessage = 1 << 10
	// maxShort bounds those that are words and names.
	maxShort = 300
	// maxLines and maxLastLine bound the last lines of a run: the status of the
	// child has more of those of its latest.
	maxLines, maxLastLine = 10, 200
	// maxPIDs bounds whom SIGKILL met.
	maxPIDs = 50
	// maxLine is longer than any line, each byte of which may take six in JSON.
	maxLine = 48 << 10
)

// lineStart is what every line begins with, before its Seq.
const lineStart = `{"seq":`

// errTooLong is of an event whose names are longer than names can be.
var errTooLong = errors.New("the event is too long")

// encode returns the line of an event, behind its Seq. It is what encoding/json
// makes of it, in a sixth of the time: it is called for each start of each child.
func encode(e *spec.Event, now time.Time) ([]byte, error) {
	l := line{text: make([]byte, 0, 320)}
	at := e.At
	if at.IsZero() {
		at = now
	}
	l.time("time", at.Truncate(time.Millisecond))
	l.string("child", e.Child)
	l.string("type", string(e.Type))
	l.number("incarnation", e.Incarnation)
	l.number("generation", e.Generation)
	l.number("pid", uint64(max(e.PID, 0)))
	l.string("verb", shorten(string(e.Verb), maxShort))
	l.string("by", shorten(e.By, maxShort))
	l.string("cause", shorten(string(e.Cause), maxShort))
	if e.Signal != 0 {
		l.any("signal", e.Signal)
	}
	if len(e.PIDs) > 0 {
		l.any("pids", e.PIDs[:min(len(e.PIDs), maxPIDs)])
	}
	if e.Exit != nil {
		l.any("exit", e.Exit)
	}
	if e.Ran != 0 {
		l.any("ran", e.Ran)
	}
	l.is("success", e.Success)
	l.is("asked", e.Asked)
	l.number("attempt", uint64(max(e.Attempt, 0)))
	if e.Next != nil {
		l.time("next", *e.Next)
	}
	l.string("hook", shorten(e.Hook, maxShort))
	l.string("config", string(e.Config))
	l.is("down", e.Down)
	l.string("server", string(e.Server))
	l.string("hash", shorten(e.Hash, maxShort))
	l.string("code", shorten(string(e.Code), maxShort))
	l.string("message", shorten(e.Message, maxMessage))
	if len(e.LastLines) > 0 {
		l.any("last_lines", shortLines(e.LastLines))
	}
	l.number("lost", e.Lost)
	if len(l.text) > maxLine-len(lineStart)-30 {
		return nil, errTooLong
	}
	return append(l.text, "}\n"...), l.err
}

// line collects the members of an event; those that are empty are left out.
type line struct {
	text []byte
	err  error
}

func (l *line) name(name string) {
	l.text = append(l.text, `,"`...)
	l.text = append(l.text, name...)
	l.text = append(l.text, `":`...)
}

func (l *line) string(name, value string) {
	if value == "" {
		return
	}
	for i := range len(value) {
		if c := value[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' || c == 0x7f {
			l.any(name, value)
			return
		}
	}
	l.name(name)
	l.text = append(l.text, '"')
	l.text = append(l.text, value...)
	l.text = append(l.text, '"')
}

func (l *line) number(name string, value uint64) {
	if value != 0 {
		l.name(name)
		l.text = strconv.AppendUint(l.text, value, 10)
	}
}

func (l *line) is(name string, value bool) {
	if value {
		l.name(name)
		l.text = append(l.text, "true"...)
	}
}

func (l *line) time(name string, value time.Time) {
	l.name(name)
	l.text = append(l.text, '"')
	l.text = value.UTC().AppendFormat(l.text, time.RFC3339Nano)
	l.text = append(l.text, '"')
}

// any takes what the others do not.
func (l *line) any(name string, value any) {
	l.name(name)
	var text bytes.Buffer
	j := json.NewEncoder(&text)
	j.SetEscapeHTML(false)
	if err := j.Encode(value); err != nil {
		l.err = err
	}
	l.text = append(l.text, bytes.TrimSuffix(text.Bytes(), []byte{'\n'})...)
}

// shortLines are the latest of the lines, each cut.
func shortLines(lines []string) []string {
	if len(lines) == 0 {
		return nil
	}
	lines = lines[max(0, len(lines)-maxLines):]
	short := make([]string, len(lines))
	for i, line := range lines {
		short[i] = shorten(line, maxLastLine)
	}
	return short
}

// shorten cuts a text to so many bytes, and says so.
func shorten(text string, most int) string {
	const rest = "…"
	if len(text) <= most {
		return text
	}
	end := most - len(rest)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + rest
}
