package pump

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"kita/spec"
)

const (
	// batch is how many entries are written at once at most, and batchSize how
	// many bytes; one entry always is.
	batch     = 16
	batchSize = 1 << 20
	// retryAfter is the pause after an error of the file.
	retryAfter = time.Second
	// smallData is what is copied into a buffer of its own, because a chunk
	// would be too much memory to wait with, and smallBuffer the least of those.
	smallData   = chunkSize / 4
	smallBuffer = 4 << 10
)

// entry is lines of one stream that wait to be written.
type entry struct {
	lane *lane
	// buf from off on is what is still to be written.
	buf   []byte
	off   int
	lines int
}

// sink is a file, with what waits to be written to it. There is one for a file
// however many streams share it, so that their lines never mix.
type sink struct {
	id   device
	fd   int
	gate *gate
	// changed is called when a count or the fault has changed, and idle when
	// there may be nothing more to do. The latter is called without mu.
	changed func()
	idle    func(*sink)
	// hurry, which has room for one, ends the pause after an error: a stream has
	// left, and what it left is dropped at the next one.
	hurry chan struct{}

	mu sync.Mutex
	// queue is guarded by mu, but for the data of the first busy entries, which
	// the writer has.
	queue []entry
	busy  int
	// writing, guarded by mu: there is a writer.
	writing bool
	// open, guarded by mu, is the lane whose last line is not ended.
	open *lane
	// fault, guarded by mu, is why the last write failed.
	fault string
	// lanes, guarded by mu, counts those that have not left.
	lanes int
}

// put queues lines of l, or drops them if there was no room when the stream last
// asked for it, and still is none. It takes buf over.
// head is the length of what comes before the first line: it is left out where
// that line has been begun. open: the last line is not ended.
func (s *sink) put(l *lane, buf []byte, lines, head int, open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.how.OnFull != spec.Block && (l.dropping || l.full && !l.fits(len(buf))) {
		l.drop(max(lines, 1))
		giveChunk(buf)
		s.changed()
		return
	}
	e := entry{lane: l, buf: buf, lines: lines}
	if s.open == l {
		e.off = head
		s.open = nil
	}
	s.queueEntry(e, open)
}

// queueEntry ends the line that is open and queues e. mu is held.
func (s *sink) queueEntry(e entry, open bool) {
	if s.open != nil {
		s.endLine()
	}
	if open {
		s.open = e.lane
	}
	s.push(e)
}

// endLine ends the line that is open. mu is held.
func (s *sink) endLine() {
	s.push(entry{lane: s.open, buf: []byte(splitMark + "\n")})
	s.open = nil
}

// push puts e at the end of the queue, together with what the same lane has there
// if it is small, and sees that there is a writer. mu is held.
func (s *sink) push(e entry) {
	if len(e.buf)-e.off < smallData {
		if s.merge(e) {
			giveChunk(e.buf)
			return
		}
		small := make([]byte, 0, max(smallBuffer, len(e.buf)-e.off))
		small = append(small, e.buf[e.off:]...)
		giveChunk(e.buf)
		e.buf, e.off = small, 0
	}
	e.lane.charge(cap(e.buf))
	e.lane.put++
	s.queue = append(s.queue, e)
	if !s.writing {
		s.writing = true
		go s.write()
	}
}

// merge appends e to the last entry, if that is of the same lane and has room.
// mu is held.
func (s *sink) merge(e entry) bool {
	last := len(s.queue) - 1
	if last < s.busy {
		return false
	}
	into := &s.queue[last]
	if into.lane != e.lane || cap(into.buf)-len(into.buf) < len(e.buf)-e.off {
		return false
	}
	into.buf = append(into.buf, e.buf[e.off:]...)
	into.lines += e.lines
	return true
}

// write is the writer: it writes until nothing is left.
func (s *sink) write() {
	parts := make([][]byte, 0, batch)
	for {
		parts = s.take(parts[:0])
		if len(parts) == 0 {
			s.idle(s)
			return
		}
		s.gate.enter()
		n, err := writeOnce(s.fd, parts)
		s.gate.leave()
		s.settle(n, err)
		if err != nil {
			s.pause()
		}
	}
}

// pause waits before another try.
func (s *sink) pause() {
	timer := time.NewTimer(retryAfter)
	defer timer.Stop()
	select {
	case <-s.hurry:
	case <-timer.C:
	}
}

// take returns what is to be written next; nothing if the writer is to end.
func (s *sink) take(parts [][]byte) [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := 0
	for _, e := range s.queue[:min(batch, len(s.queue))] {
		part := e.buf[e.off:]
		if size += len(part); size > batchSize && len(parts) > 0 {
			break
		}
		parts = append(parts, part)
	}
	s.busy = len(parts)
	s.writing = s.busy > 0
	return parts
}

// settle takes off the queue what was written.
func (s *sink) settle(n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = ""
	if err != nil {
		s.fault = err.Error()
	}
	done := 0
	for i := range s.queue[:s.busy] {
		e := &s.queue[i]
		wrote := min(n, len(e.buf)-e.off)
		n -= wrote
		e.off += wrote
		e.lane.tally.bytes.Add(uint64(wrote))
		if e.off < len(e.buf) {
			break
		}
		e.lane.tally.lines.Add(uint64(e.lines))
		done++
	}
	s.busy = 0
	s.remove(func(i int, _ entry) bool { return i < done })
	if err != nil {
		s.remove(func(_ int, e entry) bool {
			if e.lane.retired {
				e.lane.tally.dropped.Add(uint64(e.lines))
			}
			return e.lane.retired
		})
	}
	s.changed()
}

// remove takes entries off the queue. mu is held.
func (s *sink) remove(which func(i int, e entry) bool) {
	var gone []entry
	kept := s.queue[:0]
	for i, e := range s.queue {
		if which(i, e) {
			gone = append(gone, e)
		} else {
			kept = append(kept, e)
		}
	}
	clear(s.queue[len(kept):])
	s.queue = kept
	for _, e := range gone {
		size := cap(e.buf)
		giveChunk(e.buf)
		e.lane.discharge(size)
		e.lane.finished()
	}
}

// unused tells whether nobody needs s any more. mu is held.
func (s *sink) unused() bool { return s.lanes == 0 && !s.writing && len(s.queue) == 0 }

// writeOnce writes the beginning of parts with one system call. Where it waits
// for a reader, as in a pipe, it does so without an end.
func writeOnce(fd int, parts [][]byte) (int, error) {
	for {
		n, err := writev(fd, parts)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, int(retryAfter.Milliseconds()))
		case err == nil && n == 0:
			return 0, io.ErrShortWrite
		default:
			return max(n, 0), err
		}
	}
}

func writev(fd int, parts [][]byte) (int, error) {
	if len(parts) == 1 {
		return unix.Write(fd, parts[0])
	}
	return unix.Writev(fd, parts)
}

// tornEnd tells whether a file ends in the middle of a line, as far as it may be
// read.
func tornEnd(fd int) bool {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size == 0 {
		return false
	}
	again, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(again)
	var last [1]byte
	n, err := unix.Pread(again, last[:], st.Size-1)
	return err == nil && n == 1 && last[0] != '\n'
}
