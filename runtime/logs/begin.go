package logs

import (
	"context"
	"time"
)

// lateness is by how much a source may have been written to before it is in the
// set.
const lateness = 5 * time.Second

// begin chooses where a source that is in the set from the first begins, and
// bounds it at the present end.
func (s *sender) begin(ctx context.Context, r *reading) error {
	r.identity = identityOf(r.Source)
	err := s.place(ctx, r)
	r.begun = err == nil
	return err
}

// place sets pos and until.
func (s *sender) place(ctx context.Context, r *reading) error {
	oldest, end := r.Source.Bounds()
	r.until = end
	if c, known := s.cursorOf(r); known {
		return s.resume(r, c)
	}
	from := oldest
	var err error
	if !s.since.IsZero() {
		if from, err = r.feed.since(ctx, s.since); err != nil {
			return err
		}
	}
	if s.req.Tail != nil {
		if from, err = r.tail(ctx, *s.req.Tail, from, end, s.filter); err != nil {
			return err
		}
	}
	if len(s.after) > 0 {
		// It came into the set after the client's connection broke. What was
		// written since then is not left out.
		missed, err := lineStart(r.Source, r.Source.PositionAt(s.latest.Add(-lateness)))
		if err != nil {
			return err
		}
		from = min(from, missed)
	}
	return s.startAt(r, from)
}

// cursorOf is where the client has read the source to. It may know the same file
// by another name, since the child's streams have been given out anew.
func (s *sender) cursorOf(r *reading) (c cursor, known bool) {
	if c, known = s.after[r.name]; known {
		return c, true
	}
	for _, name := range namesOf(r.Child) {
		if c, known = s.after[name]; known && c.identity == r.identity {
			return c, true
		}
	}
	return cursor{}, false
}

// resume goes on at a cursor. Where positions have started anew it goes on with
// what was written since the cursor was made.
func (s *sender) resume(r *reading, c cursor) error {
	_, end := r.Source.Bounds()
	if c.identity != r.identity || c.pos > end {
		return s.appear(r, c.at)
	}
	r.pos = c.pos
	r.told = c
	r.told.at = time.Time{}
	if c.place != atLine {
		r.goOn(c.place == inShown)
	}
	return nil
}

// appear begins with what was written at t or later, in whole lines.
func (s *sender) appear(r *reading, t time.Time) error {
	from, err := lineStart(r.Source, r.Source.PositionAt(t))
	r.pos = from
	return err
}

// startAt begins at from. That is in a line only if it is the end, and then the
// rest of the line is sent unless lines have to match.
func (s *sender) startAt(r *reading, from uint64) error {
	r.pos = from
	if _, end := r.Source.Bounds(); s.req.Tail == nil || *s.req.Tail > 0 || from != r.until || end == 0 {
		return nil
	}
	start, err := lineStart(r.Source, from)
	if err == nil && start < from {
		r.goOn(s.filter.grep == nil)
	}
	return err
}

// goOn has the feed be within a line.
func (f *feed) goOn(shown bool) {
	f.inLine, f.shown, f.at = true, shown, f.Source.TimeOf(f.pos)
	if len(f.Streams) == 1 {
		f.stream = f.Streams[0]
	}
}
