package controltest

import (
	"context"
	"slices"
	"time"

	"kita/spec"
)

// Record adds events, with their Seq.
func (s *Service) Record(events ...spec.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range events {
		e.Seq = uint64(len(s.history) + 1)
		s.history = append(s.history, e)
	}
	close(s.wrote)
	s.wrote = make(chan struct{})
}

// Wanted are the requests that Events was called with, in order.
func (s *Service) Wanted() []spec.EventRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.wants)
}

// Events sends what was recorded, then what is. An Age counts back from now.
func (s *Service) Events(ctx context.Context, r spec.EventRequest, readable func(string) bool, send func([]spec.Event) error) error {
	s.mu.Lock()
	s.wants = append(s.wants, r)
	s.mu.Unlock()
	if s.EventsFunc != nil {
		return s.EventsFunc(ctx, r, readable, send)
	}
	if r.Age > 0 {
		r.Since = time.Now().Add(-r.Age.D())
	}
	if r.After > 0 {
		r.Tail, r.Since = nil, time.Time{}
	}
	for after, told := r.After, false; ; told = true {
		events, wrote, latest, err := s.eventsAfter(after, r, readable)
		if err != nil {
			return err
		}
		if !told {
			if r.Tail != nil {
				events = events[max(0, len(events)-*r.Tail):]
			}
			events = append(events, spec.Event{Seq: latest, Type: spec.EventCaughtUp})
		}
		after = latest
		if len(events) > 0 {
			if err := send(events); err != nil {
				return err
			}
		}
		if !r.Follow {
			return nil
		}
		select {
		case <-wrote:
		case <-ctx.Done():
			return nil
		}
	}
}

// eventsAfter are the events of r behind one, what is closed when there may be
// more, and the latest Seq.
func (s *Service) eventsAfter(after uint64, r spec.EventRequest, readable func(string) bool) (events []spec.Event, wrote <-chan struct{}, latest uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Contains(r.Children, spec.All)
	for _, name := range r.Children {
		left := slices.ContainsFunc(s.history, func(e spec.Event) bool { return e.Child == name })
		if !all && !left && s.children[name] == nil {
			return nil, nil, 0, spec.Refuse(spec.NotFound, "events", name, "there is no child %q: no file of that name is in the load paths, and it has left no events", name)
		}
	}
	for _, e := range s.history {
		switch {
		case e.Seq <= after, e.At.Before(r.Since), !all && !slices.Contains(r.Children, e.Child), all && !readable(e.Child):
		case len(r.Types) > 0 && !slices.Contains(r.Types, e.Type):
		default:
			events = append(events, e)
		}
	}
	return events, s.wrote, uint64(len(s.history)), nil
}
