package reconciler

import (
	"container/heap"
	"sync"
	"time"
)

// queue holds names that need a pass. A name is given to one worker at a time;
// one that is added while it is being worked on is given out again afterwards,
// once, however often it was added. AddAt only ever moves a wake-up earlier.
type queue struct {
	mu    sync.Mutex
	ready *sync.Cond
	// All below are guarded by mu.
	order  []string        // to be given out, oldest first
	dirty  map[string]bool // in order, or added while in work
	inWork map[string]bool
	done   uint64 // how often the work on a name has ended
	burst  int    // the most that were dirty since all was done
	wakes  wakeHeap
	byName map[string]*wake
	timer  *time.Timer // fires at the earliest wake
	closed bool
}

type wake struct {
	name  string
	at    time.Time
	index int
}

func newQueue() *queue {
	q := &queue{dirty: map[string]bool{}, inWork: map[string]bool{}, byName: map[string]*wake{}}
	q.ready = sync.NewCond(&q.mu)
	q.timer = time.AfterFunc(time.Hour, q.fire)
	q.timer.Stop()
	return q
}

// Add asks for a pass over name as soon as a worker is free.
func (q *queue) Add(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.add(name)
}

func (q *queue) add(name string) {
	if q.closed || q.dirty[name] {
		return
	}
	q.dirty[name] = true
	q.burst = max(q.burst, len(q.dirty))
	if !q.inWork[name] {
		q.order = append(q.order, name)
		q.ready.Signal()
	}
}

// AddAt asks for a pass over name at a time; a zero time asks for nothing.
func (q *queue) AddAt(name string, at time.Time) {
	if at.IsZero() {
		return
	}
	// One that was read from disk has no reading of the monotonic clock: a wall
	// clock that is set back later must not put it off.
	now := time.Now()
	at = now.Add(at.Sub(now))
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	w := q.byName[name]
	switch {
	case w == nil:
		w = &wake{name: name, at: at}
		q.byName[name] = w
		heap.Push(&q.wakes, w)
	case at.Before(w.at):
		w.at = at
		heap.Fix(&q.wakes, w.index)
	default:
		return
	}
	if q.wakes[0] == w {
		q.timer.Reset(time.Until(at))
	}
}

func (q *queue) fire() {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for len(q.wakes) > 0 && !q.wakes[0].at.After(now) {
		w := heap.Pop(&q.wakes).(*wake)
		delete(q.byName, w.name)
		q.add(w.name)
	}
	if len(q.wakes) > 0 && !q.closed {
		q.timer.Reset(time.Until(q.wakes[0].at))
	}
}

// Get waits for a name; ok is false once the queue is closed. The caller owes a
// Done for each name.
func (q *queue) Get() (name string, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.order) == 0 && !q.closed {
		q.ready.Wait()
	}
	if q.closed {
		return "", false
	}
	name, q.order = q.order[0], q.order[1:]
	delete(q.dirty, name)
	q.inWork[name] = true
	return name, true
}

// Done ends the work on a name. It tells whether nothing is left to be done.
func (q *queue) Done(name string) (idle bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.inWork, name)
	q.done++
	if q.dirty[name] && !q.closed {
		q.order = append(q.order, name)
		q.ready.Signal()
	}
	if len(q.order) > 0 || len(q.inWork) > 0 {
		return false
	}
	if q.burst > smallBurst {
		// Maps keep the room they once needed.
		q.dirty, q.inWork, q.order, q.burst = map[string]bool{}, map[string]bool{}, nil, 0
	}
	return true
}

// smallBurst is a number of names that wait for which the room is kept.
const smallBurst = 256

// Len is the number of names that wait for a worker.
func (q *queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.order)
}

// progress is how often the work on a name has ended, and how many wait.
func (q *queue) progress() (done uint64, waiting int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.done, len(q.order)
}

// Close makes every Get return.
func (q *queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.timer.Stop()
	q.ready.Broadcast()
}

type wakeHeap []*wake

func (h wakeHeap) Len() int           { return len(h) }
func (h wakeHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h wakeHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *wakeHeap) Push(x any) {
	w := x.(*wake)
	w.index = len(*h)
	*h = append(*h, w)
}
func (h *wakeHeap) Pop() any {
	old := *h
	w := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return w
}
