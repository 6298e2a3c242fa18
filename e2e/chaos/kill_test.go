package chaos

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// mixture are children that end, that live, and that are commanded.
func mixture(ending, living, commanded int) map[string]string {
	files := map[string]string{}
	for i := range ending {
		files[fmt.Sprintf("%s-%d", briefly, i)] = "command: [" + world.workload + ", run]\n" + backOff
	}
	for i := range living {
		files[fmt.Sprintf("%s-%d", forever, i)] = "command: [" + world.workload + ", run, -live]\n" + backOff
	}
	for i := range commanded {
		files[fmt.Sprintf("%s-%d", ordered, i)] = "command: [" + world.workload + ", run, -live]\n" + backOff
	}
	return files
}

// killServer kills the server at moments of all kinds: most while it serves,
// some while it starts.
func killServer(t *testing.T, c *trial) {
	in := c.newInstance(t, "mode: full\n", mixture(10, 3, 3))
	in.serve(t)
	w := in.watch(t, c)
	for i := range c.count {
		if i%20 == 19 {
			<-time.After(c.between(0, 30*time.Millisecond))
		} else {
			in.awaitReady(t)
			<-time.After(c.between(0, 300*time.Millisecond))
		}
		server := in.awaitServer(t, 0)
		must(t, signalMarked(server, in.mark, unix.SIGKILL))
		in.awaitServer(t, server)
		if !w.checkAfter(t, i) {
			break
		}
	}
	w.finish(t)
}

// killBoth kills keeper and server at once and starts the instance anew, as
// whatever started it would.
func killBoth(t *testing.T, c *trial) {
	in := c.newInstance(t, "mode: full\n", mixture(10, 3, 3))
	in.serve(t)
	w := in.watch(t, c)
	w.mayUnknown = true
	for i := range c.count {
		in.awaitReady(t)
		if !w.checkAfter(t, i) {
			break
		}
		<-time.After(c.between(0, 400*time.Millisecond))
		server := in.server()
		must(t, signalMarked(in.keeper(), in.mark, unix.SIGKILL))
		if server != 0 {
			must(t, signalMarked(server, in.mark, unix.SIGKILL))
		}
		in.awaitEnd(t)
		if server != 0 {
			in.awaitDeath(t, server)
		}
		must(t, in.start())
	}
	in.awaitReady(t)
	w.finish(t)
}
