package main

import (
	"kita/control/fleet"
	"kita/spec"
)

// mostAhead is how many events of a host are read before their turn to be printed.
const mostAhead = 256

// merger prints what several hosts have, each in the order of its time, as one
// such sequence. A host waits where it is too far ahead of the others, so that no
// history is held in memory.
type merger struct {
	hosts   []fleet.Host // in which order two of the same time come
	in      map[fleet.Host]chan spec.Event
	printer *eventPrinter

	// ended is closed when nothing more is printed; err is set before.
	ended chan struct{}
	err   error
	// isDone, owned by who calls done and end, has the hosts of which nothing more
	// comes.
	isDone map[fleet.Host]bool
}

// newMerger begins to print; end has to be called.
func newMerger(hosts []fleet.Host, printer *eventPrinter) *merger {
	m := &merger{hosts: hosts, in: map[fleet.Host]chan spec.Event{}, printer: printer, ended: make(chan struct{}), isDone: map[fleet.Host]bool{}}
	for _, h := range hosts {
		m.in[h] = make(chan spec.Event, mostAhead)
	}
	go func() {
		defer close(m.ended)
		m.err = m.print()
	}()
	return m
}

// put is called for each event of a host, in their order. The error is an
// *outputError.
func (m *merger) put(h fleet.Host, e spec.Event) error {
	select {
	case m.in[h] <- e:
		return nil
	case <-m.ended:
		return m.err
	}
}

// done says that nothing more comes of a host.
func (m *merger) done(h fleet.Host) {
	if !m.isDone[h] {
		m.isDone[h] = true
		close(m.in[h])
	}
}

// end returns when everything is printed, or cannot be: the error is an
// *outputError then. No put may be running.
func (m *merger) end() error {
	for _, h := range m.hosts {
		m.done(h)
	}
	<-m.ended
	return m.err
}

// print prints until nothing more comes.
func (m *merger) print() error {
	heads := map[fleet.Host]spec.Event{}
	for {
		var first fleet.Host
		found := false
		for _, h := range m.hosts {
			head, known := heads[h]
			if !known {
				// What this host has may be older than all that is there.
				if head, known = <-m.in[h]; !known {
					continue
				}
				heads[h] = head
			}
			if !found || head.At.Before(heads[first].At) {
				first, found = h, true
			}
		}
		if !found {
			return m.printer.flush()
		}
		if err := m.printer.print(first, heads[first]); err != nil {
			return err
		}
		delete(heads, first)
	}
}
