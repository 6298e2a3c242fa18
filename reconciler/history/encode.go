package history

import (
	"bytes"
	"encoding/json"
	"errors"
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

// zeroStart is what an event without one begins with.
const zeroStart = lineStart + "0"

// errTooLong is of an event whose names are longer than names can be.
var errTooLong = errors.New("the event is too long")

// encode returns the line of an event, behind its Seq.
func encode(e *spec.Event, now time.Time) ([]byte, error) {
	cut := *e
	cut.Seq = 0
	if cut.At.IsZero() {
		cut.At = now
	}
	cut.At = cut.At.UTC().Truncate(time.Millisecond)
	cut.Message = shorten(cut.Message, maxMessage)
	for _, text := range []*string{&cut.By, &cut.Hook, &cut.Hash, (*string)(&cut.Verb), (*string)(&cut.Code), (*string)(&cut.Cause)} {
		*text = shorten(*text, maxShort)
	}
	cut.PIDs = cut.PIDs[:min(len(cut.PIDs), maxPIDs)]
	cut.LastLines = shortLines(cut.LastLines)
	var line bytes.Buffer
	line.Grow(256)
	j := json.NewEncoder(&line)
	j.SetEscapeHTML(false)
	if err := j.Encode(&cut); err != nil {
		return nil, err
	}
	if line.Len() > maxLine-20 {
		return nil, errTooLong
	}
	return line.Bytes()[len(zeroStart):], nil
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
