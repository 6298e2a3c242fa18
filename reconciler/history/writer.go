package history

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"syscall"
	"time"

	"kita/spec"
)

// writer is the file as its goroutine knows it.
type writer struct {
	path string
	file *os.File // nil while it cannot be opened
	// size is that of the file, kept what the last compaction left of it.
	size, kept int64
	// small and large are smallFile and largeFile, or less on a small disk.
	small, large int64
	// torn: it ends within a line that nobody goes on with.
	torn bool
	// batch is what is being written, the rest of it where a write was cut short;
	// cut says that it begins within a line.
	batch []byte
	cut   bool
	// spare is a buffer for what comes next.
	spare []byte
	// tried is the size at which a compaction failed.
	tried int64
}

// open opens the file, and makes it where there is none.
func (w *writer) open() error {
	// What a compaction left that did not come to its end.
	_ = os.Remove(w.path + temporary)
	f, err := os.OpenFile(w.path, os.O_RDWR|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: it is not a regular file", w.path)
	}
	if err != nil {
		_ = f.Close()
		return err
	}
	w.file, w.size, w.tried = f, info.Size(), 0
	w.small, w.large = smallFile, largeFile
	if _, all, known := roomFor(f.Fd()); known {
		w.small, w.large = min(smallFile, int64(all/8)), min(largeFile, int64(all/8))
	}
	w.kept = keptOf(f)
	w.torn = w.size > 0 && !endsWithLine(f, w.size)
	return nil
}

func endsWithLine(f io.ReaderAt, size int64) bool {
	last := make([]byte, 1)
	_, err := f.ReadAt(last, size-1)
	return err == nil && last[0] == '\n'
}

// isThere tells whether path is still this file, and as it was left: somebody may
// have removed it, or emptied it.
func (w *writer) isThere() bool {
	now, err := os.Lstat(w.path)
	if err != nil {
		return false
	}
	have, err := w.file.Stat()
	return err == nil && os.SameFile(now, have) && have.Size() >= w.size
}

// put writes as much of the batch as there is room for, and keeps the rest.
func (w *writer) put() (n int, err error) {
	if w.torn {
		n, err := w.file.Write([]byte{'\n'})
		w.size += int64(n)
		if err != nil {
			return 0, err
		}
		w.torn = false
	}
	part := w.batch
	if room := max(0, w.room()); room < int64(len(part)) {
		part = part[:bytes.LastIndexByte(part[:room], '\n')+1]
	}
	if len(part) > 0 {
		n, err = w.file.Write(part)
		w.size += int64(n)
		w.cut = n > 0 && w.batch[n-1] != '\n' || n == 0 && w.cut
		w.batch = w.batch[n:]
	}
	if err == nil && len(w.batch) > 0 {
		err = fmt.Errorf("%s: %w, the last of it is left for what the children are to do", w.path, syscall.ENOSPC)
	}
	return n, err
}

// reopen makes path the file again. It returns how many events were cut in two.
func (w *writer) reopen() (lost uint64, err error) {
	if w.file != nil {
		_ = w.file.Close()
		w.file = nil
	}
	if w.cut {
		// The rest of that line is of no use in another file.
		end := bytes.IndexByte(w.batch, '\n') + 1
		w.batch, w.cut, lost = w.batch[end:], false, 1
	}
	return lost, w.open()
}

// write is the goroutine that writes, until Close.
func (h *History) write() {
	defer close(h.done)
	var last time.Time // of the latest attempt
	for h.await(last) {
		h.writeOut(false)
		last = time.Now()
	}
	h.writeOut(true)
	if h.out.file != nil {
		_ = h.out.file.Close()
	}
}

// await returns when there is something to write and the time has come, given when
// the last attempt was made; false when no more comes.
func (h *History) await(last time.Time) bool {
	wait := again
	if h.out.batch == nil {
		wait = together
		switch h.awaitEvent() {
		case h.hurry:
			return true
		case h.quit:
			return false
		}
	}
	wait -= time.Since(last)
	if wait <= 0 {
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-h.hurry:
	case <-h.quit:
		return false
	}
	return true
}

// awaitEvent returns the channel that told something. A file that is large is
// compacted meanwhile, once nothing has happened for a while.
func (h *History) awaitEvent() chan struct{} {
	var quiet <-chan time.Time
	if h.out.isLarge() {
		timer := time.NewTimer(quietTime)
		defer timer.Stop()
		quiet = timer.C
	}
	for {
		select {
		case <-h.wake:
			return h.wake
		case <-h.hurry:
			return h.hurry
		case <-h.quit:
			return h.quit
		case <-quiet:
			h.compact()
			h.tell(nil, true)
		}
	}
}

