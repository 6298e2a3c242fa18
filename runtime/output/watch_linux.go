package output

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

const (
	// quietLooks is after how many looks without growth a file is idle.
	quietLooks = 2
	// rotationsPerDevice is how many files of one file system are rotated at once.
	rotationsPerDevice = 2
	// closePatience is how long close waits for a disk.
	closePatience = 10 * time.Second
)

// look is when an entry is looked at; guarded by watcher.mu.
type look struct {
	// due is in the heap at index-1; index 0: it is not due at any time.
	due   time.Time
	index int
	// looking: it is being looked at; again: and has to be once more.
	looking, again bool
	// watch is the number of its watch, 0 for none, mask what for.
	watch int32
	mask  uint32
	// quiet counts the looks without growth, end is what the last one saw.
	quiet int
	end   uint64
}

// idle: nobody writes to it; an event tells when somebody does.
func (l *look) idle() bool { return l.quiet >= quietLooks }

// report is what a look found.
type report struct {
	end uint64
	// left is how many bytes it may grow before it has to be rotated, MaxUint64
	// where it is not, rate how fast it grows, in bytes a second.
	left, rate uint64
	followed   bool
	// at is where inotify finds the file; wrong: it is not at its path, or its disk
	// is full.
	at    string
	wrong bool
	// deadline is when it has to be looked at even if it is idle; zero for never.
	deadline time.Time
}

// watcher decides when files are looked at. Idle files have a watch for one
// event of the kernel; the others are looked at as often as their growth asks
// for. So a file costs nothing while nobody writes, and nothing for each write.
//
// The looks are done by a crew for each file system, so that a disk that hangs
// holds no other up.
type watcher struct {
	examine func(*entry, time.Time) report
	notify  *inotify // nil where there is none to be had
	// blind is told once that a file which is there cannot be watched.
	blind   func(error)
	warned  sync.Once
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	// kick tells the goroutine that something is due earlier.
	kick chan struct{}

	mu sync.Mutex
	// All below is guarded by mu, as look is in every entry.
	closed  bool
	heap    dueHeap
	devices map[uint64]*device
	watched map[int32]*entry
	// arming is how many watches are being added, missed are events of watches
	// that nobody knew meanwhile.
	arming int
	missed map[int32]bool
	busy   int // files that are not idle
}

// device is who works on a file system.
type device struct{ looks, rotations crew }

// newWatcher starts the goroutine; close ends it, and notify.
func newWatcher(examine func(*entry, time.Time) report, notify *inotify, blind func(error)) *watcher {
	w := &watcher{examine: examine, notify: notify, blind: blind, kick: make(chan struct{}, 1),
		devices: map[uint64]*device{}, watched: map[int32]*entry{}, missed: map[int32]bool{}}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.running.Go(w.run)
	return w
}

// wake has an entry looked at now.
func (w *watcher) wake(e *entry) {
	w.mu.Lock()
	w.rouse(e)
	w.mu.Unlock()
	w.nudge()
}

// rouse is wake for the holder of mu.
func (w *watcher) rouse(e *entry) {
	if e.look.looking {
		e.look.again = true
		return
	}
	w.schedule(e, time.Now())
}

func (w *watcher) nudge() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// schedule makes an entry due at a time; the zero time is never. mu is held.
func (w *watcher) schedule(e *entry, at time.Time) {
	switch {
	case at.IsZero() && e.look.index > 0:
		heap.Remove(&w.heap, e.look.index-1)
	case at.IsZero():
	case e.look.index > 0:
		e.look.due = at
		heap.Fix(&w.heap, e.look.index-1)
	default:
		e.look.due = at
		heap.Push(&w.heap, e)
	}
}

// run hands out what is due. It is the watcher's goroutine.
func (w *watcher) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var events chan int32
	if w.notify != nil {
		events = w.notify.events
	}
	for {
		select {
		case <-w.ctx.Done():
			return
		case <-timer.C:
		case <-w.kick:
		case watch, open := <-events:
			if !open {
				events = nil
			}
			w.happened(watch)
		}
		if next := w.handOut(time.Now()); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
	}
}

// handOut has everything that is due looked at, and returns when something is
// the next time; zero for never.
func (w *watcher) handOut(now time.Time) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.heap) > 0 && !w.closed {
		e := w.heap[0]
		if e.look.due.After(now) {
			return e.look.due
		}
		heap.Pop(&w.heap)
		e.look.looking = true
		w.device(e).looks.do(func() { w.lookAt(e) })
	}
	return time.Time{}
}

// device returns who works on an entry's file system. mu is held.
func (w *watcher) device(e *entry) *device {
	dev := e.file.Key().Dev
	d := w.devices[dev]
	if d == nil {
		d = &device{looks: crew{most: 1, running: &w.running}, rotations: crew{most: rotationsPerDevice, running: &w.running}}
		w.devices[dev] = d
	}
	return d
}

// rotation has a task done beside the looks, if it is none of too many.
func (w *watcher) rotation(e *entry, task func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.device(e).rotations.do(task)
	}
}

// unlessClosed calls do, which may begin work that close waits for.
func (w *watcher) unlessClosed(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		do()
	}
}

// beside has a task done by those who look; false once closed.
func (w *watcher) beside(e *entry, task func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.device(e).looks.do(task)
	}
	return !w.closed
}

// lookAt looks, and decides when to look again. What became idle is watched, and
// looked at once more: before there was the watch it may have been written to, or
// removed.
func (w *watcher) lookAt(e *entry) {
	if w.ctx.Err() != nil {
		return
	}
	r := w.examine(e, time.Now())
	tried := w.arm(e, r, w.tally(e, r))
	if tried && w.isIdle(e) {
		r = w.examine(e, time.Now())
		w.tally(e, r)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	e.look.looking = false
	at := w.next(e, r, time.Now())
	if e.look.again {
		e.look.again = false
		at = time.Now()
	}
	w.schedule(e, at)
	w.nudge()
}

// tally counts the looks without growth, and returns which events to watch for.
func (w *watcher) tally(e *entry, r report) (mask uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.end == e.look.end {
		w.setQuiet(e, e.look.quiet+1)
	} else {
		e.look.end = r.end
		w.setQuiet(e, 0)
	}
	if e.look.idle() {
		return watchWrites
	}
	return watchMoves
}

func (w *watcher) setQuiet(e *entry, looks int) {
	was := e.look.idle()
	e.look.quiet = looks
	switch is := e.look.idle(); {
	case was && !is:
		w.busy++
	case is && !was:
		w.busy--
	}
}

func (w *watcher) isIdle(e *entry) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return e.look.idle()
}

// unsettled counts the files that are being looked at, or are due within the time
// that a file is looked at while it is not idle.
func (w *watcher) unsettled(now time.Time) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.arming
	for _, e := range w.heap {
		if e.look.due.Before(now.Add(crowdWait)) {
			n++
		}
	}
	return n
}

// close ends the looks, and waits for what is under way; it returns false where
// that does not end.
func (w *watcher) close() bool {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.cancel()
	done := make(chan struct{})
	go func() {
		w.running.Wait()
		close(done)
	}()
	if w.notify != nil {
		w.notify.close()
	}
	select {
	case <-done:
		return true
	case <-time.After(closePatience):
		return false
	}
}
