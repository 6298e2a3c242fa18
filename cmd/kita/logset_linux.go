package main

import (
	"maps"
	"slices"
	"sync"

	"kita/runtime/logs"
	"kita/spec"
)

// logSet is the output files of the children that a request for logs is about.
// Where children change only their own files are looked for again.
type logSet struct {
	find func(child string, c *spec.Child) []logs.Named
	// names is nil for all children; of these, only those that readable lets be
	// read are in the set.
	names    map[string]bool
	readable func(child string) bool

	// found, owned by who calls Sources, are the files of each child.
	found map[string][]logs.Named

	mu sync.Mutex
	// All below are guarded by mu.
	known   map[string]outputState
	changed map[string]bool // those of which found is old
	wake    func()          // nil: nobody has subscribed
}

// outputState is what the choice of a child's output files hangs on.
type outputState struct {
	spec        *spec.Child
	incarnation uint64
	phase       spec.Phase
}

var _ logs.Set = (*logSet)(nil)

// newLogSet makes a set that has no children yet.
func newLogSet(find func(string, *spec.Child) []logs.Named, children []string, readable func(string) bool) *logSet {
	s := &logSet{find: find, readable: readable, found: map[string][]logs.Named{}, known: map[string]outputState{}, changed: map[string]bool{}}
	if !slices.Contains(children, spec.All) {
		s.names = map[string]bool{}
		for _, name := range children {
			s.names[name] = true
		}
	}
	return s
}

// note takes note of a child that is Present or Removed, and wakes who has
// subscribed if the files may be others.
func (s *logSet) note(change spec.Change) {
	name := change.View.Name
	if s.names != nil && !s.names[name] {
		return
	}
	now := outputState{spec: change.View.Spec, phase: change.View.Status.Phase}
	if p := change.View.Status.Process; p != nil {
		now.incarnation = p.Incarnation
	}
	if wake := s.set(name, now, change.Type == spec.Present); wake != nil {
		wake()
	}
}

// set notes the state of a child, or that it is gone, and returns what is to be
// called then; nil for nothing.
func (s *logSet) set(name string, now outputState, present bool) (wake func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, was := s.known[name]
	if present == was && (!present || before == now) {
		return nil
	}
	s.known[name] = now
	if !present {
		delete(s.known, name)
	}
	s.changed[name] = true
	return s.wake
}

// Subscribe implements logs.Set.
func (s *logSet) Subscribe(wake func()) (cancel func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wake = wake
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.wake = nil
	}
}

// Sources implements logs.Set: the files of the children in the order of their
// names. Files are looked for without mu.
func (s *logSet) Sources() []logs.Named {
	for name, state := range s.news() {
		if state == nil {
			delete(s.found, name)
			continue
		}
		s.found[name] = s.find(name, state.spec)
	}
	var all []logs.Named
	for _, name := range slices.Sorted(maps.Keys(s.found)) {
		if s.names != nil || s.readable(name) {
			all = append(all, s.found[name]...)
		}
	}
	return all
}

// news are the children that have changed since the last call; nil for one that
// is gone.
func (s *logSet) news() map[string]*outputState {
	s.mu.Lock()
	defer s.mu.Unlock()
	news := map[string]*outputState{}
	for name := range s.changed {
		news[name] = nil
		if state, known := s.known[name]; known {
			news[name] = &state
		}
	}
	clear(s.changed)
	return news
}
