package output

import (
	"math"

	"golang.org/x/sys/unix"
)

// What a file system has free is first of all for those who write output. An
// archive leaves them one part in reservePart of it, but no more than mostReserve
// bytes; below that it is made in parts that take half of what is free. What is
// packed takes less than it frees, and leaves packReservePart and mostPackReserve.
const (
	reservePart     = 20
	mostReserve     = 1 << 30
	packReservePart = 100
	mostPackReserve = 4 << 20
)

// space is what a file system has, in bytes.
type space struct{ free, total uint64 }

// spaceBeside is that of the file system of fd.
func spaceBeside(fd int) (space, error) {
	var fs unix.Statfs_t
	if err := eachEINTR(func() error { return unix.Fstatfs(fd, &fs) }); err != nil {
		return space{}, err
	}
	return spaceOf(fs), nil
}

func spaceOf(fs unix.Statfs_t) space {
	if fs.Blocks == 0 {
		return space{free: math.MaxUint64} // it has no limit of its own
	}
	block := max(uint64(fs.Bsize), 1)
	return space{free: fs.Bavail * block, total: fs.Blocks * block}
}

// forArchive is how many bytes an archive may take for good.
func (s space) forArchive() uint64 { return s.but(min(s.total/reservePart, mostReserve)) }

// forPart is how many bytes a part may take whose space is given back at once.
func (s space) forPart() uint64 { return max(s.forArchive(), s.free/2) }

// forPacking is how many bytes a packed archive may take.
func (s space) forPacking() uint64 { return s.but(min(s.total/packReservePart, mostPackReserve)) }

func (s space) but(reserve uint64) uint64 { return s.free - min(reserve, s.free) }

// An archive is made in no more than about mostParts parts, unless they are larger
// than smallPart, in bytes.
const (
	mostParts = 64
	smallPart = 64 << 10
)

// leastPart is how large a part of an archive of size bytes is at least.
func (w *work) leastPart(size uint64) uint64 {
	return max(uint64(w.block), min(size/mostParts, smallPart))
}

// fitting is where a part of the archive from head to end has to end so that
// there is room for it: at end, or at a line end before. Where the programs' room
// is at stake it removes what an archive more would remove anyway. An error with
// unix.ENOSPC: there is no room even for a small part.
func (w *work) fitting(head, end uint64) (uint64, error) {
	size := end - head
	s, err := spaceBeside(w.place.dir)
	if err == nil && s.forArchive() < size {
		if _, err := w.f.pruneFor(w.now); err != nil {
			return 0, err
		}
		s, err = spaceBeside(w.place.dir)
	}
	if err != nil {
		return 0, w.failed("statfs", err)
	}
	room := s.forArchive()
	if w.can != unable {
		room = s.forPart()
	}
	switch {
	case room >= size:
		return end, nil
	case room < w.leastPart(size):
		return 0, w.failed("rotate", unix.ENOSPC)
	}
	to, ok, err := w.lastLineEnd(head, head+room)
	if err == nil && !ok {
		err = w.failed("rotate", unix.ENOSPC)
	}
	return to, err
}
