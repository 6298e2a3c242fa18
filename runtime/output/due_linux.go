package output

import "time"

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
