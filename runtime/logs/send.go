package logs

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"kita/spec"
)

// openReaders is the most files, and buffers of chunkSize, that a request has
// open at once.
const openReaders = 64

// Send sends what req asks for of the sources of the set: first what there is,
// in the order of its time, then a chunk that says CaughtUp, and with req.Follow
// what comes, a chunk of each source in turn, until ctx ends or send returns an
// error. Lines of sources that do not tell their time come before those of
// others. A chunk's Time is that of its first line, and that of the others at most
// 100 ms later. A chunk without text only says where its source goes on, or what
// was lost.
//
// grep is req.Grep, compiled; nil for any line. It is matched with a line
// without its end; with the first 64 KiB of a longer one. now is what req.Age
// goes back from. send may block for as long as it likes.
//
// The error is that of send or ctx, or what is wrong with req.After; or, at the
// end, those of the sources that could not be read. With req.Follow a source
// that cannot be read is tried again when it changes, as long as another can.
func Send(ctx context.Context, set Set, req spec.LogRequest, grep *regexp.Regexp, now time.Time, send func(spec.LogChunk) error) error {
	after, latest, err := parseAfter(req)
	if err != nil {
		return err
	}
	s := &sender{
		set: set, req: req, filter: filter{stream: req.Stream, grep: grep}, since: req.Since,
		after: after, latest: latest, send: send,
		readings: map[string]*reading{}, left: map[string]cursor{}, bell: newBell(), resolved: now,
		room: make([]byte, 0, chunkSize),
	}
	if req.Age > 0 {
		s.since = now.Add(-req.Age.D())
	}
	defer s.close()
	if err := s.history(ctx); err != nil {
		return err
	}
	if !req.Follow {
		return s.failures()
	}
	return s.follow(ctx)
}

// sender carries out one request. It belongs to one goroutine, but for bell.
type sender struct {
	set    Set
	req    spec.LogRequest
	filter filter
	since  time.Time
	after  map[string]cursor
	latest time.Time // of after
	send   func(spec.LogChunk) error

	readings map[string]*reading // by name
	ordered  int                 // how many were ever added
	// recent are those that may have a file open, the one used last is the last.
	recent []*reading
	room   []byte

	// What follows is for req.Follow.
	bell     *bell
	cancel   func()            // ends the subscription to set
	left     map[string]cursor // where those that left the set had come to
	resolved time.Time         // when the set was last looked at
	quiet    []deadline
}

// reading is a feed in a request.
type reading struct {
	*feed
	// told is the place that the client knows; the zero cursor if none.
	told cursor
	// begun: pos has been chosen.
	begun bool
	// err is why it cannot be read; nil when it can.
	err error

	cancel func() // ends the subscription
	// seen is what was there, of an unfinished line, at quietAt less quietTime.
	seen    uint64
	quietAt time.Time
	// leaving: it is not in the set any more. successor is what has its name now.
	leaving   bool
	successor *Named
	// replaced is the last time at which it was known to have none.
	replaced time.Time
}

// history sends what there is.
func (s *sender) history(ctx context.Context) error {
	if s.req.Follow {
		s.cancel = s.set.Subscribe(s.bell.ringSet)
	}
	var all []*reading
	for _, n := range s.set.Sources() {
		if !s.wants(&n) || s.readings[n.name()] != nil {
			continue
		}
		r := s.add(n)
		if r.err = s.begin(ctx, r); ctx.Err() != nil {
			return ctx.Err()
		}
		all = append(all, r)
	}
	if err := s.merge(ctx, all); err != nil {
		return err
	}
	for _, r := range all {
		if r.err == nil && (r.lost > 0 || s.req.Follow && !r.isTold()) {
			if err := s.sendPlace(r); err != nil {
				return err
			}
		}
	}
	return s.send(spec.LogChunk{CaughtUp: true})
}

// wants tells whether the request is for any of the source's streams.
func (s *sender) wants(n *Named) bool {
	return s.req.Stream == "" || slices.Contains(n.Streams, s.req.Stream)
}

// add takes a source in. It is subscribed to before anything is asked of it, so
// that nothing that is written meanwhile is missed.
func (s *sender) add(n Named) *reading {
	r := &reading{feed: &feed{Named: n, name: n.name(), order: s.ordered, until: noBound}}
	s.ordered++
	s.readings[r.name] = r
	s.subscribe(r)
	return r
}

func (s *sender) subscribe(r *reading) {
	if s.req.Follow {
		r.cancel = r.Source.Subscribe(func() { s.bell.ring(r) })
	}
}

// step sends the next chunk of a source, if it has one. more is false where it
// has nothing left. The error is that of send; the source's own is in r.err.
func (s *sender) step(r *reading, l limits) (more bool, err error) {
	s.use(r)
	l.room = s.room
	chunk, after, more, err := r.chunk(s.filter, l)
	r.err = err
	if err != nil {
		r.close()
		more = false
	}
	if chunk.Text == "" && chunk.Bytes == nil {
		return more, nil
	}
	return more, s.sendChunk(r, chunk, after)
}

// sendPlace tells where a source goes on, and what was lost before it.
func (s *sender) sendPlace(r *reading) error {
	chunk := spec.LogChunk{Child: r.Child, Source: r.name, Lost: r.lost}
	r.lost = 0
	return s.sendChunk(r, chunk, r.cursor(time.Time{}))
}

func (s *sender) sendChunk(r *reading, chunk spec.LogChunk, after cursor) error {
	r.told = after
	after.at = time.Now()
	chunk.Next = after.String()
	return s.send(chunk)
}

// isTold tells whether the client knows where the source goes on.
func (r *reading) isTold() bool { return r.told == r.cursor(time.Time{}) }

// use makes room for r among the open files.
func (s *sender) use(r *reading) {
	s.recent = slices.DeleteFunc(s.recent, func(o *reading) bool { return o == r || o.buffer == nil })
	if len(s.recent) >= openReaders {
		s.recent[0].close()
		s.recent = s.recent[1:]
	}
	s.recent = append(s.recent, r)
}

// failures are the errors of the sources that cannot be read.
func (s *sender) failures() error {
	var all []error
	for _, r := range s.readings {
		if r.err != nil {
			all = append(all, fmt.Errorf("the output of %s: %w", r.name, r.err))
		}
	}
	slices.SortFunc(all, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(all...)
}

func (s *sender) close() {
	if s.cancel != nil {
		s.cancel()
	}
	for _, r := range s.readings {
		r.end()
	}
}

// end gives back what r has.
func (r *reading) end() {
	if r.cancel != nil {
		r.cancel()
	}
	r.close()
}
