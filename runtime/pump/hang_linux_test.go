package pump

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

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

// The pump before it was killed between the first byte in a FIFO and the ping that
// follows it.
func TestPumpThatHangsAfterOneThatWasKilledIsReplaced(t *testing.T) {
	c := testClient(t, t.TempDir())
	n := startCounting(t, c, "web")
	n.grows(t)
	eventually(t, "the watch has heard of the FIFO", func() bool {
		c.mu.Lock()
		l := c.lookout
		c.mu.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, stirred := range l.watched {
			if stirred && len(l.stirred) == 0 {
				return true
			}
		}
		return false
	})
	killPump(t, c)
	n.grows(t)
	hung := stopPump(t, c)
	eventually(t, "there is another pump", func() bool { now := c.PID(); return now != 0 && now != hung })
	n.grows(t)
	checkCount(t, n.finish(t, c), 2)
}

// One that has nothing to do is not asked how it is, until there is something in a
// FIFO again: here long after it began to hang.
func TestIdlePumpThatHangsIsReplaced(t *testing.T) {
	c := testClient(t, t.TempDir())
	path, goOn := filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "go")
	k := keyOf("web")
	cmd := start(t, c, k, Stream{Dest: destination(t, path), Format: spec.Text},
		"echo first; while [ ! -e "+goOn+" ]; do sleep 0.01; done; echo last")
	eventually(t, "the first line is written", func() bool { return content(t, path) == "first\n" })
	c.drainFor(t, k)
	asked, since := uint64(0), time.Now()
	eventually(t, "nobody asks any more", func() bool {
		p := c.current()
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.next != asked {
			asked, since = p.next, time.Now()
		}
		return time.Since(since) > pingPause+time.Second
	})
	hung := stopPump(t, c)
	if err := os.WriteFile(goOn, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "there is another pump", func() bool { now := c.PID(); return now != 0 && now != hung })
	eventually(t, "the stream ends", func() bool { _, is := c.Stats()[k]; return !is })
	if got := content(t, path); got != "first\n"+tornNote+"\nlast\n" {
		t.Errorf("got %q", got)
	}
}

func TestLookoutTellsOnceUntilTheNextLook(t *testing.T) {
	l, err := newLookout()
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(l.run)
	defer running.Wait()
	defer l.close()
	var ends [2][2]int
	for i := range ends {
		if err := unix.Pipe2(ends[i][:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
			t.Fatal(err)
		}
		defer closeAll(ends[i][:])
		l.add(ends[i][0])
	}
	write := func(i int) {
		t.Helper()
		if _, err := unix.Write(ends[i][1], []byte("line\n")); err != nil {
			t.Fatal(err)
		}
	}
	stirred := func() [2]bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return [2]bool{l.watched[int32(ends[0][0])], l.watched[int32(ends[1][0])]}
	}
	write(0)
	<-l.stirred
	write(0)
	write(1)
	<-l.stirred
	if got := stirred(); got != [2]bool{true, true} {
		t.Errorf("both have something, it says %v", got)
	}
	// There is still something in the first one.
	if _, err := unix.Read(ends[1][0], make([]byte, 64)); err != nil {
		t.Fatal(err)
	}
	l.look()
	<-l.stirred
	if got := stirred(); got != [2]bool{true, false} {
		t.Errorf("only the first one has something, it says %v", got)
	}
	l.remove(ends[0][0])
	write(1)
	<-l.stirred
	if got := stirred(); got != [2]bool{false, true} {
		t.Errorf("the first one is not watched any more, it says %v", got)
	}
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

func TestCloseLetsGoOfAPumpThatIsNotInstalledYet(t *testing.T) {
	c := testClient(t, t.TempDir())
	c.connecting.Lock()
	defer c.connecting.Unlock()
	p, err := c.reach(true)
	if err != nil {
		t.Fatal(err)
	}
	if !c.listenTo(p) {
		t.Fatal("the client is closed")
	}
	closed := make(chan struct{})
	go func() {
		c.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(testPatience):
		t.Error("Close waits for what listens to the pump")
		_ = p.conn.Close()
	}
	// The one that connects goes on only now.
	c.install(p)
	if now := c.current(); now != nil {
		t.Errorf("a closed client has the pump %d", now.pid)
	}
}
