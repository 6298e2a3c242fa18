package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// writers is how many clients write desired state at once.
const writers = 4

// killDuringWrites kills a server that does nothing but write, journal and
// facts, and reads what it left. It has no keeper, so that each round costs no
// back-off, and the harness starts it anew.
func killDuringWrites(t *testing.T, c *trial) {
	files := map[string]string{}
	for i := range writers * 2 {
		files[fmt.Sprintf("%s-%d", ordered, i)] = "command: [/bin/sleep, \"100000\"]\nstop: {grace: 1s}\n"
	}
	in := c.newInstance(t, "mode: quiet\n", files)
	in.flags = []string{"--no-keeper"}
	in.serve(t)
	acknowledged, lost := 0, 0
	wants := make([]written, writers)
	for i := range wants {
		wants[i] = written{by: map[string]spec.Run{}, rand: rand.New(rand.NewPCG(c.rand.Uint64(), uint64(i)))}
	}
	for round := range c.count {
		var all sync.WaitGroup
		for i := range wants {
			all.Go(func() { wants[i].write(in, i) })
		}
		<-time.After(c.between(0, 25*time.Millisecond))
		must(t, signalMarked(in.keeper(), in.mark, unix.SIGKILL))
		in.awaitEnd(t)
		all.Wait()
		in.serve(t)
		views, err := in.children(patience)
		must(t, err)
		for _, v := range views {
			for i := range wants {
				if want := wants[i].by[v.Name]; want != "" && v.Desired.Run != want {
					lost++
					t.Errorf("round %d: %s was acknowledged to be %s and is wanted %q", round, v.Name, want, v.Desired.Run)
				}
			}
		}
		if lost > 10 {
			break
		}
	}
	for i := range wants {
		acknowledged += wants[i].acknowledged
	}
	unreadable := strings.Count(in.log(), "is damaged") + strings.Count(in.log(), "was damaged") + strings.Count(in.log(), "cannot read")
	for _, dir := range []string{"state", "run", "run/children"} {
		entries, err := os.ReadDir(in.path(dir))
		must(t, err)
		for _, e := range entries {
			if strings.Contains(e.Name(), "bad") {
				unreadable++
			}
		}
	}
	if unreadable > 0 {
		t.Errorf("%d files could not be read\n%s", unreadable, in.logTail())
	}
	c.measure("%d commands acknowledged, %d lost, %d files unreadable", acknowledged, lost, unreadable)
	in.end(t, c)
}

// written is what one client knows of its children.
type written struct {
	// by has what was acknowledged last; a command that was cut off takes it
	// away.
	by           map[string]spec.Run
	acknowledged int
	rand         *rand.Rand
}

// write starts and stops children until the server is gone.
func (w *written) write(in *instance, number int) {
	for {
		child := fmt.Sprintf("%s-%d", ordered, number*2+w.rand.IntN(2))
		verb, want := "start", spec.Running
		if w.by[child] == spec.Running || w.by[child] == "" && w.rand.IntN(2) == 0 {
			verb, want = "stop", spec.Stopped
		}
		before := w.by[child]
		delete(w.by, child)
		// Nobody waits for the child: what counts is what was written.
		status, _, err := in.ask("POST", "/v1/children/"+child+"/"+verb, `{"no_wait": true}`, 5*time.Second)
		switch {
		case err != nil:
			return
		case status == 202:
			w.by[child] = want
			w.acknowledged++
		case status == 409 && before != "":
			w.by[child] = before // it was refused, and changed nothing
		}
	}
}
