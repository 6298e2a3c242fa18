package spec

// components numbers the strongly connected components of the live part of the
// graph: two events have the same number exactly if each leads to the other.
//
// It is Tarjan's algorithm with a stack of its own, since a chain of hooks can
// be as long as there are children.
func (g *eventGraph) components(live map[Hook]bool) map[Hook]int {
	t := tarjan{index: map[Hook]int{}, low: map[Hook]int{}, component: map[Hook]int{}}
	for _, e := range g.nodes {
		if _, seen := t.index[e]; live[e] && !seen {
			t.visit(e, g.edges, live)
		}
	}
	return t.component
}

type tarjan struct {
	index, low map[Hook]int
	component  map[Hook]int
	// open are the visited events that are in no component yet.
	open []Hook
	next int
}

type tarjanFrame struct {
	event Hook
	edge  int
}

func (t *tarjan) visit(root Hook, edges map[Hook][]Hook, live map[Hook]bool) {
	frames := []tarjanFrame{t.enter(root)}
	for len(frames) > 0 {
		f := &frames[len(frames)-1]
		if f.edge < len(edges[f.event]) {
			to := edges[f.event][f.edge]
			f.edge++
			switch _, seen := t.index[to]; {
			case !live[to]:
			case !seen:
				frames = append(frames, t.enter(to))
			case t.isOpen(to):
				t.low[f.event] = min(t.low[f.event], t.index[to])
			}
			continue
		}
		done := f.event
		frames = frames[:len(frames)-1]
		if len(frames) > 0 {
			parent := frames[len(frames)-1].event
			t.low[parent] = min(t.low[parent], t.low[done])
		}
		if t.low[done] == t.index[done] {
			t.close(done)
		}
	}
}

func (t *tarjan) enter(e Hook) tarjanFrame {
	t.index[e], t.low[e] = t.next, t.next
	t.next++
	t.open = append(t.open, e)
	return tarjanFrame{event: e}
}

func (t *tarjan) isOpen(e Hook) bool {
	_, closed := t.component[e]
	return !closed
}

// close makes a component of the open events down to root.
func (t *tarjan) close(root Hook) {
	for {
		e := t.open[len(t.open)-1]
		t.open = t.open[:len(t.open)-1]
		t.component[e] = t.index[root]
		if e == root {
			return
		}
	}
}
