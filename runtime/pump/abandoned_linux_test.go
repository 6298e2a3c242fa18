package pump

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// What a file cannot take of a process that has ended is kept for a server that
// is there or may come, and given up when none does.
func TestPumpWithoutAServerGivesUp(t *testing.T) {
	p, err := newPoller()
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(version, p)
	server := &link{}
	h.servers[server] = struct{}{}
	full, err := unix.Open("/dev/full", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	fill(t, pipe[1], []byte("last words\n"))
	unix.Close(pipe[1])
	t.Chdir(t.TempDir())
	k := keyOf("web")
	if err := h.attach(k, attachment{Name: "none", Format: spec.Text}, remains{}, []int{pipe[0], full}); err != nil {
		t.Fatal(err)
	}
	h.mu.Lock()
	s := h.streams[k]
	h.mu.Unlock()
	eventually(t, "the fault is told", func() bool { return s.stats().Fault != "" })
	h.leave(server)
	if h.abandoned() {
		t.Error("it does not wait for another server")
	}
	h.mu.Lock()
	h.left = time.Now().Add(-2 * abandonedAfter)
	h.mu.Unlock()
	eventually(t, "the pump ends", func() bool { return isClosed(h.empty) })
	eventually(t, "the line is counted", func() bool { return s.tally.dropped.Load() == 1 })
}
