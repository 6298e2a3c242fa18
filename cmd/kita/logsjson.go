package main

import (
	"bytes"
	"encoding/json"
	"time"
	"unicode/utf8"

	"kita/spec"
)

// logLine is a line of output in JSON.
type logLine struct {
	Host   string          `json:"host,omitempty"`
	Child  string          `json:"child"`
	Stream spec.StreamName `json:"stream,omitempty"`
	Time   time.Time       `json:"time,omitzero"`
	// Text is the line without its end, Bytes where it is not valid UTF-8.
	Text  *string `json:"text,omitempty"`
	Bytes []byte  `json:"bytes,omitempty"`
	// Partial: the line goes on in the next object of the same host, child and
	// stream.
	Partial bool `json:"partial,omitempty"`
}

// maxStamp is more than a time stamp has.
const maxStamp = 64

// timeOf is the time that a line begins with, as one of a pump does, in text or
// as the first field of an object; else that of the chunk, which is that of the
// chunk's first line.
func timeOf(line []byte, chunk time.Time) time.Time {
	stamp, isObject := bytes.CutPrefix(line[:min(len(line), maxStamp)], []byte(`{"time":"`))
	end := byte(' ')
	if isObject {
		end = '"'
	}
	stamp, _, found := bytes.Cut(stamp, []byte{end})
	if !found || len(stamp) == 0 || stamp[0] < '0' || stamp[0] > '9' {
		return chunk
	}
	var at time.Time
	if at.UnmarshalText(stamp) != nil {
		return chunk
	}
	// What is no year of four digits in UTC could not be written again.
	if at = at.UTC(); at.Year() < 0 || at.Year() > 9999 {
		return chunk
	}
	return at
}

// jsonLines is the data of a chunk as one object a line.
func jsonLines(host string, chunk spec.LogChunk, data []byte) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for text := range bytes.Lines(data) {
		line := logLine{Host: host, Child: chunk.Child, Stream: chunk.Stream, Time: timeOf(text, chunk.Time)}
		text, whole := bytes.CutSuffix(text, []byte("\n"))
		line.Partial = !whole
		if utf8.Valid(text) {
			s := string(text)
			line.Text = &s
		} else {
			line.Bytes = text
		}
		// Nothing of it can fail to be encoded.
		_ = e.Encode(line)
	}
	return escapeOdd(b.Bytes())
}
