package history

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"kita/spec"
)

const (
	// perChild and ofServer are how many of the latest events are kept of a child
	// and of the server. One that is restarted all the time does not push out what
	// happened to the others.
	perChild, ofServer = 64, 256
	// atLeast is what a child keeps where there are very many of them.
	atLeast = 4
	// forgottenFor is how long what happened to a child is kept after its file went.
	forgottenFor = 7 * 24 * time.Hour
	// smallFile is not compacted, largeFile is what a compaction may leave at most,
	// as nearly as can be said before; on a small disk both are an eighth of it. All in
	// bytes.
	smallFile, largeFile = 4 << 20, 32 << 20
	// maxFile is where writing ends if compactions fail.
	maxFile = 4 * largeFile
)

// temporary ends the name of the file that is to take the place of the history.
const temporary = ".tmp"

// keptFormat is the first line of a file that was compacted: how many bytes that
// left, so that a server that begins knows when to do it next.
const keptFormat = "{\"kept\":%20d}\n"

const keptLength = 30

// keptOf reads it; 0 where there is none.
func keptOf(f io.ReaderAt) (kept int64) {
	line := make([]byte, keptLength)
	if _, err := f.ReadAt(line, 0); err != nil {
		return 0
	}
	if _, err := fmt.Sscanf(string(line), "{\"kept\":%d}", &kept); err != nil || kept < 0 {
		return 0
	}
	return min(kept, largeFile)
}

// limit is the size at which to compact: twice what the last time left, so that an
// event is copied about once.
func (w *writer) limit() int64 {
	limit := max(w.small, 2*w.kept)
	if w.tried > 0 {
		limit = max(limit, w.tried+w.small)
	}
	return limit
}

// isLarge tells whether to compact as soon as nothing happens: when many thousand
// children start at once there is better to do.
func (w *writer) isLarge() bool { return w.size > w.limit() }

// isHuge tells whether to compact whatever happens.
func (w *writer) isHuge() bool { return w.size > w.limit()*3/2 }

// compact replaces the file with one of the events that are kept. Until it is
// renamed the old one is whole.
func (h *History) compact() {
	w := &h.out
	began := time.Now()
	before := w.size
	f, size, err := w.compacted(began)
	if err != nil {
		w.tried = w.size
		_ = os.Remove(w.path + temporary)
		h.logger.Warn("cannot compact the history of the children", "err", err)
		return
	}
	_ = w.file.Close()
	w.file, w.size, w.kept, w.tried = f, size, size, 0
	h.mu.Lock()
	h.epoch++
	h.mu.Unlock()
	h.logger.Debug("the history of the children was compacted", "before", before, "after", size, "took", time.Since(began))
}

// compacted makes the new file and puts it in place.
func (w *writer) compacted(now time.Time) (f *os.File, size int64, err error) {
	tallies, err := w.tally()
	if err != nil {
		return nil, 0, err
	}
	left := tallies.choose(now, w.large)
	if w.room() < left {
		return nil, 0, syscall.ENOSPC
	}
	_ = os.Remove(w.path + temporary)
	f, err = os.OpenFile(w.path+temporary, os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, 0, err
	}
	size, err = w.copyTo(f, tallies, left)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(w.path+temporary, w.path)
	}
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, size, nil
}

// tally is what is known of one child's events, in their order.
type tally struct {
	events int
	bytes  int64
	// last is the type of the latest, at its time.
	last spec.EventType
	at   time.Time
	// drop is how many of the oldest are not kept.
	drop int
}

type tallies map[string]*tally

// takes counts a line; false for one that says no more than the one before it: a
// server that is killed all the time adopts all the time.
func (t *tally) takes(h head) bool {
	doubled := h.Type == spec.EventAdopted && t.last == spec.EventAdopted
	t.last, t.at = h.Type, h.At
	return !doubled
}

// each calls do with every line that is an event, and with its child's tally.
func (w *writer) each(all tallies, do func(t *tally, line []byte) error) error {
	var lines lines
	lines.begin(io.NewSectionReader(w.file, 0, w.size), 0)
	for {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		h, ok := readHead(line)
		if !ok {
			continue
		}
		t := all[h.Child]
		if t == nil {
			t = &tally{}
			all[h.Child] = t
		}
		if !t.takes(h) {
			continue
		}
		if err := do(t, line); err != nil {
			return err
		}
	}
}

func (w *writer) tally() (tallies, error) {
	all := tallies{}
	err := w.each(all, func(t *tally, line []byte) error {
		t.events++
		t.bytes += int64(len(line)) + 1
		return nil
	})
	return all, err
}

// choose decides what is dropped: of each child all but the latest, fewer where
// there are very many children or large is small, then all of those whose files are gone. It returns
// about how many bytes are left.
func (all tallies) choose(now time.Time, large int64) (left int64) {
	for _, t := range all {
		if t.last == spec.EventForgotten && now.Sub(t.at) > forgottenFor {
			t.drop = t.events
		}
	}
	for most := perChild; ; most /= 2 {
		if left = all.keep(most); left <= large {
			return left
		}
		if most/2 < atLeast {
			break
		}
	}
	for _, t := range all {
		if t.last == spec.EventForgotten {
			t.drop = t.events
		}
	}
	return all.keep(atLeast)
}

// keep drops all but so many events of each child, and returns about how many bytes
// are left.
func (all tallies) keep(most int) (left int64) {
	for child, t := range all {
		limit := most
		if child == "" {
			limit = ofServer
		}
		t.drop = max(t.drop, t.events-limit)
		if t.events > 0 {
			left += t.bytes * int64(t.events-t.drop) / int64(t.events)
		}
	}
	return left
}

// copyTo copies what is not dropped, which is about so much.
func (w *writer) copyTo(f *os.File, all tallies, left int64) (size int64, err error) {
	for _, t := range all {
		t.last = ""
	}
	out := bufio.NewWriterSize(f, maxLine)
	n, err := fmt.Fprintf(out, keptFormat, left)
	if err != nil {
		return 0, err
	}
	size = int64(n)
	err = w.each(all, func(t *tally, line []byte) error {
		if t.drop > 0 {
			t.drop--
			return nil
		}
		size += int64(len(line)) + 1
		if _, err := out.Write(line); err != nil {
			return err
		}
		return out.WriteByte('\n')
	})
	if err != nil {
		return 0, err
	}
	return size, out.Flush()
}
