package output

import (
	"fmt"
	"math"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"kita/spec"
)

func TestArchivesLeaveARoomToThePrograms(t *testing.T) {
	const mib, gib = 1 << 20 / 4096, 1 << 30 / 4096
	tests := []struct {
		name                   string
		blocks, avail          uint64
		archive, part, packing uint64 // blocks
	}{
		{"a small one", 1000, 500, 450, 450, 490},
		{"a full one", 1000, 50, 0, 25, 40},
		{"a fuller one", 1000, 0, 0, 0, 0},
		{"a large one", 1000 * gib, 3 * gib, 2 * gib, 2 * gib, 3*gib - 4*mib},
		{"a large full one", 1000 * gib, gib, 0, gib / 2, gib - 4*mib},
	}
	for _, test := range tests {
		s := spaceOf(unix.Statfs_t{Bsize: 4096, Blocks: test.blocks, Bavail: test.avail})
		got := []uint64{s.forArchive(), s.forPart(), s.forPacking()}
		want := []uint64{test.archive * 4096, test.part * 4096, test.packing * 4096}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d bytes, want %d", test.name, got, want)
		}
	}
	if got := spaceOf(unix.Statfs_t{Bsize: 4096}).forArchive(); got != math.MaxUint64 {
		t.Errorf("one without a limit: %d", got)
	}
}

// almostFull has a writer append to web.log on a disk of 4 MiB of which all but so
// many blocks are taken.
func almostFull(t *testing.T, free int, r *spec.Rotate) *stream {
	t.Helper()
	s := newStream(t, smallDisk(t, "4m"), r)
	filler := s.path + ".filler"
	fill(t, filler)
	if err := os.Truncate(filler, sizeOf(t, filler)-int64(4096*free)); err != nil {
		t.Fatal(err)
	}
	return s
}

// free is how many blocks the disk of s has left.
func (s *stream) free() uint64 {
	s.t.Helper()
	var fs unix.Statfs_t
	if err := unix.Statfs(s.path, &fs); err != nil {
		s.t.Fatal(err)
	}
	return fs.Bavail
}

// TestAFullerDiskIsNotFilled: where the programs' room is used up already, a file
// that is rotated takes no more for ever than its archives do.
func TestAFullerDiskIsNotFilled(t *testing.T) {
	r := rules()
	r.Size, r.Keep = 20_000, 2
	s := almostFull(t, 30, r) // of the 51 that are the programs'
	for i := range 100 {
		s.write(lines(1000*i, 1000*(i+1))) // 16,000 bytes
		s.mustKeep()
	}
	if got := len(s.archives()); got != 2 {
		t.Errorf("there are %d archives", got)
	}
	oldest, end := s.Bounds()
	s.check(oldest, lines(int(oldest)/16, int(end)/16))
}

// TestRotationLeavesHalf of what is free, in whatever way it is asked for, and all
// that is there gets into archives.
func TestRotationLeavesHalf(t *testing.T) {
	tests := []struct {
		name        string
		free, least int // blocks
		rotate      func(*stream) error
	}{
		{"by size", 20, 10, func(s *stream) error { return s.keepSmall(s.t.Context(), at) }},
		{"by a command", 20, 10, func(s *stream) error { _, err := s.rotate(s.t.Context(), at); return err }},
		{"at a start", 20, 10, func(s *stream) error { return s.empty(s.t.Context(), int(s.writer.Fd()), true, at) }},
		{"above the programs' room", 120, 51, func(s *stream) error { return s.keepSmall(s.t.Context(), at) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			text := lines(0, 40_000) // 157 blocks
			r := rules()
			r.Size = 600_000
			s := almostFull(t, test.free+157, r)
			s.write(text)
			least := s.free()
			s.shared.passed = func(stage) { least = min(least, s.free()) }
			if err := test.rotate(s); err != nil || s.trouble() != nil {
				t.Fatalf("rotation has the errors %v and %v", err, s.trouble())
			}
			// The archives' last blocks are not full.
			if least < uint64(test.least)-3 || least > uint64(test.free) {
				t.Errorf("%d blocks were left, want %d", least, test.least)
			}
			if len(s.archives()) < 2 || s.held() >= r.Size {
				t.Errorf("there are %q and %d bytes", s.archives(), s.held())
			}
			s.check(0, text)
		})
	}
}

func TestPartsCountAsOneArchive(t *testing.T) {
	tests := []struct {
		// parts has a letter for each archive: p for a part, a for a whole or last one.
		parts      string
		keep, more int
		want       int
	}{
		{"aaa", 5, 0, 0},
		{"aaa", 2, 0, 1},
		{"aaa", 2, 1, 2},
		{"aaa", 0, 0, 3},
		{"appa", 2, 0, 0},
		{"appa", 1, 0, 1},
		{"appa", 1, 1, 4},
		{"ppappa", 1, 0, 3},
		{"app", 2, 0, 0},
		{"app", 1, 0, 1},
		{"app", 1, 1, 1},
		{"p", 1, 1, 0},
		{"p", 0, 0, 1},
		{"", 0, 1, 0},
	}
	for _, test := range tests {
		var all []archive
		for _, c := range test.parts {
			all = append(all, archive{Part: c == 'p'})
		}
		name := fmt.Sprintf("%q, %d kept, %d more", test.parts, test.keep, test.more)
		if got := beyond(all, test.keep, test.more); got != test.want {
			t.Errorf("%s: %d go, want %d", name, got, test.want)
		}
	}
}
