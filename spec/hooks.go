package spec

import (
	"fmt"
	"slices"
	"strings"
)

// CheckHooks tells why the hooks of the child name cannot work: a prehook chain
// that goes in a circle, a hook whose target has no file, or posthooks that
// never settle. lookup returns the last good version of a child.
//
// # Prehooks
//
// The chain is walked from the child to its deepest prehook, whatever the
// verbs, as supervisor-rs does; so a chain that stops one of its own members is
// a circle too.
//
// # Posthooks
//
// What a command sets off is a graph of events (verb, child):
//
//	start X, restart X, trystart X  -> the prehook of X
//	stop X, trystart X              -> the posthook of X, if X was running
//
// Only a cycle of events can go on for ever, and not each one does. `stop X` is
// satisfied where X is stopped already and sets off nothing then, so it goes
// round a second time only if something in the same cycle starts X again. A
// cycle of nothing but stops ends. So does a pair that replaces each other, A
// with prehook `stop B`, B with posthook `start A`: nothing in it starts B
// again. `trystart X` always has an effect, so A with posthook `trystart B` and
// B with posthook `trystart A` never end.
//
// There is a second way not to settle: a stop that undoes itself. Where what
// `stop X` sets off leads to `start X` or `trystart X`, X cannot be stopped
// while the others run: X with posthook `start X`; or B with posthook `stop A`
// where A has `start B`. Two children that start one another (A has `start B`,
// B has `start A`) are a fail-over and legal: a start sets off no posthook, so
// `stop A` leaves A stopped.
//
// All children that hooks lead to from name are checked, so each child of a
// loop is refused, not only the one where it shows.
func CheckHooks(name string, lookup func(string) (*Child, bool)) error {
	if c, ok := lookup(name); ok && c.Prehook == nil && c.Posthook == nil {
		return nil // most are
	}
	if _, err := prehookChain(name, lookup); err != nil {
		return err
	}
	c, ok := lookup(name)
	if !ok {
		return fmt.Errorf("%s has no file in the load paths", name)
	}
	if c.Posthook != nil {
		if _, ok := lookup(c.Posthook.Child); !ok {
			return missingTarget(c, "posthook", *c.Posthook)
		}
	}
	g := eventGraph{lookup: lookup}
	g.explore(name)
	if loop := g.endless(); loop != nil {
		return fmt.Errorf("the hooks of %s never settle: %s; remove one of them", name, describeEvents(loop, g.lookup))
	}
	for _, e := range g.nodes {
		if way := g.undone(e); way != nil {
			return fmt.Errorf("the hooks of %s never settle, %s could not be stopped: %s; remove one of them",
				name, e.Child, describeEvents(way, g.lookup))
		}
	}
	return nil
}

// prehookChain returns the prehooks to run before name is started, the deepest
// first. The error names a circle or a missing target.
func prehookChain(name string, lookup func(string) (*Child, bool)) ([]Hook, error) {
	c, ok := lookup(name)
	if !ok {
		return nil, fmt.Errorf("%s has no file in the load paths", name)
	}
	chain, seen := []Hook{}, map[string]bool{name: true}
	walked := []string{name}
	for c.Prehook != nil {
		h := *c.Prehook
		walked = append(walked, h.Child)
		if seen[h.Child] {
			return nil, fmt.Errorf("the prehooks of %s go in a circle: %s (%s: prehook %v)",
				name, shortPath(walked), printable(c.File), h)
		}
		next, ok := lookup(h.Child)
		if !ok {
			return nil, missingTarget(c, "prehook", h)
		}
		seen[h.Child] = true
		chain = append(chain, h)
		c = next
	}
	slices.Reverse(chain)
	return chain, nil
}

func missingTarget(c *Child, kind string, h Hook) error {
	return fmt.Errorf("the %s of %s, %q, names %s, which has no file in the load paths (%s)", kind, c.Name, h.String(), h.Child, printable(c.File))
}

// shortPath writes a walk over children; the middle of a very long one says
// nothing to anybody.
func shortPath(names []string) string {
	const shown = 12
	if len(names) > shown {
		names = slices.Concat(names[:shown-2], []string{"…"}, names[len(names)-2:])
	}
	return strings.Join(names, " -> ")
}

