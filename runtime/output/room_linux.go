package output

import (
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// What a file system has free is first of all for those who write output: archives
// leave them one part in so many of it, but no more than mostReserve bytes.
const (
	reservePart = 20
	mostReserve = 1 << 30
)

// errNoRoom is unix.ENOSPC with the reserve named.
var errNoRoom = fmt.Errorf("%w (5 %% of the file system, 1 GiB at most, is left to the programs)", unix.ENOSPC)

// roomBeside is how many bytes an archive may take on the file system of fd.
func roomBeside(fd int) (uint64, error) {
	var fs unix.Statfs_t
	if err := eachEINTR(func() error { return unix.Fstatfs(fd, &fs) }); err != nil {
		return 0, err
	}
	return roomOf(fs), nil
}

func roomOf(fs unix.Statfs_t) uint64 {
	if fs.Blocks == 0 {
		return math.MaxUint64 // it has no limit of its own
	}
	block := max(uint64(fs.Bsize), 1)
	reserve := min(fs.Blocks/reservePart, mostReserve/block)
	return (fs.Bavail - min(reserve, fs.Bavail)) * block
}

// mostParts is about how many parts an archive is made in at most.
const mostParts = 64

// fitting is where a part of the archive from head to end has to end so that
// there is room for it: at end, or at a line end before. It removes what an archive
// more would remove anyway. An error with unix.ENOSPC: there is no room even for a
// small part.
func (w *work) fitting(head, end uint64) (uint64, error) {
	room, err := roomBeside(w.place.dir)
	if err == nil && room < end-head {
		if _, err := w.f.pruneFor(w.now); err != nil {
			return 0, err
		}
		room, err = roomBeside(w.place.dir)
	}
	switch {
	case err != nil:
		return 0, w.failed("statfs", err)
	case room >= end-head:
		return end, nil
	case room < max(uint64(w.block), (end-head)/mostParts):
		return 0, w.failed("rotate", errNoRoom)
	}
	to, ok, err := w.lastLineEnd(head, head+room)
	if err == nil && !ok {
		err = w.failed("rotate", errNoRoom)
	}
	return to, err
}
