package metrics

import (
	"slices"
	"strings"
	"sync"

	"kita/spec"
)

// childCounts is what happened to each child since the server began.
type childCounts struct {
	mu         sync.Mutex
	of         map[string]*counted // mu: by the value of the label child
	staleFacts uint64              // mu
}

// counted is what happened to one child.
type counted struct {
	// ran: it had a process under this server. begun: it was first seen as that
	// process was started.
	ran, begun         bool
	failures, oomKills uint64
	// restarts are by the index in causes.
	restarts [len(causes)]uint64
	exits    []exitCount
}

type exit struct{ code, signal string }

type exitCount struct {
	exit
	n uint64
}

// causes are the values of the label, in their order.
var causes = [...]string{string(spec.CauseCommand), string(spec.CauseHook), string(spec.CauseMode), string(spec.CausePolicy), string(spec.CauseRepeat), unknown}

func causeIndex(cause string) int {
	if i := slices.Index(causes[:], cause); i >= 0 {
		return i
	}
	return len(causes) - 1
}

func (c *childCounts) staleFact() {
	c.mu.Lock()
	c.staleFacts++
	c.mu.Unlock()
}

// child is that of a name; mu is held.
func (c *childCounts) child(name string) *counted {
	one := c.of[name]
	if one == nil {
		one = &counted{}
		c.of[strings.Clone(name)] = one
	}
	return one
}

func (c *childCounts) started(name, cause string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.child(name)
	if !one.ran {
		// Not a restart, and what alerts look at exists from here on: rate()
		// cannot see a counter that begins at 1.
		one.ran, one.begun = true, true
		return
	}
	one.restarts[causeIndex(cause)]++
}

func (c *childCounts) exited(name string, e exit, success, oomKilled bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.child(name)
	one.ran = true
	at := slices.IndexFunc(one.exits, func(seen exitCount) bool { return seen.exit == e })
	if at < 0 {
		at = len(one.exits)
		one.exits = append(one.exits, exitCount{exit: e})
	}
	one.exits[at].n++
	if !success {
		one.failures++
	}
	if oomKilled {
		one.oomKills++
	}
}

func (c *childCounts) forget(name string) {
	c.mu.Lock()
	delete(c.of, name)
	c.mu.Unlock()
}

// labelled is what was counted of one child, for a scrape.
type labelled struct {
	name, label string
	counted
}

// all are the children by name.
func (c *childCounts) all() (all []labelled, staleFacts uint64) {
	c.mu.Lock()
	all = make([]labelled, 0, len(c.of))
	for name, one := range c.of {
		copied := *one
		copied.exits = slices.Clone(one.exits)
		all = append(all, labelled{name: name, counted: copied})
	}
	staleFacts = c.staleFacts
	c.mu.Unlock()
	slices.SortFunc(all, func(a, b labelled) int { return strings.Compare(a.name, b.name) })
	for i := range all {
		all[i].label = label("child", all[i].name)
		slices.SortFunc(all[i].exits, func(a, b exitCount) int {
			return strings.Compare(a.code+"\x00"+a.signal, b.code+"\x00"+b.signal)
		})
	}
	return all, staleFacts
}

// durations is a histogram.
type durations struct {
	mu      sync.Mutex
	buckets [len(bounds)]uint64 // mu: those not beyond each bound, and beyond the one before
	count   uint64              // mu
	sum     float64             // mu: seconds
}

// bounds are in seconds.
var bounds = [...]float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}

func (d *durations) observe(seconds float64) {
	at, _ := slices.BinarySearch(bounds[:], seconds)
	d.mu.Lock()
	defer d.mu.Unlock()
	if at < len(bounds) {
		d.buckets[at]++
	}
	d.count++
	d.sum += seconds
}

func (d *durations) write(p *page) {
	d.mu.Lock()
	buckets, count, sum := d.buckets, d.count, d.sum
	d.mu.Unlock()
	var below uint64
	for i, bound := range bounds {
		below += buckets[i]
		p.count("_bucket", below, p.bound("le", bound))
	}
	p.count("_bucket", count, `le="+Inf"`)
	p.part("_sum", sum)
	p.count("_count", count)
}

// pairs is a counter with two labels, of closed sets.
type pairs struct {
	mu sync.Mutex
	n  map[[2]string]uint64 // mu
}

// newPairs has a series for each pair.
func newPairs(first, second []string) pairs {
	n := map[[2]string]uint64{}
	for _, a := range first {
		for _, b := range second {
			n[[2]string{a, b}] = 0
		}
	}
	return pairs{n: n}
}

func (c *pairs) inc(first, second string) {
	c.mu.Lock()
	c.n[[2]string{first, second}]++
	c.mu.Unlock()
}

// pair is a series of pairs.
type pair struct {
	of [2]string
	n  uint64
}

// all are in the order of the labels, the label at index major first.
func (c *pairs) all(major int) []pair {
	c.mu.Lock()
	all := make([]pair, 0, len(c.n))
	for of, n := range c.n {
		all = append(all, pair{of, n})
	}
	c.mu.Unlock()
	slices.SortFunc(all, func(a, b pair) int {
		if d := strings.Compare(a.of[major], b.of[major]); d != 0 {
			return d
		}
		return strings.Compare(a.of[1-major], b.of[1-major])
	})
	return all
}
