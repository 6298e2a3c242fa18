package chaos

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// adoptMany kills the server of very many children, and then keeper and server,
// and measures from the start of the next server to the first answer that has
// all of them.
func adoptMany(t *testing.T, c *trial) {
	// More would not fit beside others into the 32,768 PIDs of a small machine.
	c.count = min(c.count, 5000)
	files := map[string]string{}
	for i := range c.count {
		files[fmt.Sprintf("%s-%04d", forever, i)] = "command: [/bin/sleep, \"100000\"]\n"
	}
	in := c.newInstance(t, "mode: full\n", files)
	in.serve(t)
	all := func() bool { return len(in.alive()) == c.count }
	if !in.eventually(3*time.Minute, all) {
		t.Fatalf("only %d of %d children live\n%s", len(in.alive()), c.count, in.logTail())
	}
	before := in.pidsByName(t)
	// What was just launched is "starting" for a second, and saved once more.
	<-time.After(1500 * time.Millisecond)
	for _, both := range []bool{false, false, true} {
		server, err := in.info()
		must(t, err)
		begin := time.Now()
		if both {
			must(t, signalMarked(in.keeper(), in.mark, unix.SIGKILL))
		}
		must(t, signalMarked(server.PID, in.mark, unix.SIGKILL))
		if both {
			in.awaitEnd(t)
			begin = time.Now()
			must(t, in.start())
		}
		if !in.eventually(patience, all) {
			t.Fatalf("only %d of %d children were adopted\n%s", len(in.alive()), c.count, in.logTail())
		}
		whole := time.Since(begin)
		server, err = in.info()
		must(t, err)
		took, err := age(server.PID)
		must(t, err)
		what := "the server's death"
		if both {
			what = "a start on their files alone"
		}
		c.measure("all are there %d ms after the start of the server, %d ms after %s", took.Milliseconds(), whole.Milliseconds(), what)
		if took > quickly {
			t.Errorf("%d children were adopted in %v after %s", c.count, took, what)
		}
		lost := 0
		for name, pid := range in.pidsByName(t) {
			if before[name] != pid {
				lost++
			}
		}
		c.measure("%d other PIDs", lost)
		if lost > 0 {
			t.Errorf("%d children have another PID", lost)
		}
	}
	in.end(t, c)
}

// alive are the names of the children that live, as `info` has them.
func (in *instance) alive() []string {
	status, body, err := in.ask("GET", "/v1/info", "", patience)
	var answer struct {
		Running []string `json:"running"`
	}
	if err != nil || status != 200 || json.Unmarshal(body, &answer) != nil {
		return nil
	}
	return slices.Compact(answer.Running)
}

func (in *instance) pidsByName(t *testing.T) map[string]int {
	t.Helper()
	views, err := in.children(patience)
	must(t, err)
	pids := map[string]int{}
	for _, v := range views {
		if v.alive() {
			pids[v.Name] = v.Status.Process.PID
		}
	}
	return pids
}
