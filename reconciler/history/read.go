package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"syscall"
	"time"

	"kita/spec"
)

// maxBatch is how many events are sent at once.
const maxBatch = 64

// decode reads a line; false where it is no event.
func decode(line []byte) (e spec.Event, ok bool) {
	if json.Unmarshal(line, &e) != nil {
		return spec.Event{}, false
	}
	return e, e.Seq > 0 && e.Seq <= maxSeq && e.Type != ""
}

// Send sends the events that r asks for, oldest first, one of the type
// EventCaughtUp, and with r.Follow what is added then, until ctx ends, or send
// fails, whose error it returns. send may block for long; it is never called twice
// at once. Children may be of any name; readable says whose events may be sent, with
// "" for those of the server.
//
// A reader that is so slow that the file is compacted twice meanwhile misses what
// that has dropped, and nothing else.
func (h *History) Send(ctx context.Context, r spec.EventRequest, readable func(child string) bool, send func([]spec.Event) error) error {
	h.Flush(ctx)
	v := &reader{h: h, wanted: newWanted(r, readable, time.Now()), send: send}
	defer v.close()
	v.last = r.After
	if r.After > h.latest() {
		// Of a history before this one.
		v.last = 0
	}
	if r.Tail != nil && r.After == 0 {
		if err := v.skipBut(ctx, *r.Tail); err != nil {
			return orEnd(ctx, err)
		}
	}
	for told := false; ; told = true {
		news := h.onNews()
		if err := v.readOn(ctx); err != nil {
			return orEnd(ctx, err)
		}
		if !told {
			if err := v.caughtUp(); err != nil {
				return err
			}
			// What follows is of few of the children, and may take long to come. It
			// is news whatever its time: the clock may have been set back.
			v.wanted.known, v.wanted.since = map[string]bool{}, time.Time{}
		}
		if !r.Follow {
			return nil
		}
		select {
		case <-news:
		case <-h.done:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// orEnd is nil where the reading ended with ctx.
func orEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Left are those of the children that have left an event.
func (h *History) Left(ctx context.Context, children []string) ([]string, error) {
	h.Flush(ctx)
	var left []string
	v := &reader{h: h}
	defer v.close()
	v.each = func(e head) {
		if slices.Contains(children, e.Child) && !slices.Contains(left, e.Child) {
			left = append(left, e.Child)
		}
	}
	return left, v.readOn(ctx)
}

// bound is the largest number that a line can have.
func (h *History) bound() uint64 {
	if !h.isCounted {
		return maxSeq
	}
	return h.latest()
}

func (h *History) latest() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seq
}

// onNews is closed when something was written since.
func (h *History) onNews() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.news == nil {
		h.news = make(chan struct{})
	}
	return h.news
}

func (h *History) currentEpoch() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.epoch
}

// wanted decides which events are sent.
type wanted struct {
	all      bool
	children []string
	types    []spec.EventType
	since    time.Time
	readable func(child string) bool
	// known has the answers of readable.
	known map[string]bool
}

func newWanted(r spec.EventRequest, readable func(string) bool, now time.Time) *wanted {
	w := &wanted{all: slices.Contains(r.Children, spec.All), children: r.Children, types: r.Types, readable: readable, known: map[string]bool{}}
	switch {
	case r.After > 0:
	case r.Age > 0:
		w.since = now.Add(-r.Age.D())
	default:
		w.since = r.Since
	}
	return w
}

func (w *wanted) has(e head) bool {
	switch {
	case !w.all && (e.Child == "" || !slices.Contains(w.children, e.Child)),
		len(w.types) > 0 && !slices.Contains(w.types, e.Type),
		e.At.Before(w.since):
		return false
	}
	may, known := w.known[e.Child]
	if !known {
		may = w.readable(e.Child)
		w.known[e.Child] = may
	}
	return may
}

// reader reads the file from its beginning, and on from where it came to. It needs a
// place for that.
type reader struct {
	h      *History
	wanted *wanted
	send   func([]spec.Event) error
	// each, where it is set, gets the head of every event instead.
	each func(head)

	file  *os.File // nil before it was opened, and while there is none
	epoch int
	at    int64 // where the next line begins
	order order // of the lines before at
	// heldLine and heldHead are what order holds; the buffer is used again.
	heldLine []byte
	heldHead head
	// last is the Seq of the latest event seen; what comes with a smaller one, in a
	// file that was compacted, is known.
	last uint64
	// skip is how many of those wanted are passed over.
	skip  int
	batch []spec.Event
	lines *lines // of its place; nil while it has none
}

