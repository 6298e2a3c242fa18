package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// lasts is how long what a fault takes away stays away.
const lasts = 30 * time.Second

// storm is how many starts in a second are one, of children that begin with a
// back-off of half a second.
const storm = 2.0

// patiently are children that end and start again with the back-off that a user
// gets who asks for none.
func patiently(n int) map[string]string {
	files := mixture(0, 2, 0)
	for i := range n {
		files[fmt.Sprintf("%s-%d", briefly, i)] = "command: [" + world.workload + ", run, -brief, 200ms, -long, 1s]\n" +
			"restart: {policy: always, backoff: {initial: 500ms, max: 2s}}\n"
	}
	return files
}

// calm measures what the instance does while a fault lasts.
type calm struct {
	keeper, server int
	used           time.Duration
	begin          time.Time
	attempts       int
}

func (in *instance) beCalm(t *testing.T) *calm {
	c := &calm{keeper: in.keeper(), server: in.awaitServer(t, 0), begin: time.Now(), attempts: in.attempts()}
	c.used = processorTime(c.keeper, c.server)
	return c
}

// attempts counts what the log has of starts, those that failed included.
func (in *instance) attempts() int {
	log := in.log()
	return strings.Count(log, "msg=started ") + strings.Count(log, "cannot start")
}

// judge wants no crash, no storm and an idle processor.
func (m *calm) judge(t *testing.T, in *instance, c *trial, children int) {
	t.Helper()
	elapsed := time.Since(m.begin)
	if now := in.server(); now != m.server || !in.running() {
		t.Errorf("the server was PID %d, is %d\n%s", m.server, now, in.logTail())
	}
	percent := 100 * float64(processorTime(m.keeper, m.server)-m.used) / float64(elapsed)
	if percent >= 10 {
		t.Errorf("kita took %.0f %% of a processor", percent)
	}
	rate := float64(in.attempts()-m.attempts) / elapsed.Seconds()
	if rate > storm*float64(children) {
		t.Errorf("%.1f starts in a second of %d children", rate, children)
	}
	c.measure("CPU %.1f %%, %.1f starts/s", percent, rate)
}

// resumes waits until every child that ends has started anew.
func (w *watch) resumes(t *testing.T) {
	t.Helper()
	w.observe()
	w.turn.Lock()
	before := map[string]uint64{}
	for name, v := range w.history.views {
		before[name] = v.Status.Starts
	}
	w.turn.Unlock()
	begin := time.Now()
	// What runs beside the test observes; asking more would cost kita more.
	if !w.in.eventually(patience, func() bool {
		w.turn.Lock()
		defer w.turn.Unlock()
		for name, v := range w.history.views {
			if (strings.HasPrefix(name, briefly) || strings.HasPrefix(name, repeated)) && v.Status.Starts <= before[name] {
				return false
			}
		}
		return true
	}) {
		t.Errorf("not every child has started again\n%s", w.in.logTail())
	}
	w.resumed = max(w.resumed, time.Since(begin))
}

// noPIDs leaves the instance and its children no room for another task.
func noPIDs(t *testing.T, c *trial) {
	const children = 6
	cage, err := newPen("pids", "scarce-"+c.as.name)
	if err != nil {
		c.skip(t, "no pids cgroup to exhaust: %v", err)
	}
	t.Cleanup(func() {
		if err := cage.remove(); err != nil {
			t.Error(err)
		}
	})
	in := c.newInstance(t, "mode: full\n", patiently(children))
	// Into the cage as root, and then the user.
	in.enter = []string{"-join", cage.path("cgroup.procs"), "-id", strconv.Itoa(c.as.id)}
	in.serve(t)
	w := in.watch(t, c)
	w.probe.patient, w.mayCrash = true, true
	<-time.After(c.lasting(2*time.Second, 500*time.Millisecond))
	m := in.beCalm(t)
	// Below what there is: it kills nothing, and every fork fails.
	must(t, cage.write("pids.max", "1"))
	<-time.After(c.lasting(lasts, 2*time.Second))
	m.judge(t, in, c, children)
	must(t, cage.write("pids.max", "max"))
	w.resumes(t)
	w.finish(t)
}

// noDescriptors leaves the server no descriptor to open.
func noDescriptors(t *testing.T, c *trial) {
	const children = 6
	in := c.newInstance(t, "mode: full\n", patiently(children))
	in.serve(t)
	w := in.watch(t, c)
	w.probe.patient = true
	<-time.After(c.lasting(2*time.Second, 500*time.Millisecond))
	m := in.beCalm(t)
	before := in.limitDescriptors(t, m.server, 3)
	<-time.After(c.lasting(lasts, 2*time.Second))
	m.judge(t, in, c, children)
	in.limitDescriptors(t, m.server, before)
	w.resumes(t)
	w.finish(t)
}

// limitDescriptors sets the soft limit of a process and returns the former one.
func (in *instance) limitDescriptors(t *testing.T, pid, n int) (before int) {
	t.Helper()
	cmd := exec.Command(world.workload, "prlimit", strconv.Itoa(pid), strconv.Itoa(n))
	cmd.Stderr = os.Stderr
	if os.Geteuid() != in.as.id {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(in.as.id), Gid: uint32(in.as.id)}}
	}
	out, err := cmd.Output()
	must(t, err)
	before, err = strconv.Atoi(strings.TrimSpace(string(out)))
	must(t, err)
	return before
}
