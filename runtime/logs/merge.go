package logs

import (
	"container/heap"
	"context"
)

// merge sends what the sources have before their until, in the order of the
// lines' times; of those of the same time, in the order of the sources. Lines of
// one source keep their order whatever their times are.
func (s *sender) merge(ctx context.Context, all []*reading) error {
	var waiting turns
	for _, r := range all {
		waiting = s.line(waiting, r)
	}
	heap.Init(&waiting)
	for len(waiting) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		r := heap.Pop(&waiting).(placed).reading
		l := limits{unfinished: !s.req.Follow}
		if len(waiting) > 0 {
			l.until = &waiting[0].turn
		}
		more, err := s.step(r, l)
		if err != nil {
			return err
		}
		if !more {
			r.close()
			continue
		}
		if again := s.line(nil, r); len(again) > 0 {
			heap.Push(&waiting, again[0])
		}
	}
	return nil
}

// line adds r to those that have a line, if it has one.
func (s *sender) line(to turns, r *reading) turns {
	if r.err != nil || r.pos >= r.until {
		r.close()
		return to
	}
	s.use(r)
	t, ok, err := r.head()
	r.err = err
	if err != nil || !ok {
		r.close()
		return to
	}
	return append(to, placed{t, r})
}

// placed is a source and the turn of its next line.
type placed struct {
	turn
	reading *reading
}

// turns is a heap, the first turn on top.
type turns []placed

func (t turns) Len() int           { return len(t) }
func (t turns) Less(i, j int) bool { return t[i].before(t[j].turn) }
func (t turns) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *turns) Push(x any)        { *t = append(*t, x.(placed)) }
func (t *turns) Pop() any {
	old := *t
	last := old[len(old)-1]
	*t = old[:len(old)-1]
	return last
}
