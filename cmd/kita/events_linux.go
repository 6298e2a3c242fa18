package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"kita/spec"
)

// Events sends what happened to the children, of which one that is gone may have
// left something.
func (s service) Events(ctx context.Context, r spec.EventRequest, readable func(string) bool, send func([]spec.Event) error) error {
	var unknown []string
	for _, name := range r.Children {
		if _, known := s.Get(name); !known && name != spec.All {
			unknown = append(unknown, name)
		}
	}
	if unknown != nil {
		left, err := s.s.history.Left(ctx, unknown)
		if err != nil {
			return err
		}
		for _, name := range unknown {
			if !slices.Contains(left, name) {
				return spec.Refuse(spec.NotFound, "events", name, "there is no child %q: no file of that name is in the load paths, and it has left no events", name)
			}
		}
	}
	return s.s.history.Send(ctx, r, readable, send)
}

// historyTime is what a disk has that may hang.
const historyTime = 100 * time.Millisecond

// recordBegin takes down how this server came about.
func (s *server) recordBegin(before *handover) {
	e := spec.Event{Type: spec.EventServer, PID: os.Getpid(), Server: spec.ServerStarted, Message: "started, version " + version}
	former := s.history.Former()
	switch {
	case before != nil && before.Failure == "":
		e.Server, e.Message = spec.ServerUpgraded, fmt.Sprintf("upgraded from %s to %s", before.From, version)
	case before != nil:
		e.Server, e.Message = spec.ServerTookOver, fmt.Sprintf("was not upgraded, version %s goes on: %s", version, before.Failure)
	case !s.store.SameBoot() && former.Type != "":
		e.Message = "started after a boot, version " + version
	case !s.store.SameBoot(), s.store.Ended():
	case former.Type == "" || former.Server == spec.ServerEnds:
		e.Server, e.Message = spec.ServerTookOver, "took over from a server that had ended, version "+version
	default:
		e.Server, e.Message = spec.ServerRecovered, "took over from a server that was killed or crashed, version "+version
	}
	s.history.Add(e)
}

// recordEnd takes down that this server ends, and its children do not.
func (s *server) recordEnd(message string) {
	s.history.Add(spec.Event{Type: spec.EventServer, PID: os.Getpid(), Server: spec.ServerEnds, Message: message})
}

// historyProblem is why the history cannot be written, in one line; "" while it can.
// What has failed is tried once more, so that nobody is told of what is over.
func (s *server) historyProblem() string {
	if s.history.Err() == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), historyTime)
	defer cancel()
	s.history.Flush(ctx)
	err := s.history.Err()
	if err == nil {
		return ""
	}
	line := fmt.Sprintf("the history of the children cannot be written, they go on without it: %v", err)
	if lost := s.history.Lost(); lost > 0 {
		line += fmt.Sprintf("; %d events are lost", lost)
	}
	return line
}
