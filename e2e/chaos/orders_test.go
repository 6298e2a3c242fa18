package chaos

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"kita/spec"
)

// orders are the commands that the harness gives to the ordered children beside
// a fault. One that was acknowledged must hold afterwards; one that was cut off
// may hold or not, until the next one.
type orders struct {
	mu sync.Mutex
	by map[string]order // mu
	// next is the child whose turn it is.
	next int // mu
	acks int // mu
}

type order struct {
	// want is what was acknowledged last; empty where that is uncertain.
	want spec.Run
	// tried is what was asked last.
	tried spec.Run
	// number grows when a command begins and when it ends.
	number int
}

func newOrders() *orders { return &orders{by: map[string]order{}} }

// know has a child take part, if it is one for commands.
func (o *orders) know(child string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, known := o.by[child]; !known && strings.HasPrefix(child, ordered) {
		o.by[child] = order{tried: spec.Running}
	}
}

func (o *orders) now() map[string]order {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.by)
}

func (o *orders) acknowledged() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.acks
}

// forget makes everything uncertain, since somebody else gave an order.
func (o *orders) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.by)
}

// broken are the children whose views contradict what was acknowledged before
// the views were asked for, with no command since.
func (o *orders) broken(given map[string]order, views []view) []string {
	now := o.now()
	var lines []string
	for _, v := range views {
		was, known := given[v.Name]
		if known && was == now[v.Name] && was.want != "" && v.Desired.Run != was.want {
			lines = append(lines, fmt.Sprintf("%s was acknowledged to be %s and is wanted %q, generation %d",
				v.Name, was.want, v.Desired.Run, v.Desired.Generation))
		}
	}
	return lines
}

// begin chooses the child whose turn it is, and turns its wish around.
func (o *orders) begin() (child string, verb string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	names := slices.Sorted(maps.Keys(o.by))
	if len(names) == 0 {
		return "", ""
	}
	o.next++
	child = names[o.next%len(names)]
	mine := o.by[child]
	verb, mine.tried = "stop", spec.Stopped
	if o.by[child].tried == spec.Stopped {
		verb, mine.tried = "start", spec.Running
	}
	mine.want = ""
	mine.number++
	o.by[child] = mine
	return child, verb
}

func (o *orders) end(child string, acknowledged bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	mine := o.by[child]
	mine.number++
	if acknowledged {
		mine.want = mine.tried
		o.acks++
	}
	o.by[child] = mine
}

// give carries out one command.
func (o *orders) give(ctx context.Context, in *instance) {
	child, verb := o.begin()
	if child == "" || ctx.Err() != nil {
		return
	}
	status, _, err := in.do(verb, child, 20*time.Second)
	o.end(child, err == nil && status == 200)
}
