package output

import (
	"math"
	"time"
)

const (
	// leastWait and longWait bound the time between two looks at a file that is
	// written to; followedWait is the most where somebody follows it.
	leastWait    = 20 * time.Millisecond
	longWait     = time.Second
	followedWait = 50 * time.Millisecond
	// crowdWait is the most where many files are written to: one is looked at
	// each millisecond then.
	crowdWait = 5 * time.Second
	crowd     = 1000
	// blindWait is between two looks at a file that cannot be watched,
	// blindSizeWait at one that may become too large, wrongWait where
	// something is wrong with it.
	blindWait     = 30 * time.Second
	blindSizeWait = 5 * time.Second
	wrongWait     = 2 * time.Second
)

// next is when an entry is looked at after a look; zero for never.
func (w *watcher) next(e *entry, r report, now time.Time) time.Time {
	at := r.deadline
	if soon := now.Add(leastWait); !at.IsZero() && at.Before(soon) {
		at = now.Add(longWait) // it is being done, or waits for its turn
	}
	earlier := func(wait time.Duration) {
		if then := now.Add(wait); at.IsZero() || then.Before(at) {
			at = then
		}
	}
	switch {
	case !e.look.idle():
		earlier(pause(r, w.busy))
	case e.look.watch == 0 && r.followed:
		earlier(longWait)
	case e.look.watch == 0 && r.left < math.MaxUint64:
		earlier(blindSizeWait)
	case e.look.watch == 0:
		earlier(blindWait)
	}
	if r.wrong {
		earlier(wrongWait)
	}
	return at
}

// pause is the time between two looks at a file that is written to, when there
// are that many of them.
func pause(r report, busy int) time.Duration {
	wait := min(longWait*time.Duration(max(busy, crowd))/crowd, crowdWait)
	if r.rate > 0 {
		// Never beyond longWait, so this does not overflow.
		full := min(float64(r.left)/float64(r.rate), crowdWait.Seconds())
		wait = min(wait, time.Duration(full*float64(time.Second)))
	}
	if r.followed {
		wait = min(wait, followedWait)
	}
	return max(wait, leastWait)
}

// dueHeap implements heap.Interface: what is due first is first.
type dueHeap []*entry

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].look.due.Before(h[j].look.due) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].look.index, h[j].look.index = i+1, j+1
}

func (h *dueHeap) Push(x any) {
	e := x.(*entry)
	*h = append(*h, e)
	e.look.index = len(*h)
}

func (h *dueHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	e.look.index = 0
	return e
}