func (v *reader) close() {
	v.leave()
	if v.file != nil {
		_ = v.file.Close()
		v.file = nil
	}
}

// readOn reads to the end of the file, and of the one that has taken its place.
func (v *reader) readOn(ctx context.Context) error {
	defer v.leave()
	for {
		if err := v.enter(ctx); err != nil {
			return err
		}
		now := v.h.currentEpoch()
		if v.file == nil {
			if err := v.open(now); err != nil || v.file == nil {
				return err
			}
		}
		if err := v.toEnd(ctx); err != nil {
			return err
		}
		// Nothing is appended to a file that was replaced before it was read.
		if v.epoch == now {
			return v.flush()
		}
		v.close()
		if v.wanted != nil {
			// Who may be read is asked once for each file.
			clear(v.wanted.known)
		}
	}
}

// skipBut passes over the events that are wanted, but for the latest so many.
func (v *reader) skipBut(ctx context.Context, most int) error {
	if err := v.enter(ctx); err != nil {
		return err
	}
	if err := v.open(v.h.currentEpoch()); err != nil || v.file == nil {
		return err
	}
	n := 0
	var last uint64
	v.each = func(e head) {
		last = e.Seq
		if most > 0 && v.wanted.has(e) {
			n++
		}
	}
	err := v.toEnd(ctx)
	if most == 0 {
		// It goes on from here.
		v.each, v.last = nil, last
		return err
	}
	v.each, v.at, v.order, v.skip = nil, 0, order{}, max(0, n-most)
	return err
}

func (v *reader) open(epoch int) error {
	f, err := openToRead(v.h.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the history: %w", err)
	}
	v.file, v.epoch, v.at, v.order = f, epoch, 0, order{}
	return nil
}

func openToRead(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}

// toEnd reads the whole lines there are, but for those whose numbers were damaged:
// these would hide what comes behind them. It gives its place up while it sends.
func (v *reader) toEnd(ctx context.Context) error {
	v.begin()
	bound := v.h.bound()
	for ctx.Err() == nil {
		line, err := v.lines.next()
		v.at = v.lines.at
		switch {
		case errors.Is(err, io.EOF):
			if v.order.end() {
				v.take()
			}
			return nil
		case err != nil:
			return fmt.Errorf("read the history: %w", err)
		}
		h, ok := readHead(line)
		if ok && h.Seq > bound {
			bound = v.h.bound()
		}
		if !ok || h.Seq > bound {
			continue
		}
		release, hold := v.order.take(h.Seq)
		if release {
			v.take()
		}
		if hold {
			v.heldHead, v.heldLine = h, append(v.heldLine[:0], line...)
		}
		if len(v.batch) >= maxBatch {
			if err := v.flush(); err != nil {
				return err
			}
			if err := v.enter(ctx); err != nil {
				return err
			}
			v.begin()
		}
	}
	return ctx.Err()
}

// begin reads on where the reader has come to.
func (v *reader) begin() {
	v.lines.begin(io.NewSectionReader(v.file, v.at, math.MaxInt64-v.at), v.at)
}

// take puts the event of the line that was held to those that are sent next, if it
// is wanted.
func (v *reader) take() {
	h, line := v.heldHead, v.heldLine
	if v.each != nil {
		v.each(h)
		return
	}
	if h.Seq <= v.last {
		return
	}
	v.last = h.Seq
	if !v.wanted.has(h) {
		return
	}
	if v.skip > 0 {
		v.skip--
		return
	}
	e, ok := decode(line)
	if ok && e.Seq == h.Seq && e.Child == h.Child && e.Type == h.Type {
		v.batch = append(v.batch, e)
	}
}

// flush sends what was taken. The reader has no place then: a client may take its
// time.
func (v *reader) flush() error {
	v.leave()
	if len(v.batch) == 0 {
		return nil
	}
	batch := v.batch
	v.batch = nil
	return v.send(batch)
}

func (v *reader) caughtUp() error {
	return v.send([]spec.Event{{Type: spec.EventCaughtUp, Seq: v.last}})
}
