//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestFleet asks a fleet of which one server has ended, and looks at the answers.
func TestFleet(t *testing.T) {
	w := testWorld(t)
	for _, way := range []struct {
		name string
		key  bool
	}{{"plain", false}, {"key", true}} {
		t.Run(way.name, func(t *testing.T) {
			f, err := w.newFleet(100, way.key)
			if err != nil {
				t.Fatal(err)
			}
			defer f.end()
			if _, err := f.check(t.Context()); err != nil {
				t.Fatal(err)
			}
			const dead = 42
			if err := f.endOne(dead); err != nil {
				t.Fatal(err)
			}
			for _, parallel := range []string{"64", "1"} {
				a, err := f.run(t.Context(), "--parallel", parallel)
				if err != nil {
					t.Fatal(err)
				}
				want := slices.Delete(slices.Clone(f.names), dead, dead+1)
				if got := answered(a.out); a.state.ExitCode() != 4 || !slices.Equal(got, want) {
					t.Errorf("one is dead: status %d, %d answers, in order: %v", a.state.ExitCode(), len(got), slices.IsSorted(got))
				}
				last := fmt.Sprintf("kita: 1 of 100 hosts failed: %s (unreachable)\n", f.names[dead])
				if !strings.Contains(a.stderr, "kita: "+f.names[dead]+": ") || !strings.HasSuffix(a.stderr, last) {
					t.Errorf("one is dead: stderr, want %q at its end:\n%s", last, a.stderr)
				}
			}
		})
	}
}
