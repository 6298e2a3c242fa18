package chaos

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// escapes stops children that have a grandchild which hides as well as it can.
// With cgroups nothing may be left. Without them the answer may say so instead.
func escapes(t *testing.T, c *trial) {
	in := c.newInstance(t, "mode: quiet\n", map[string]string{
		"escape":       "command: [" + world.workload + ", escape]\nstop: {grace: 1s}\n",
		forever + "-0": "command: [" + world.workload + ", run, -live]\n",
		briefly + "-0": "command: [" + world.workload + ", run]\n" + backOff,
	})
	in.serve(t)
	// Others that may have made an orphan, too.
	for _, name := range []string{forever + "-0", briefly + "-0"} {
		in.mustDo(t, "start", name)
	}
	survivors, admitted := 0, 0
	var slowest time.Duration
	for range c.count {
		in.mustDo(t, "start", "escape")
		hidden := in.awaitHidden(t)
		begin := time.Now()
		status, no, err := in.do("stop", "escape", patience)
		must(t, err)
		slowest = max(slowest, time.Since(begin))
		if hidden.lives() {
			survivors++
			if status == 200 {
				t.Errorf("stop said that it succeeded, and %d lives", hidden.pid)
			} else if strings.Contains(no.Type, "not-stopped") {
				admitted++
				in.admits = true
			}
			must(t, hidden.kill())
			in.awaitStopped(t, "escape")
		} else if status != 200 {
			t.Errorf("stop: %d %s", status, no.Detail)
		}
		hidden.close()
		if t.Failed() {
			return
		}
	}
	i, err := in.info()
	must(t, err)
	grouped := strings.HasPrefix(i.Containment, "cgroup")
	if grouped && survivors > 0 {
		t.Errorf("%d survivors with %s", survivors, i.Containment)
	}
	c.measure("%d survivors, %d of them admitted, slowest stop %d ms, by %s", survivors, admitted, slowest.Milliseconds(), kindOf(i.Containment))
	in.end(t, c)
}

// awaitStopped waits until kita, too, sees that nothing of a child is left.
func (in *instance) awaitStopped(t *testing.T, child string) {
	t.Helper()
	var v view
	if !in.eventually(patience, func() bool {
		var err error
		v, err = in.child(child)
		return err == nil && v.Status.Phase == spec.PhaseStopped && !v.alive()
	}) {
		t.Errorf("nothing is left of %s, and kita says %s: %s", child, v.Status.Phase, v.Status.Reason)
	}
}

// kindOf is the first word of what holds children together.
func kindOf(containment string) string {
	kind, _, _ := strings.Cut(containment, ",")
	kind, _, _ = strings.Cut(kind, ":")
	kind, _, _ = strings.Cut(kind, " /")
	return kind
}

func (in *instance) mustDo(t *testing.T, verb, child string) {
	t.Helper()
	if status, no, err := in.do(verb, child, patience); err != nil || status != 200 {
		t.Fatalf("%s %s: %d %s %v\n%s", verb, child, status, no.Detail, err, in.logTail())
	}
}

// hidden is a process without any mark, held by its pidfd.
type hidden struct {
	pid, fd int
}

// awaitHidden waits for the grandchild of the child escape.
func (in *instance) awaitHidden(t *testing.T) hidden {
	t.Helper()
	file := in.path("work/escaped")
	var text []byte
	if !in.eventually(patience, func() bool {
		var err error
		text, err = os.ReadFile(file)
		return err == nil
	}) {
		t.Fatalf("no process has escaped\n%s", in.logTail())
	}
	must(t, os.Remove(file))
	pid, err := strconv.Atoi(string(text))
	must(t, err)
	fd, err := unix.PidfdOpen(pid, 0)
	must(t, err)
	h := hidden{pid, fd}
	// Before its exec it still is a copy of its parent.
	if !in.eventually(patience, func() bool { return cmdline(pid) == "/proc/self/exe hidden" }) || !h.lives() {
		t.Fatalf("PID %d is %q and not the hidden process", pid, cmdline(pid))
	}
	return h
}

func (h hidden) lives() bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(h.fd), Events: unix.POLLIN}}, 0)
	return err == nil && n == 0
}

