package spec

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestKeyLines(t *testing.T) {
	got := KeyLines([]byte("# a file\nmode: full\nstop:\n  grace: 5s\n  signal: &s TERM\naccess:\n  - keys: [a]\n    verbs: [read]\n  - {keys: [b],\n     verbs: [admin]}\nother: *s\n"))
	want := map[string]int{
		"mode": 2, "stop": 3, "stop.grace": 4, "stop.signal": 5, "access": 6, "other": 11,
		"access.0.keys": 7, "access.0.verbs": 8, "access.1.keys": 9, "access.1.verbs": 10,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	for _, text := range []string{"", "~", "- a", "a: [", "a: 1\n---\nb: 1"} {
		if got := KeyLines([]byte(text)); len(got) > 0 {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// FuzzKeyLines wants lines of the file, whatever that is.
func FuzzKeyLines(f *testing.F) {
	f.Add([]byte(goodServer))
	f.Add([]byte(goodChild))
	f.Add([]byte("a: &x [{b: *x}, *x]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		lines := KeyLines(data)
		for _, key := range slices.Sorted(maps.Keys(lines)) {
			if n := lines[key]; n < 1 || n > countLines(data) || strings.Contains(key, "\n") {
				t.Errorf("%.100q: %q is in line %d", data, key, n)
			}
		}
	})
}
