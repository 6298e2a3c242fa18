package runtime

import (
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// newForkers makes them for a test, and ends them after it.
func newForkers(t *testing.T) *forkers {
	t.Helper()
	f := &forkers{}
	t.Cleanup(f.close)
	if err := f.begin(); err != nil {
		t.Skipf("no threads with a table of their own: %v", err)
	}
	return f
}

func TestForkersShareNoDescriptors(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	newForkers(t)
	w.Close()
	// It ends only once nobody has the other end open.
	if n, err := r.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

// A process has the locks of the server open until it has been executed, and no
// longer: the next server can tell then what it is.
func TestForkersKeepTheLocks(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f := &forkers{keep: []int{int(w.Fd())}}
	t.Cleanup(f.close)
	if err := f.begin(); err != nil {
		t.Skipf("no threads with a table of their own: %v", err)
	}
	pid, err := f.start("/bin/sleep", []string{"sleep", "1000"}, &syscall.ProcAttr{Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Kill(pid, unix.SIGKILL)
		_, _ = unix.Wait4(pid, nil, 0, nil)
	})
	w.Close()
	poll := []unix.PollFd{{Fd: int32(r.Fd()), Events: unix.POLLIN}}
	if n, _ := unix.Poll(poll, 0); n != 0 {
		t.Error("nobody has the lock while there are forkers")
	}
	f.close()
	if n, err := r.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

func TestForkerThatHangsHoldsNoOtherUp(t *testing.T) {
	h, f := newHost(t)
	if h.forkers.jobs == nil {
		t.Skip("no threads with a table of their own")
	}
	// Nobody takes what these are to tell, so each keeps its thread.
	hanging := make(chan struct{})
	for range Forkers {
		h.forkers.jobs <- &forkJob{path: "/nowhere", attr: &syscall.ProcAttr{Sys: &syscall.SysProcAttr{}}, done: hanging}
	}
	defer func() {
		for range Forkers {
			<-hanging
		}
	}()
	start(t, h, child(t, "sleep", "600"))
	h.Signal("web", 1, spec.Signal(unix.SIGKILL))
	f.next(t)
}

func TestStartsWorkWithoutForkers(t *testing.T) {
	h, f := newHost(t)
	h.forkers.close()
	h.forkers.jobs = nil
	start(t, h, child(t, "sleep", "600"))
	h.Signal("web", 1, spec.Signal(unix.SIGKILL))
	if got, want := f.next(t), exited(1, killedBy(unix.SIGKILL), true); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
