package history

import (
	"fmt"
	"testing"
	"time"

	"kita/spec"
)

var usual = spec.Event{Child: "child-1234", Type: spec.EventStarted, Incarnation: 1, Generation: 1, PID: 123456, By: "mode full", Cause: spec.CauseMode, Hash: "64915e6d18c735e969c10c48ed7099a3"}

// BenchmarkAdd adds 10,000 events, as many as when all start at once, and waits until
// they are written.
func BenchmarkAdd10000(b *testing.B) {
	h := open(b, b.TempDir())
	b.ReportAllocs()
	for b.Loop() {
		for range 10000 {
			h.Add(usual)
		}
		h.Flush(b.Context())
	}
	if h.Lost() > 0 {
		b.Errorf("%d events are lost", h.Lost())
	}
}

func BenchmarkEncode(b *testing.B) {
	b.ReportAllocs()
	now := time.Now()
	for b.Loop() {
		if _, err := encode(&usual, now); err != nil {
			b.Fatal(err)
		}
	}
}

// manyEvents has four events of each of 10,000 children.
func manyEvents(b *testing.B) *History {
	h := open(b, b.TempDir())
	for i := range 10000 {
		name := fmt.Sprintf("child-%d", i)
		h.Add(spec.Event{Child: name, Type: spec.EventCommand, Verb: spec.VerbStart, By: "mode full", Cause: spec.CauseMode, Generation: 1}, started(name, 1),
			spec.Event{Child: name, Type: spec.EventExited, Incarnation: 1, Exit: &spec.Exit{Known: true, Code: 1}}, spec.Event{Child: name, Type: spec.EventBackOff, Attempt: 1})
		if i%100 == 0 {
			h.Flush(b.Context())
		}
	}
	h.Flush(b.Context())
	b.ReportAllocs()
	b.ResetTimer()
	return h
}

func BenchmarkReadAllOf10000(b *testing.B) {
	h := manyEvents(b)
	for b.Loop() {
		if n := len(readAll(b, h)); n != 40000 {
			b.Fatalf("%d events", n)
		}
	}
}

func BenchmarkReadOneOf10000(b *testing.B) {
	h := manyEvents(b)
	for b.Loop() {
		if got, _ := read(b, h, spec.EventRequest{Children: []string{"child-5000"}}, anybody); len(got) != 4 {
			b.Fatalf("%d events", len(got))
		}
	}
}

func BenchmarkCompact10000(b *testing.B) {
	h := manyEvents(b)
	for b.Loop() {
		h.compact()
	}
}
