package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// maxText bounds each string of a line, in bytes: most are made up by whoever
// asks.
const maxText = 1024

// line is the event in one line, whatever its strings hold.
func (e Event) line() []byte {
	for _, text := range []*string{&e.Key, &e.Peer, &e.Via, &e.Verb, &e.Child, &e.Result, &e.Detail} {
		*text = cut(*text)
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	// The line is not for a web page, and is read by people.
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(e); err != nil {
		// A time beyond the year 9999 is all that cannot be encoded.
		e.Time = time.Time{}
		b.Reset()
		_ = encoder.Encode(e)
	}
	return b.Bytes()
}

// cut is text of at most maxText bytes, and an ellipsis where some are missing.
func cut(text string) string {
	if len(text) <= maxText {
		return text
	}
	const ellipsis = "…"
	return strings.ToValidUTF8(text[:maxText-len(ellipsis)], "") + ellipsis
}

// lostLine says that lines are missing.
func lostLine(at time.Time, n int) []byte {
	return Event{Time: at, Verb: "audit", Result: "lost", Detail: fmt.Sprintf("%d lines before this one could not be written", n)}.line()
}
