package output

import (
	"fmt"
	"math"
	"testing"

	"golang.org/x/sys/unix"
)

func TestArchivesLeaveARoomToThePrograms(t *testing.T) {
	const gib = 1 << 30 / 4096
	tests := []struct {
		name          string
		blocks, avail uint64
		want          uint64 // blocks
	}{
		{"a small one", 1000, 500, 450},
		{"a full one", 1000, 50, 0},
		{"a fuller one", 1000, 0, 0},
		{"a large one", 1000 * gib, 3 * gib, 2 * gib},
	}
	for _, test := range tests {
		fs := unix.Statfs_t{Bsize: 4096, Blocks: test.blocks, Bavail: test.avail}
		if got := roomOf(fs); got != test.want*4096 {
			t.Errorf("%s: %d bytes, want %d blocks", test.name, got, test.want)
		}
	}
	if got := roomOf(unix.Statfs_t{Bsize: 4096}); got != math.MaxUint64 {
		t.Errorf("one without a limit: %d", got)
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
