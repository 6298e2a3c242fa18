package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
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
	return printable(b.Bytes())
}

// printable escapes what package json leaves and a terminal might obey, or shows
// in another order, in a line of JSON. It is the same to who decodes it.
func printable(line []byte) []byte {
	var b bytes.Buffer
	for len(line) > 0 {
		r, n := utf8.DecodeRune(line)
		switch {
		case r == '\n', unicode.IsPrint(r):
			b.Write(line[:n])
		default:
			for _, unit := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&b, `\u%04x`, unit)
			}
		}
		line = line[n:]
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