func (h hidden) kill() error {
	if err := unix.PidfdSendSignal(h.fd, unix.SIGKILL, nil, 0); err != nil && err != unix.ESRCH {
		return fmt.Errorf("kill %d: %w", h.pid, err)
	}
	if !poll(patience, nil, func() bool { return !h.lives() }) {
		return fmt.Errorf("PID %d does not die", h.pid)
	}
	return nil
}

func (h hidden) close() { unix.Close(h.fd) }

// bombTasks is how many tasks a fork bomb has before it is stopped.
const bombTasks = 2000

// bombTime bounds the stop of a bomb. Without control groups each round of it
// reads what /proc has on 2,000 processes that go on forking, which takes most of
// a minute on a busy machine.
const bombTime = 2 * time.Minute

// forkBomb stops a fork bomb. It is bounded three times: by its own count of
// forks, by a control group of the harness that it enters first and that has no
// room for more, and by the watchdog, which kills that group from this process.
func forkBomb(t *testing.T, c *trial) {
	const forks = 20_000
	cage, err := newPen("pids", fmt.Sprintf("bomb-%s", c.as.name))
	if err != nil {
		c.skip(t, "no pids cgroup to hold a fork bomb: %v", err)
	}
	t.Cleanup(func() {
		if err := cage.kill(patience); err != nil {
			t.Error(err)
		}
		if err := cage.remove(); err != nil {
			t.Error(err)
		}
	})
	must(t, cage.write("pids.max", strconv.Itoa(bombTasks)))
	must(t, os.Chown(cage.path("cgroup.procs"), c.as.id, -1))
	in := c.newInstance(t, "mode: quiet\n", map[string]string{
		"bomb": fmt.Sprintf("command: [%s, enter, -join, %s, --, %s, bomb, %q]\nstop: {grace: 100ms}\n",
			world.workload, cage.path("cgroup.procs"), world.workload, strconv.Itoa(forks)),
	})
	in.serve(t)
	watchdog := time.AfterFunc(time.Duration(c.count)*bombTime, func() {
		t.Errorf("the bomb is not stopped after %v", time.Duration(c.count)*bombTime)
		_ = cage.kill(patience)
	})
	defer watchdog.Stop()
	var slowest time.Duration
	survivors, admitted := 0, 0
	for round := range c.count {
		in.mustDo(t, "start", "bomb")
		if !in.eventually(patience, func() bool {
			n, err := cage.number("pids.current")
			return err == nil && n >= bombTasks
		}) {
			n, _ := cage.number("pids.current")
			t.Fatalf("the bomb has only %d tasks\n%s", n, in.logTail())
		}
		begin := time.Now()
		status, no, err := in.do("stop", "bomb", bombTime)
		must(t, err)
		took := time.Since(begin)
		slowest = max(slowest, took)
		left := len(bombs(cage))
		survivors += left
		switch {
		case left == 0 && status != 200:
			t.Errorf("round %d: nothing is left, and stop: %d %s", round, status, no.Detail)
		case left > 0 && status == 200:
			t.Errorf("round %d: %d processes are left, and stop said that it succeeded", round, left)
		case left > 0:
			admitted += left
			in.admits = true
			killBombs(t, cage)
			in.awaitStopped(t, "bomb")
		}
		if t.Failed() {
			break
		}
	}
	i, err := in.info()
	must(t, err)
	if strings.HasPrefix(i.Containment, "cgroup") && (survivors > 0 || slowest > 2*time.Second) {
		t.Errorf("%d survivors, slowest stop %v, with %s", survivors, slowest, i.Containment)
	}
	c.measure("%d survivors, %d of them admitted, slowest stop %d ms, by %s", survivors, admitted, slowest.Milliseconds(), kindOf(i.Containment))
	in.end(t, c)
}

// bombs are the live processes of the cage.
func bombs(cage *pen) []int {
	var pids []int
	for _, pid := range cage.pids() {
		if s, ok := statOf(pid); ok && s.state != 'Z' {
			pids = append(pids, pid)
		}
	}
	return pids
}

// killBombs ends what a bomb has left. It is bound to win, because nothing that
// is killed can be replaced.
func killBombs(t *testing.T, cage *pen) {
	t.Helper()
	if !poll(patience, nil, func() bool {
		left := bombs(cage)
		_ = cage.write("pids.max", "1")
		for _, pid := range left {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		return len(left) == 0
	}) {
		t.Fatal("the bomb cannot be ended")
	}
	must(t, cage.write("pids.max", strconv.Itoa(bombTasks)))
}
