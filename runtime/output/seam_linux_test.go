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

// TestRepeatedContentIsNotFreedAgain: the file was emptied and has grown again
// unseen, and has the same bytes before the head as what was archived.
func TestRepeatedContentIsNotFreedAgain(t *testing.T) {
	const line = "no connection\n\n\n"
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
				s.shared.volumes.set(s.Key().Dev, punches) // or base moves
				s.write(strings.Repeat(line, 600))
				s.mustKeep()
				if err := os.Truncate(s.path, 0); err != nil {
					t.Fatal(err)
				}
				s.write(strings.Repeat(line, 1000))
				tt.look(s)
				if got, _ := s.readAll(0); len(got) != (512+1000)*len(line) || strings.Contains(got, "\x00") {
					t.Errorf("%d lines can be read, of 512 that were archived and 1000 that were written then", len(got)/len(line))
				}
			})
		})
	}
}

// TestWhatWasFreedIsDoubtedAfterABoot: the punch was lost with the machine, so
// that the head is still there, and is in an archive.
func TestWhatWasFreedIsDoubtedAfterABoot(t *testing.T) {
	onEach(t, func(t *testing.T, dir string) {
		s := newStream(t, dir, rules())
		s.shared.volumes.set(s.Key().Dev, punches)
		text := lines(0, 600)
		s.write(text)
		s.mustKeep()
		if s.record().Freed != 8192 {
			t.Fatalf("%d bytes are noted as freed", s.record().Freed)
		}
		if err := s.update(func(r *record) error { r.Boot = "another"; return nil }); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(s.path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt([]byte(text[:8192]), 0); err != nil {
			t.Fatal(err)
		}
		s.restart(s.path)
		s.check(0, text)
	})
}

// TestFileThatIsReplacedWhileItIsCopiedIsNotFreed: it was emptied and has grown
// again between the copy and the record.
func TestFileThatIsReplacedWhileItIsCopiedIsNotFreed(t *testing.T) {
	onEach(t, func(t *testing.T, dir string) {
		s := newStream(t, dir, rules())
		s.write(lines(0, 300))
		another := lines(5000, 5400)
		s.shared.passed = func(now stage) {
			if now != afterCopy || another == "" {
				return
			}
			if err := os.Truncate(s.path, 0); err != nil {
				t.Fatal(err)
			}
			s.write(another)
			another = ""
		}
		s.mustKeep()
		if got, _ := s.readAll(0); !strings.HasSuffix(got, lines(5000, 5400)) {
			t.Errorf("of what was written last not all can be read, but %d bytes", len(got))
		}
	})
}

// TestFileThatIsShorterThanItsHeadIsNotFreed: it was emptied and has grown again
// into the block before the head.
func TestFileThatIsShorterThanItsHeadIsNotFreed(t *testing.T) {
	for _, tt := range []struct {
		name string
		when stage // that of the rotation in which it is emptied; none: after it
	}{
		{"before a new server", ""},
		{"between the record and the freeing", afterCommit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onEach(t, func(t *testing.T, dir string) {
				r := rules()
				r.Size = 5000 // the head is not at a block then
				s := newStream(t, dir, r)
				another := lines(5000, 5270)
				replace := func() {
					if err := os.Truncate(s.path, 0); err != nil {
						t.Fatal(err)
					}
					s.write(another)
				}
				s.write(lines(0, 320))
				s.shared.passed = func(now stage) {
					if now == tt.when {
						replace()
					}
				}
				// Without a collapse: base stays where it is.
				s.shared.volumes.set(s.Key().Dev, punches)
				s.mustKeep()
				if tt.when == "" {
					replace()
				}
				s.restart(s.path)
				if got, _ := s.readAll(0); !strings.HasSuffix(got, another) {
					t.Errorf("%d bytes can be read, and they do not end with the %d that were written last", len(got), len(another))
				}
			})
		})
	}
}
