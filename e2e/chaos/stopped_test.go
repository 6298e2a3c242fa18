package chaos

import (
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// stopStopped stops children that somebody has stopped with SIGSTOP: only CONT
// makes them feel TERM.
func stopStopped(t *testing.T, c *trial) {
	in := c.newInstance(t, "mode: quiet\n", map[string]string{
		ordered + "-0": "command: [" + world.workload + ", run, -live]\nstop: {grace: 20s}\n",
	})
	in.serve(t)
	var slowest time.Duration
	for range c.count {
		in.mustDo(t, "start", ordered+"-0")
		v, err := in.child(ordered + "-0")
		must(t, err)
		pid := v.Status.Process.PID
		must(t, signalMarked(pid, in.mark, unix.SIGSTOP))
		if !in.eventually(patience, func() bool { s, _ := statOf(pid); return s.state == 'T' }) {
			t.Fatalf("PID %d does not stop", pid)
		}
		begin := time.Now()
		in.mustDo(t, "stop", ordered+"-0")
		slowest = max(slowest, time.Since(begin))
		if isMarked(pid, in.mark) {
			t.Errorf("PID %d lives after stop", pid)
		}
		v, err = in.child(ordered + "-0")
		must(t, err)
		if e := v.Status.LastExit; e == nil || e.Signal != spec.Signal(unix.SIGTERM) {
			t.Errorf("it ended with %v", e)
		}
	}
	if slowest > 2*time.Second {
		t.Errorf("a stop took %v", slowest)
	}
	c.measure("slowest stop %d ms, all by SIGTERM", slowest.Milliseconds())
	in.end(t, c)
}

// stopHeadless has a child whose main thread has ended, which /proc calls a
// zombie. It runs for kita all the same, also for the next server.
func stopHeadless(t *testing.T, c *trial) {
	in := c.newInstance(t, "mode: quiet\n", map[string]string{
		"headless": "command: [" + world.workload + ", headless]\nrestart: {policy: always, backoff: {initial: 10ms, max: 20ms}}\n",
	})
	in.serve(t)
	for i := range c.count {
		in.mustDo(t, "start", "headless")
		pid := in.awaitHeadless(t)
		before, err := in.child("headless")
		must(t, err)
		// Older than the minimum time alive, and then under a new server.
		in.eventually(patience, func() bool {
			v, err := in.child("headless")
			return err == nil && (v.Status.Phase == spec.PhaseRunning || !v.alive())
		})
		if i%2 == 1 {
			server := in.awaitServer(t, 0)
			must(t, signalMarked(server, in.mark, unix.SIGKILL))
			in.awaitServer(t, server)
			in.awaitReady(t)
		}
		v, err := in.child("headless")
		must(t, err)
		if v.Status.Phase != spec.PhaseRunning || v.Status.Process.PID != pid || v.Status.Starts != before.Status.Starts {
			t.Errorf("PID %d lives without its main thread, and kita says %s, %+v, %d starts", pid, v.Status.Phase, v.Status.Process, v.Status.Starts)
		}
		in.mustDo(t, "stop", "headless")
		if s, ok := statOf(pid); ok && s.state != 'Z' || ok && isThreaded(pid) {
			t.Errorf("PID %d lives after stop", pid)
		}
	}
	c.measure("running stayed true, under a new server too; stopped")
	in.end(t, c)
}

func (in *instance) awaitHeadless(t *testing.T) int {
	t.Helper()
	var text []byte
	file := in.path("work/headless")
	if !in.eventually(patience, func() bool {
		text, _ = os.ReadFile(file)
		return len(text) > 0
	}) {
		t.Fatalf("no main thread has ended\n%s", in.logTail())
	}
	must(t, os.Remove(file))
	pid, err := strconv.Atoi(string(text))
	must(t, err)
	return pid
}

// stopFrozen stops a child that cannot die, because a freezer of cgroup1 holds
// it in state D, and thaws it then.
func stopFrozen(t *testing.T, c *trial) {
	freezer, err := newPen("freezer", "frozen-"+c.as.name)
	if err != nil {
		c.skip(t, "no cgroup1 freezer: %v", err)
	}
	t.Cleanup(func() {
		must(t, freezer.write("freezer.state", "THAWED"))
		must(t, freezer.kill(patience))
		must(t, freezer.remove())
	})
	in := c.newInstance(t, "mode: quiet\n", map[string]string{
		ordered + "-0": "command: [" + world.workload + ", run, -live]\nstop: {grace: 100ms}\n",
		ordered + "-1": "command: [" + world.workload + ", run, -live]\n",
	})
	in.serve(t)
	var slowest time.Duration
	for range c.count {
		in.mustDo(t, "start", ordered+"-0")
		v, err := in.child(ordered + "-0")
		must(t, err)
		pid := v.Status.Process.PID
		must(t, freezer.write("cgroup.procs", strconv.Itoa(pid)))
		must(t, freezer.write("freezer.state", "FROZEN"))
		// Nothing wakes what is frozen, so the answer may come before the thaw
		// or after it, but not as a success before.
		answered := make(chan int, 1)
		go func() {
			status, _, _ := in.do("stop", ordered+"-0", patience)
			answered <- status
		}()
		in.pending(t, answered)
		begin := time.Now()
		must(t, freezer.write("freezer.state", "THAWED"))
		if !in.eventually(patience, func() bool {
			v, err := in.child(ordered + "-0")
			return err == nil && !v.alive() && v.Status.Phase == spec.PhaseStopped
		}) {
			v, err := in.child(ordered + "-0")
			t.Fatalf("the stop did not complete after the thaw: %+v %v\n%s", v.Status, err, in.logTail())
		}
		slowest = max(slowest, time.Since(begin))
		if isMarked(pid, in.mark) {
			t.Errorf("PID %d lives after stop", pid)
		}
	}
	if slowest > 2*time.Second {
		t.Errorf("a stop took %v after the thaw", slowest)
	}
	c.measure("pending while frozen, others unhindered; stopped %d ms after the thaw", slowest.Milliseconds())
	in.end(t, c)
}

// pending watches a stop that cannot succeed now: it is shown as pending, and
// hinders no other child.
func (in *instance) pending(t *testing.T, answered <-chan int) {
	t.Helper()
	if !in.eventually(patience, func() bool {
		v, err := in.child(ordered + "-0")
		return err == nil && v.Status.Phase == spec.PhaseStopping
	}) {
		t.Errorf("the stop is not begun")
	}
	<-time.After(500 * time.Millisecond)
	begin := time.Now()
	in.mustDo(t, "start", ordered+"-1")
	in.mustDo(t, "stop", ordered+"-1")
	if took := time.Since(begin); took > quickly {
		t.Errorf("start and stop of another child took %v", took)
	}
	select {
	case status := <-answered:
		if status == 200 {
			t.Error("stop said that it succeeded while the child was frozen")
		}
	default:
	}
	v, err := in.child(ordered + "-0")
	must(t, err)
	if v.Status.Phase != spec.PhaseStopping || !v.alive() {
		t.Errorf("the child is frozen and lives, and kita says %s, reason %q", v.Status.Phase, v.Status.Reason)
	}
}
