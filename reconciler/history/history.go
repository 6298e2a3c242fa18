package history

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"kita/spec"
)

const (
	// fileName is that of the history in the state directory.
	fileName = "events"
	// together is the shortest time between two writes: what comes meanwhile is
	// written at once.
	together = 5 * time.Millisecond
	// again is how long after a failure it is tried again.
	again = time.Second
	// quietTime is how long nothing must have happened before the file is compacted.
	quietTime = time.Second
	// closeTime is how long Close waits for a disk that hangs.
	closeTime = time.Second
	// bootGap is how far Seq jumps at a boot: events that were seen by followers may
	// have been lost with the power, and their numbers are not used again.
	bootGap = 1 << 20
)

// Options are what Open needs.
type Options struct {
	// Dir is the state directory, which nobody else writes to.
	Dir string
	// NewBoot: the machine was booted since the history was last written.
	NewBoot bool
	// Rest is what the version before this one had not written.
	Rest   Rest
	Logger *slog.Logger
}

// History is the history of one state directory. Its methods may be called from
// many goroutines at once.
type History struct {
	logger *slog.Logger
	path   string
	// former is what Former returns; known is what they
	// have written down of runs at last. Both are fixed at Open.
	former spec.Event
	known  map[turn]bool
	// isCounted: seq goes on from what they had written, so that no line has a larger
	// one. Fixed at Open.
	isCounted bool

	// wake holds a token when there is something to do, hurry when somebody waits
	// for it. quit is closed by Close, done when the writer has ended.
	wake, hurry chan struct{}
	quit, done  chan struct{}
	once        sync.Once
	// places are for those who read the file.
	places places

	mu      sync.Mutex // never held over I/O
	pending pending    // guarded by mu
	seq     uint64     // guarded by mu: the latest that was given out
	closed  bool       // guarded by mu
	err     error      // guarded by mu: why the file cannot be written; nil while it can
	epoch   int        // guarded by mu: counts the files that were at path
	// news is closed when something was written; nil while nobody waits. Guarded
	// by mu.
	news chan struct{}
	// flushes are closed at the end of the next attempt to write. Guarded by mu.
	flushes []chan struct{}

	out writer // owned by the writer's goroutine
}

// turn is the begin or the end of one run of a child.
type turn struct {
	child       string
	incarnation uint64
	kind        spec.EventType
}

// Open begins to keep the history in o.Dir. Where the file cannot be opened that
// is told by Err, and tried again.
func Open(o Options) *History {
	h := &History{
		logger: o.Logger, path: filepath.Join(o.Dir, fileName),
		wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1),
		quit: make(chan struct{}), done: make(chan struct{}), places: newPlaces(maxReaders),
	}
	h.out.path = h.path
	h.err = h.out.open()
	if err := h.learn(); err != nil && h.err == nil {
		h.err = err
	}
	h.takeRest(o.Rest)
	if o.NewBoot && h.seq > 0 {
		h.seq += bootGap
	}
	if h.err != nil {
		h.logger.Error("the history of the children cannot be written", "err", h.err)
	}
	go h.write()
	return h
}

// learn reads what the servers before this one have written last, also where nothing
// can be written.
func (h *History) learn() error {
	f := h.out.file
	if f == nil {
		var err error
		if f, err = openToRead(h.path); err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	h.seq, h.former, h.known, err = readEnd(f, info.Size())
	h.isCounted = err == nil
	return err
}

// Former is the latest event of the servers before this one that is about a server,
// any other where that is too long ago, one of no type where there is none.
func (h *History) Former() spec.Event { return h.former }

// Add takes events down, in order, and gives them their Seq, and the time where
// they have none. It does not wait for the disk.
func (h *History) Add(events ...spec.Event) {
	now := time.Now()
	for i := range events {
		h.add(&events[i], now)
	}
}

// AddOnce is Add for the begin or the end of a run that this server has not seen,
// unless a server before it has taken it down, and died before it saved that.
func (h *History) AddOnce(e spec.Event) {
	if !h.known[turn{e.Child, e.Incarnation, e.Type}] {
		h.Add(e)
	}
}

func (h *History) add(e *spec.Event, now time.Time) {
	line, err := encode(e, now)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	most := maxPending
	if h.err != nil {
		most = maxFailing
	}
	if err != nil || !h.pending.add(h.seq+1, line, most) {
		h.pending.lose()
		put(h.wake)
		return
	}
	h.seq++
	put(h.wake)
}

// put puts a token into a channel that holds one.
func put(tokens chan struct{}) {
	select {
	case tokens <- struct{}{}:
	default:
	}
}

// Err is why events cannot be written; nil while they can.
func (h *History) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// Lost counts the events that were not written and will not be.
func (h *History) Lost() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pending.lostEver
}

// Flush returns once what was added before is with the kernel, or could not be
// written.
func (h *History) Flush(ctx context.Context) {
	done := make(chan struct{})
	h.mu.Lock()
	if h.closed || h.pending.isEmpty() && !h.pending.inWork {
		h.mu.Unlock()
		return
	}
	h.flushes = append(h.flushes, done)
	h.mu.Unlock()
	put(h.hurry)
	select {
	case <-done:
	case <-h.done:
	case <-ctx.Done():
	}
}

// Close writes what is pending, and ends. What is added then is dropped. It does
// not wait for long for a disk that hangs.
func (h *History) Close() {
	h.once.Do(func() {
		h.mu.Lock()
		h.closed = true
		h.mu.Unlock()
		close(h.quit)
	})
	timeout := time.NewTimer(closeTime)
	defer timeout.Stop()
	select {
	case <-h.done:
	case <-timeout.C:
		h.logger.Error("the history of the children was not written to its end, the disk does not answer")
	}
}