// writeOut writes what is pending, as far as that is possible, and tells.
func (h *History) writeOut(isLast bool) {
	h.mu.Lock()
	flushes, why := h.flushes, h.err
	h.flushes = nil
	h.mu.Unlock()
	var err error
	wrote := false
	w := &h.out
	for err == nil {
		if w.batch == nil && !h.next(why) {
			break
		}
		whole := w.batch
		var n int
		n, err = h.attempt()
		wrote = wrote || n > 0
		if err == nil {
			w.batch = nil
			if cap(whole) <= maxSpare {
				w.spare = whole[:0]
			}
		}
	}
	if wrote && !isLast && w.isHuge() {
		h.compact()
	}
	h.tell(err, wrote)
	for _, done := range flushes {
		close(done)
	}
}

// next makes what is pending the batch; false where there is nothing.
func (h *History) next(why error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	lines := h.take(h.out.spare, why)
	h.out.spare = nil
	if len(lines) == 0 {
		return false
	}
	h.out.batch = lines
	h.pending.taken = lines
	return true
}

// errTooLarge is of a file that cannot be made smaller.
var errTooLarge = errors.New("it has become too large, and cannot be compacted")

// attempt writes the batch.
func (h *History) attempt() (n int, err error) {
	w := &h.out
	if w.file == nil || !w.isThere() {
		lost, err := w.reopen()
		h.mu.Lock()
		h.epoch++
		h.pending.lost += lost
		h.pending.lostEver += lost
		h.mu.Unlock()
		if err != nil {
			return 0, err
		}
	}
	if w.size > maxFile {
		return 0, fmt.Errorf("%s: %w", w.path, errTooLarge)
	}
	if _, all, known := roomFor(w.file.Fd()); known && all < smallestDisk {
		return 0, fmt.Errorf("%s: its file system has only %d KiB, a history needs one of %d", w.path, all>>10, smallestDisk>>10)
	}
	return w.put()
}

// smallestDisk is the smallest that a history is kept on: what fits on a smaller one
// is for the desired states.
const smallestDisk = 1 << 20

// reserve is what is left free on a disk, or half of one that is small: the desired
// states are there too, and without room for them nothing can be started.
const reserve = 1 << 20

// room is how many bytes may be written.
func (w *writer) room() int64 {
	left, all, known := roomFor(w.file.Fd())
	if !known {
		return math.MaxInt64
	}
	return int64(left) - int64(min(reserve, all/2))
}

// tell makes known what came of a write.
func (h *History) tell(err error, wrote bool) {
	h.mu.Lock()
	was := h.err
	if wrote || err != nil {
		h.err = err
	}
	if h.pending.inWork = h.out.batch != nil; !h.pending.inWork {
		h.pending.taken = nil
	}
	if wrote && h.news != nil {
		close(h.news)
		h.news = nil
	}
	lost := h.pending.lostEver
	h.mu.Unlock()
	switch {
	case err != nil && was == nil:
		h.logger.Error("the history of the children cannot be written, they go on without it", "err", err)
	case err == nil && was != nil && wrote:
		h.logger.Info("the history of the children is written again", "lost", lost)
	}
}

// end is how much of the file is read at the start: the latest events.
const end = 64 << 10

// readEnd finds out how far the servers before this one came. Not all is read, so
// that a long history does not make a start slower, unless the end is unreadable.
func readEnd(f io.ReaderAt, size int64) (seq uint64, former spec.Event, known map[turn]bool, err error) {
	for span := int64(end); ; span *= 16 {
		content := make([]byte, min(span, size))
		if _, err := f.ReadAt(content, size-int64(len(content))); err != nil && !errors.Is(err, io.EOF) {
			return 0, former, nil, err
		}
		if int64(len(content)) < size {
			// The first is the end of a line.
			content = content[bytes.IndexByte(content, '\n')+1:]
		}
		known = map[turn]bool{}
		seq, former = readEvents(content, known)
		if seq > 0 || span >= size {
			return seq, former, known, nil
		}
	}
}

// readEvents reads what a server has to know of the events before its own, and adds
// to what is known of runs. The last line need not have its end.
func readEvents(content []byte, known map[turn]bool) (seq uint64, former spec.Event) {
	var numbers order
	for line := range bytes.SplitSeq(content, []byte{'\n'}) {
		// The number of a line that is not whole is not given again: it may look
		// like one that is.
		if h, ok := readHead(line); ok {
			numbers.take(h.Seq)
		}
		e, ok := decode(line)
		if !ok {
			continue
		}
		if e.Type == spec.EventServer || former.Type != spec.EventServer {
			former = e
		}
		switch e.Type {
		case spec.EventStarted, spec.EventExited:
			known[turn{e.Child, e.Incarnation, e.Type}] = true
		case spec.EventForgotten:
			// The next one of that name counts from 1 again.
			maps.DeleteFunc(known, func(t turn, _ bool) bool { return t.child == e.Child })
		default:
		}
	}
	return numbers.latest(), former
}
