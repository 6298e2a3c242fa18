package main

import (
	"testing"
	"time"
)

func TestTimeOfALine(t *testing.T) {
	chunk := time.Date(2026, 1, 31, 2, 11, 11, 0, time.UTC)
	stamp := time.Date(2026, 11, 21, 13, 17, 41, 123456000, time.UTC)
	for line, want := range map[string]time.Time{
		"2026-11-21T13:17:41.123456Z web out: hello\n":          stamp,
		"2026-11-21T14:17:41.123456+01:00 hello\n":              stamp,
		`{"time":"2026-11-21T13:17:41.123456Z","line":"hello"}`: stamp,
		"2026-11-21T13:17:41.123456Z\n":                         chunk,
		"2026 was a year\n":                                     chunk,
		`{"line":"hello","time":"2026-11-21T13:17:41Z"}`:        chunk,
		`{"time":"`:                      chunk,
		"0000-01-01T00:00:00+01:00 \n":   chunk,
		"hello 2026-11-21T13:17:41.1Z\n": chunk,
		" \n":                            chunk,
		"":                               chunk,
	} {
		if got := timeOf([]byte(line), chunk); !got.Equal(want) {
			t.Errorf("%q: %v, want %v", line, got, want)
		}
	}
}
