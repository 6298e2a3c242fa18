package chaos

import (
	"os"
	"strings"
	"testing"
	"time"

	"kita/failpoint"
)

// panics has one fault for each step at which the program can be stopped.
func panics() []fault {
	var all []fault
	for _, step := range failpoint.Steps() {
		all = append(all, fault{
			name: "panic at " + step, pass: exact, full: 100, short: 3,
			run: func(t *testing.T, c *trial) { panicAt(t, c, step) },
		})
	}
	return all
}

// panicAt has whoever passes a step next panic there. The children and the
// commands beside it pass every step all the time.
func panicAt(t *testing.T, c *trial, step string) {
	in := c.newInstance(t, "mode: full\n", mixture(8, 2, 3))
	armed := in.path("work/armed")
	in.env = append(in.env, "KITA_FAILPOINT="+step+":panic:"+armed)
	in.serve(t)
	w := in.watch(t, c)
	keepers, contains := 0, 0
	for i := range c.count {
		in.awaitReady(t)
		<-time.After(c.between(0, 100*time.Millisecond))
		server := in.awaitServer(t, 0)
		must(t, os.WriteFile(armed, nil, 0o666))
		fired := func() bool {
			_, err := os.Stat(armed)
			return os.IsNotExist(err)
		}
		if !in.eventually(patience, fired) && !fired() {
			t.Fatalf("nobody passes the step %s\n%s", step, in.logTail())
		}
		if !in.eventually(patience, func() bool {
			now := in.server()
			return now != 0 && now != server || strings.Count(in.log(), contained) > contains || !in.running()
		}) {
			t.Fatalf("nothing came of the panic at %s\n%s", step, in.logTail())
		}
		contains = strings.Count(in.log(), contained)
		if !in.running() {
			// A keeper that has panicked takes the server with it, in order;
			// whatever started it would start it again.
			keepers++
			w.mayUnknown = true
			in.awaitDeath(t, server)
			must(t, in.start())
		}
		if !w.checkAfter(t, i) {
			break
		}
	}
	in.awaitReady(t)
	w.finish(t)
	if keepers > 0 {
		c.measure("%d of them in the keeper", keepers)
	}
	if contains > 0 {
		c.measure("%d of them met a request alone", contains)
	}
}

// contained is in the log when a panic ended a request and not the server.
const contained = "handler panicked"
