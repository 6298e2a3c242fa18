package output

import (
	"os"
	"strings"
	"testing"
)

// TestNothingIsFreedThatIsInNoArchive: the file was emptied and has grown again
// unseen, and its head is not what was archived.
func TestNothingIsFreedThatIsInNoArchive(t *testing.T) {
	another := lines(5000, 7000)
	for _, tt := range []struct {
		name string
		look func(s *stream)
	}{
		{"a new server", func(s *stream) { s.restart(s.path) }},
		{"the next rotation", func(s *stream) { s.mustKeep() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onEach(t, func(t *testing.T, dir string) {
				s := newStream(t, dir, rules())
				s.write(lines(0, 600))
				s.mustKeep()
				if err := os.Truncate(s.path, 0); err != nil {
					t.Fatal(err)
				}
				s.write(another)
				tt.look(s)
				if got, _ := s.readAll(0); !strings.HasSuffix(got, another) {
					t.Errorf("%d bytes can be read, and they do not end with the %d that were written last", len(got), len(another))
				}
			})
		})
	}
}