// eventGraph is what commands to a child can set off; an event is a Hook.
type eventGraph struct {
	lookup func(string) (*Child, bool)
	nodes  []Hook
	edges  map[Hook][]Hook
}

// explore collects all that commands to name, and to the children that its
// hooks lead to, can set off.
func (g *eventGraph) explore(name string) {
	g.edges = map[Hook][]Hook{}
	names, known := []string{name}, map[string]bool{name: true}
	for i := 0; i < len(names); i++ { // names grows meanwhile
		c, ok := g.lookup(names[i])
		if !ok {
			continue
		}
		for _, verb := range []Verb{VerbStart, VerbRestart, VerbStop, VerbTrystart} {
			e := Hook{verb, names[i]}
			g.nodes = append(g.nodes, e)
			if c.Prehook != nil && verb != VerbStop {
				g.edges[e] = append(g.edges[e], *c.Prehook)
			}
			if c.Posthook != nil && (verb == VerbStop || verb == VerbTrystart) {
				g.edges[e] = append(g.edges[e], *c.Posthook)
			}
			for _, to := range g.edges[e] {
				if !known[to.Child] {
					known[to.Child] = true
					names = append(names, to.Child)
				}
			}
		}
	}
}

// endless returns a cycle of events that can go on for ever, nil if there is
// none. It takes away the events that cannot happen again and again, until
// nothing changes: what is left goes on.
func (g *eventGraph) endless() []Hook {
	live := map[Hook]bool{}
	for _, e := range g.nodes {
		live[e] = true
	}
	for {
		component := g.components(live)
		gone := 0
		for e := range live {
			if !g.inCycle(e, component) || e.Verb == VerbStop && !startsAgain(e, component) {
				delete(live, e)
				gone++
			}
		}
		if gone == 0 {
			break
		}
	}
	for _, e := range g.nodes {
		if live[e] {
			return g.cycleFrom(e, live)
		}
	}
	return nil
}

// inCycle tells whether e lies on a cycle of its component.
func (g *eventGraph) inCycle(e Hook, component map[Hook]int) bool {
	return slices.ContainsFunc(g.edges[e], func(to Hook) bool {
		c, ok := component[to]
		return ok && c == component[e]
	})
}

// startsAgain tells whether the component of `stop X` also starts X.
func startsAgain(stop Hook, component map[Hook]int) bool {
	for _, verb := range []Verb{VerbStart, VerbRestart, VerbTrystart} {
		if c, ok := component[Hook{verb, stop.Child}]; ok && c == component[stop] {
			return true
		}
	}
	return false
}

// cycleFrom walks along live events until one comes again.
func (g *eventGraph) cycleFrom(e Hook, live map[Hook]bool) []Hook {
	component := g.components(live)
	var walk []Hook
	for {
		if at := slices.Index(walk, e); at >= 0 {
			return append(walk[at:], e)
		}
		walk = append(walk, e)
		for _, to := range g.edges[e] {
			if c, ok := component[to]; ok && c == component[e] {
				e = to
				break
			}
		}
	}
}

// undone returns the way from `stop X`, where e is one, to an event that starts
// X again; each stop on the way is taken to hit a running child.
func (g *eventGraph) undone(e Hook) []Hook {
	const farthest = 200 // events; bounds the work for absurdly long chains
	if e.Verb != VerbStop {
		return nil
	}
	reached, cameFrom := []Hook{e}, map[Hook]Hook{}
	for i := 0; i < len(reached) && i < farthest; i++ {
		for _, to := range g.edges[reached[i]] {
			if _, seen := cameFrom[to]; seen || to == e {
				continue
			}
			cameFrom[to] = reached[i]
			reached = append(reached, to)
			if to.Child != e.Child || to.Verb == VerbRestart {
				continue
			}
			way := []Hook{to}
			for way[len(way)-1] != e {
				way = append(way, cameFrom[way[len(way)-1]])
			}
			slices.Reverse(way)
			return way
		}
	}
	return nil
}

func describeEvents(events []Hook, lookup func(string) (*Child, bool)) string {
	names := make([]string, len(events))
	var files []string
	for i, e := range events {
		names[i] = e.String()
		if c, ok := lookup(e.Child); ok && !slices.Contains(files, printable(c.File)) && len(files) < 4 {
			files = append(files, printable(c.File))
		}
	}
	return shortPath(names) + " (" + strings.Join(files, ", ") + ")"
}
