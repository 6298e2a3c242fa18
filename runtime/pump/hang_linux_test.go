package pump

import (
	"testing"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// stopPump has the pump hang. It does when this returns: kill(2) does not wait
// until every thread has stopped, and a pump that still answers meanwhile may take
// what a test writes next, and lose it.
func stopPump(t *testing.T, c *Client) (pid int) {
	t.Helper()
	pid = c.PID()
	if pid == 0 {
		t.Fatal("there is no pump")
	}
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestPumpThatHangsIsReplaced(t *testing.T) {
	c := testClient(t, t.TempDir())
	n := startCounting(t, c, "web")
	n.grows(t)
	hung := stopPump(t, c)
	eventually(t, "there is another pump", func() bool { now := c.PID(); return now != 0 && now != hung })
	n.grows(t)
	checkCount(t, n.finish(t, c), 1)
}

func TestAttachReplacesAPumpThatHangs(t *testing.T) {
	c := testClient(t, t.TempDir())
	n := startCounting(t, c, "web")
	n.grows(t)
	stopPump(t, c)
	start(t, c, keyOf("other"), Stream{Dest: n.dest, Format: spec.Text}, "true")
	checkCount(t, n.finish(t, c), 1)
}

func TestServerDoesNotWaitForAPumpThatHangs(t *testing.T) {
	former := testClient(t, t.TempDir())
	n := startCounting(t, former, "web")
	n.grows(t)
	hung := stopPump(t, former)
	former.Close()
	c := testClient(t, former.o.RunDir)
	if err := c.Resume(); err != nil {
		t.Fatal(err)
	}
	if now := c.PID(); now != hung {
		t.Errorf("it waited until the pump %d was replaced", hung)
	}
	if err := c.Attach(n.key, Stream{FIFO: n.fifo, Dest: n.dest, Format: spec.Text}); err != nil {
		t.Fatal(err)
	}
	if now := c.PID(); now == hung || now == 0 {
		t.Errorf("the pump is %d, it was %d", now, hung)
	}
	n.grows(t)
	checkCount(t, n.finish(t, c), 1)
}

// No test has a write that hangs in the kernel: a pump that is stopped is as dead
// to its server as one that does not die of SIGKILL.
func TestDisownedPumpIsReplaced(t *testing.T) {
	c := testClient(t, t.TempDir())
	n := startCounting(t, c, "web")
	n.grows(t)
	hung := stopPump(t, c)
	c.disown(hung)
	c.connecting.Lock()
	p, err := c.reach(true)
	c.connecting.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if p.pid == hung {
		t.Errorf("the pump is still %d", hung)
	}
	eventually(t, "it has the lock", func() bool { return c.PID() == p.pid })
	_ = p.conn.Close()
	p.kill()
	p.bury(testPatience)
	n.finish(t, c)
}
