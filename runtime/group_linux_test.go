package runtime

import (
	"fmt"
	"os"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// kernels runs a test with and without what Linux 6.9 brought.
func kernels(t *testing.T, test func(t *testing.T, h *Host, f facts)) {
	for _, old := range []bool{false, true} {
		t.Run(map[bool]string{false: "this kernel", true: "as before Linux 6.9"}[old], func(t *testing.T) {
			h, f := newHost(t)
			h.oldKernel = old
			test(t, h, f)
		})
	}
}

// numbers reads the PIDs that a script has written, in order.
func numbers(t *testing.T, text string) []int {
	t.Helper()
	var pids []int
	for _, word := range strings.Fields(text) {
		if pid, err := strconv.Atoi(word); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestLeaderExitsBeforeItsGroup(t *testing.T) {
	kernels(t, func(t *testing.T, h *Host, f facts) {
		c := shell(t, `sleep 600 & echo $!; sleep 600 & echo $!; exit 5`)
		start(t, h, c)
		if got, want := f.next(t), exited(1, code(5), false); got != want {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		pids := numbers(t, read(t, outPath(c)))
		slices.Sort(pids)
		if got := h.Survivors("web", 1); !slices.Equal(got, pids) {
			t.Errorf("survivors %v, want %v", got, pids)
		}
		if err := unix.Kill(pids[0], unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		awaitThat(t, "one survivor", func() (string, bool) {
			got := h.Survivors("web", 1)
			return strconv.Itoa(len(got)), slices.Equal(got, pids[1:])
		})
		if len(f) > 0 {
			t.Fatalf("a fact while one lives: %+v", <-f)
		}
		if err := h.Signal("web", 1, spec.Signal(unix.SIGTERM)); err != nil {
			t.Error(err)
		}
		if got, want := f.next(t), (fact{child: "web", incarnation: 1, emptied: true}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

func TestGrandchildThatIgnoresTermIsKilled(t *testing.T) {
	kernels(t, func(t *testing.T, h *Host, f facts) {
		c := shell(t, `sh -c 'trap "" TERM; echo ready; while :; do sleep 600; done' & wait`)
		start(t, h, c)
		awaitText(t, outPath(c), "ready")
		if err := h.Signal("web", 1, spec.Signal(unix.SIGTERM)); err != nil {
			t.Error(err)
		}
		if got, want := f.next(t), exited(1, killedBy(unix.SIGTERM), false); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if got := h.Survivors("web", 1); len(got) == 0 {
			t.Error("no survivors, although a grandchild ignores TERM")
		}
		if err := h.Signal("web", 1, spec.Signal(unix.SIGKILL)); err != nil {
			t.Error(err)
		}
		if got, want := f.next(t), (fact{child: "web", incarnation: 1, emptied: true}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if got := h.Survivors("web", 1); len(got) != 0 {
			t.Errorf("survivors %v of an empty group", got)
		}
	})
}

func TestSurvivorsThatForkAreWatchedToTheEnd(t *testing.T) {
	h, f := newHost(t)
	// Each generation outlives the one that started it.
	c := shell(t, `sh -c 'read x; sh -c "sh -c \"echo last; exec sleep 600\" & exit" & exit' <"$FIFO" & exit 0`)
	fifo := c.Dir + "/fifo"
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	c.Env = []spec.EnvVar{{Name: "FIFO", Value: fifo}}
	start(t, h, c)
	if got, want := f.next(t), exited(1, code(0), false); got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	if err := os.WriteFile(fifo, []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	awaitText(t, outPath(c), "last")
	awaitThat(t, "one survivor", func() (string, bool) {
		got := h.Survivors("web", 1)
		return strconv.Itoa(len(got)), len(got) == 1
	})
	if len(f) > 0 {
		t.Fatalf("a fact while one lives: %+v", <-f)
	}
	if err := h.Signal("web", 1, spec.Signal(unix.SIGKILL)); err != nil {
		t.Error(err)
	}
	if got := f.next(t); !got.emptied {
		t.Errorf("got %+v, want Emptied", got)
	}
}

func TestStoppedChildDiesOfTermAndCont(t *testing.T) {
	h, f := newHost(t)
	id := start(t, h, child(t, "sleep", "600"))
	send := func(sig unix.Signal) {
		t.Helper()
		if err := h.Signal("web", 1, spec.Signal(sig)); err != nil {
			t.Error(err)
		}
	}
	send(unix.SIGSTOP)
	awaitStopped(t, id.PID)
	send(unix.SIGTERM)
	if len(f) > 0 {
		t.Fatalf("a stopped process ended: %+v", <-f)
	}
	send(unix.SIGCONT)
	if got, want := f.next(t), exited(1, killedBy(unix.SIGTERM), true); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// python runs a script that a shell cannot do.
func python(t *testing.T, script string) *spec.Child {
	t.Helper()
	if _, err := os.Stat("/usr/bin/python3"); err != nil {
		t.Skip("needs python3")
	}
	c := shell(t, `exec /usr/bin/python3 -c "$SCRIPT"`)
	c.Env = []spec.EnvVar{{Name: "SCRIPT", Value: script}}
	return c
}

func TestZombiesDoNotCountAsAlive(t *testing.T) {
	kernels(t, func(t *testing.T, h *Host, f facts) {
		// The leader's child leaves the group and never reaps its own child,
		// which stays in the group as a zombie.
		c := python(t, `
import os, time
r, w = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os._exit(0)
    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
    os.setsid()
    print(os.getpid(), flush=True)
    os.close(w)
    time.sleep(600)
os.close(w)
os.read(r, 1)
`)
		start(t, h, c)
		got := f.next(t)
		for _, pid := range numbers(t, read(t, outPath(c))) {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil {
				t.Error(err)
			}
		}
		if want := exited(1, code(0), true); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

func TestThreadGroupWhoseFirstThreadEndedIsAlive(t *testing.T) {
	h, f := newHost(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// As the leader, and as a member of a group whose leader has gone.
	tests := []struct {
		name, script string
		first        *fact
		last         fact
	}{
		{"leader", `exec "$EXE" <"$FIFO"`, nil, exited(1, code(3), true)},
		{"survivor", `"$EXE" <"$FIFO" & exit 0`, new(exited(1, code(0), false)), fact{child: "web", incarnation: 1, emptied: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := shell(t, tt.script)
			fifo := c.Dir + "/fifo"
			if err := unix.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			w, err := os.OpenFile(fifo, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			c.Env = []spec.EnvVar{{Name: "EXE", Value: exe}, {Name: "FIFO", Value: fifo}, {Name: envHelper, Value: partEndFirst}}
			start(t, h, c)
			awaitText(t, outPath(c), "ready")
			var pid int
			awaitThat(t, "state Z", func() (string, bool) {
				for _, pid = range h.Survivors("web", 1) {
					if st, err := readStat(pid); err == nil && st.state == 'Z' {
						return "Z", true
					}
				}
				return "none", false
			})
			if tt.first != nil {
				if got := f.next(t); got != *tt.first {
					t.Errorf("got %+v, want %+v", got, *tt.first)
				}
			}
			if len(f) > 0 {
				t.Fatalf("a fact while a thread lives: %+v", <-f)
			}
			if _, err := w.WriteString("\n"); err != nil {
				t.Fatal(err)
			}
			if got := f.next(t); got != tt.last {
				t.Errorf("got %+v, want %+v", got, tt.last)
			}
		})
	}
}

func TestLeaderThatLeftItsGroupIsSignalled(t *testing.T) {
	kernels(t, func(t *testing.T, h *Host, f facts) {
		c := python(t, `
import os, time
r, w = os.pipe()
if os.fork() == 0:
    os.setpgid(0, 0)
    os.close(w)
    time.sleep(600)
os.close(w)
child = os.waitid
import sys
pid = int(open('/proc/self/task/%d/children' % os.getpid()).read().split()[0])
os.read(r, 1)
os.setpgid(0, pid)
print(pid, flush=True)
time.sleep(600)
`)
		id := start(t, h, c)
		other := numbers(t, awaitText(t, outPath(c), "\n"))
		if len(other) != 1 {
			t.Fatalf("output %q", read(t, outPath(c)))
		}
		defer unix.Kill(other[0], unix.SIGKILL)
		both := []int{id.PID, other[0]}
		slices.Sort(both)
		if got := h.Survivors("web", 1); !slices.Equal(got, both) {
			t.Errorf("survivors %v, want the leader and its child %v", got, both)
		}
		if err := h.Signal("web", 1, spec.Signal(unix.SIGTERM)); err != nil {
			t.Error(err)
		}
		if got, want := f.next(t), exited(1, killedBy(unix.SIGTERM), true); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

func TestCloseDuringSurvivorsTellsNothingMore(t *testing.T) {
	f := make(facts, 10)
	h := New(f, Options{})
	c := shell(t, `sleep 600 & echo $!; exit 0`)
	if _, err := h.Start(c, 1); err != nil {
		t.Fatal(err)
	}
	if got, want := f.next(t), exited(1, code(0), false); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	h.Close()
	for _, pid := range numbers(t, read(t, outPath(c))) {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Errorf("the survivor after Close: %v", err)
		}
	}
	if len(f) > 0 {
		t.Errorf("a fact after Close: %+v", <-f)
	}
}

func TestManyStopTogether(t *testing.T) {
	const children = 60
	kernels(t, func(t *testing.T, h *Host, f facts) {
		c := child(t, "sh", "-c", `sleep 600 & sleep 600 & wait`)
		for n := range uint64(children) {
			if _, err := h.Start(c, n+1); err != nil {
				t.Fatal(err)
			}
		}
		for n := range uint64(children) {
			if err := h.Signal("web", n+1, spec.Signal(unix.SIGKILL)); err != nil {
				t.Error(err)
			}
		}
		// A group may be killed before its shell has begun, or leave orphans
		// for an instant: either way it ends up empty, once.
		ends := map[uint64]bool{}
		for len(ends) < children {
			got := f.next(t)
			if !got.emptied && got.exit.Signal != spec.Signal(unix.SIGKILL) {
				t.Errorf("got %+v", got)
			}
			if got.emptied || got.empty {
				if ends[got.incarnation] {
					t.Errorf("incarnation %d ended twice", got.incarnation)
				}
				ends[got.incarnation] = true
			}
		}
	})
}

func TestSignalThatIsNotAllowedIsToldClearly(t *testing.T) {
	asRoot(t)
	h, f := newHost(t)
	id := start(t, h, child(t, "sleep", "600"))
	// This thread alone stops being root; without the Unlock it would end with
	// the goroutine.
	goruntime.LockOSThread()
	const nobody, keep, root = 65534, ^uintptr(0), 0
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, keep); errno != 0 {
		t.Fatal(errno)
	}
	err := h.Signal("web", 1, spec.Signal(unix.SIGTERM))
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, root, root, keep); errno != 0 {
		t.Fatal(errno)
	}
	goruntime.UnlockOSThread()
	want := fmt.Sprintf("signal SIGTERM to process group %d: operation not permitted "+
		"(its processes run as a user the server may not signal)", id.PID)
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if len(f) > 0 {
		t.Errorf("a fact: %+v", <-f)
	}
}

// refuseToTell has the host do without the kernel's word, as for a user who has
// used up fs.epoll.max_user_watches.
func refuseToTell(h *Host) { h.ends.file.Close() }

func TestLeaderThatTheKernelDoesNotTellOfIsWatched(t *testing.T) {
	h, f := newHost(t)
	refuseToTell(h)
	start(t, h, child(t, "sleep", "600"))
	h.Signal("web", 1, spec.Signal(unix.SIGKILL))
	if got, want := f.next(t), exited(1, killedBy(unix.SIGKILL), true); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestHostThatLooksAgainAndAgainCanBeClosed(t *testing.T) {
	h, f := newHost(t)
	refuseToTell(h)
	id := start(t, h, child(t, "sleep", "600"))
	defer reapPID(id.PID)
	defer unix.Kill(id.PID, unix.SIGKILL)
	h.Close()
	if len(f) > 0 {
		t.Errorf("a fact: %+v", <-f)
	}
}

func TestPidfdThatThePollerRefusedIsWatched(t *testing.T) {
	h, f := newHost(t)
	id := start(t, h, child(t, "sleep", "600"))
	// os.NewFile leaves a blocking descriptor to itself, as it does one that
	// epoll refuses.
	other := &process{host: h, child: "web", id: id}
	pidfd := func() *os.File {
		fd, err := unix.PidfdOpen(id.PID, 0)
		if err != nil {
			t.Fatal(err)
		}
		return os.NewFile(uintptr(fd), "pidfd")
	}
	polled := make(chan bool)
	await := func(f *os.File) { polled <- other.awaitOther(f) }
	// It gives up when told to.
	file := pidfd()
	other.track(file)
	go await(file)
	other.close()
	if <-polled {
		t.Error("a closed process ended")
	}
	other = &process{host: h, child: "web", id: id}
	file = pidfd()
	other.track(file)
	go await(file)
	if err := h.Signal("web", 1, spec.Signal(unix.SIGKILL)); err != nil {
		t.Error(err)
	}
	if !<-polled {
		t.Error("the end was not seen")
	}
	f.next(t)
	other.close()
}
