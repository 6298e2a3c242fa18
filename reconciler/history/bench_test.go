package history

import (
	"fmt"
	"testing"

	"kita/spec"
)

func BenchmarkAdd(b *testing.B) {
	h := open(b, b.TempDir())
	e := spec.Event{Child: "child-1234", Type: spec.EventStarted, Incarnation: 1, Generation: 1, PID: 123456, By: "mode full", Cause: spec.CauseMode, Hash: "64915e6d18c735e969c10c48ed7099a3"}
	b.ReportAllocs()
	for b.Loop() {
		h.Add(e)
	}
	h.Flush(b.Context())
	b.ReportMetric(float64(h.Lost())/float64(b.N), "lost/op")
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
