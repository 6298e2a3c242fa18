package logs

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"kita/spec"
)

func TestTail(t *testing.T) {
	long := strings.Repeat("é", lastLineSize)
	tests := []struct {
		name     string
		source   *fake
		n        int
		from     uint64
		maxBytes int
		want     []string
	}{
		{"nothing was written", newFake(""), 20, 0, 100, nil},
		{"all", newFake("one\ntwo\n"), 20, 0, 100, []string{"one", "two"}},
		{"the last", newFake("one\ntwo\nthree"), 2, 0, 100, []string{"two", "three"}},
		{"of this run", newFake("earlier\none\n"), 20, 8, 100, []string{"one"}},
		{"of a run that wrote nothing", newFake("earlier\n"), 20, 8, 100, nil},
		{"of a run whose beginning was removed", newFake("gone\none\n").remove(5), 20, 0, 100, []string{"one"}},
		{"of the last bytes", newFake("one\ntwo\nthree\n"), 20, 0, 8, []string{"three"}},
		{"the end of a long line", newFake("0123456789\n"), 20, 0, 5, []string{"6789"}},
		{"empty lines", newFake("one\n\n\r\n"), 20, 0, 100, []string{"one", "", ""}},
		{"a long line is cut between characters", newFake("a" + long + "\n"), 1, 0, 1 << 20, []string{"a" + long[:lastLineSize-2]}},
		{"bytes that are no UTF-8", newFake("a\xffb\n"), 1, 0, 100, []string{"a\uFFFDb"}},
		{"none wanted", newFake("one\n"), 0, 0, 100, nil},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Tail(Named{Child: "web", Source: tc.source}, "", tc.n, tc.from, tc.maxBytes)
			if err != nil || !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %q, %v, want %q", got, err, tc.want)
			}
			if open, _, _ := tc.source.readers(); open != 0 {
				t.Errorf("%d files are left open", open)
			}
		})
	}
}

func TestTailOfWhatCannotBeRead(t *testing.T) {
	f := newFake("one\n")
	f.fail(errors.New("input/output error"))
	if lines, err := Tail(Named{Child: "web", Source: f}, "", 20, 0, 100); err == nil || lines != nil {
		t.Errorf("got %q, %v", lines, err)
	}
}

func TestTailOfASharedFile(t *testing.T) {
	const text = "web out: fine\ndb out: secret\nweb err: why\ndb err: secret\nno mark\nweb out: last\n"
	n := Named{Child: "web", Format: spec.Text, Prefix: true, Source: newFake(text)}
	for stream, want := range map[spec.StreamName][]string{
		"":       {"web err: why", "no mark", "web out: last"},
		spec.Err: {"web err: why", "no mark"},
		spec.Out: {"web out: fine", "no mark", "web out: last"},
	} {
		if got, err := Tail(n, stream, 3, 0, len(text)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("of %q: got %q, %v, want %q", stream, got, err, want)
		}
	}
}
