package keeper

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"kita/runtime/exitlog"
)

func TestServerKnowsItsKeeper(t *testing.T) {
	h := newHouse(t, nil)
	v := h.server()
	want := map[string]string{"keeper": strconv.Itoa(h.keeper.Process.Pid), "init": "false", "run": `""`, "state": `""`, "env": `""`}
	for key, value := range want {
		if v.hello[key] != value {
			t.Errorf("%s=%s, want %s", key, v.hello[key], value)
		}
	}
	if group, err := unix.Getpgid(v.pid); err != nil || group != v.pid {
		t.Errorf("group %d of PID %d, %v", group, v.pid, err)
	}
	v.serves().tell("die")
	h.server().wantDirs()
}

func TestEndOfTheServerIsThatOfTheKeeper(t *testing.T) {
	tests := []struct {
		name   string
		ready  bool
		tell   []string
		status int
	}{
		{"cannot begin", false, []string{"end 1"}, 1},
		{"wrong use", false, []string{"end 2"}, 2},
		{"ends well", true, []string{"end 0"}, 0},
		{"says how", true, []string{"exit 7", "end 7"}, 7},
		{"says how and is killed", true, []string{"exit 7", "die"}, 7},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, nil)
			v := h.server()
			if tt.ready {
				v.serves()
			}
			for _, line := range tt.tell {
				v.tell(line)
			}
			h.wantEnd(tt.status)
		})
	}
}

// Children may have been adopted by then, and who was killed has said nothing.
func TestServerThatIsKilledBeforeItWasReadyIsStartedAgain(t *testing.T) {
	h := newHouse(t, nil)
	h.server().tell("die")
	v := h.server().serves()
	v.tell("end 0")
	h.wantEnd(0)
}

// TestChildrenOfADeadServer: some end at the same moment as their server, some
// while there is none, some under the next.
func TestChildrenOfADeadServer(t *testing.T) {
	h := newHouse(t, nil)
	v := h.server().serves()
	zombie := v.start("zombie", "exit 3")
	h.until("a zombie", func() bool {
		st, err := os.ReadFile(procFile(zombie, "stat"))
		return err == nil && strings.Contains(string(st), ") Z ")
	})
	gate := filepath.Join(h.dir, "gate")
	if err := unix.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	waits := v.start("waits", "read x < "+gate+"; exit 4")
	signalled := v.start("signalled", "exec sleep 1000")
	// A launch that the server's death cut short is no run of the child.
	shim := filepath.Join(h.dir, shimCommand)
	if err := os.WriteFile(shim, []byte("#!/bin/sh\nread x < "+gate+"2\nexit 127\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(gate+"2", 0o600); err != nil {
		t.Fatal(err)
	}
	launching := v.start("launching", "exec "+shim)
	stranger := v.start("stranger", "sh -c 'exit 9' & exec sleep 1000")
	v.tell("die")
	next := h.server().serves()
	first := h.records(1)
	if r := first[0]; r.PID != zombie || r.Status != 3<<8 {
		t.Errorf("%+v", r)
	}
	if err := syscall.Kill(signalled, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(gate, []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	got := map[int]exitlog.Record{}
	if err := os.WriteFile(gate+"2", []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	for _, r := range h.records(4) {
		got[r.PID] = r
	}
	for _, want := range []exitlog.Record{
		{PID: waits, Child: "waits", Incarnation: 3, Status: 4 << 8},
		{PID: launching, Status: 127 << 8},
		{PID: signalled, Child: "signalled", Incarnation: 3, Status: 9},
	} {
		r := got[want.PID]
		want.StartTicks, want.Boot, want.At = r.StartTicks, r.Boot, r.At
		if r != want || r.StartTicks == 0 || r.Boot == "" || r.At.IsZero() {
			t.Errorf("got %+v, want %+v", r, want)
		}
	}
	h.until("all are reaped", func() bool { return isGone(zombie) && isGone(waits) && isGone(signalled) })
	if isGone(stranger) {
		t.Error("a child that lives has been ended")
	}
	if next.pid == v.pid {
		t.Error("the same server")
	}
}

// TestEndsWaitForTheDisk: an end that cannot be written down is neither lost nor
// reaped, and keeps nobody from going on.
func TestEndsWaitForTheDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	small := t.TempDir()
	if err := unix.Mount("kita", small, "tmpfs", 0, "size=4k"); err != nil {
		t.Skipf("cannot mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(small, unix.MNT_DETACH) })
	h := newHouse(t, nil)
	if err := os.Symlink(filepath.Join(small, exitlog.Name), filepath.Join(h.dir, exitlog.Name)); err != nil {
		t.Fatal(err)
	}
	v := h.server().serves()
	filler := filepath.Join(small, "filler")
	fill, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(fill, io.LimitReader(zeroes{}, 1<<20))
	fill.Close()
	if err == nil {
		t.Fatal("the disk is not full")
	}
	pid := v.start("late", "exec sleep 1000")
	// While it is being executed it cannot be asked what it is.
	h.until("it sleeps", func() bool {
		st, err := readStat(pid)
		_, ok := runByEnviron(pid)
		return err == nil && st.command == "sleep" && ok
	})
	v.tell("die")
	next := h.server().serves()
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	h.until("a word about it", func() bool { return strings.Contains(h.readLog(), "cannot be written down") })
	if isGone(pid) {
		t.Error("reaped without a record")
	}
	next.tell("die")
	h.server().serves()
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if r := h.records(1)[0]; r.PID != pid || r.Status != 15 || r.Child != "late" {
		t.Errorf("%+v", r)
	}
	h.until("it is reaped", func() bool { return isGone(pid) })
}

// Its group says no more that it was a child; that its server left it does.
func TestLeaderThatMovedIsRecorded(t *testing.T) {
	h := newHouse(t, nil)
	v := h.server().serves()
	script := filepath.Join(h.dir, "move.py")
	if err := os.WriteFile(script, []byte(`
import os, time
r, w = os.pipe()
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os.close(w)
    os.read(r, 1)
    os._exit(0)
while os.getpgid(child) != child:
    time.sleep(0.001)
os.setpgid(0, child)
time.sleep(1000)
`), 0o600); err != nil {
		t.Fatal(err)
	}
	moved := v.start("moved", "exec python3 "+script)
	h.until("it moved", func() bool {
		group, err := unix.Getpgid(moved)
		return err == nil && group != moved
	})
	v.tell("die")
	next := h.server().serves()
	if err := syscall.Kill(moved, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if r := h.records(1)[0]; r.PID != moved || r.Status != uint32(syscall.SIGKILL) || r.StartTicks == 0 {
		t.Errorf("%+v", r)
	}
	next.tell("end 0")
	h.wantEnd(0)
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestSignalsArePassedOn(t *testing.T) {
	h := newHouse(t, nil)
	v := h.server()
	// Held back until the server handles it.
	h.signal(syscall.SIGUSR2)
	v.serves()
	v.wantHear("signal user defined signal 2")
	h.signal(syscall.SIGHUP)
	v.wantHear("signal hangup")
	// Of no meaning, and no harm.
	for _, sig := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGPIPE, syscall.SIGALRM, syscall.SIGWINCH, syscall.SIGCHLD} {
		h.signal(sig)
	}
	h.signal(syscall.SIGINT)
	v.wantHear("signal terminated")
	// A server that does not end is told again, and not killed.
	h.signal(syscall.SIGTERM)
	v.wantHear("signal terminated")
	if got := v.do("exit 0"); got != "ok" {
		t.Error(got)
	}
	v.tell("end 0")
	h.wantEnd(0)
}

func TestTermBeforeTheServerHandlesIt(t *testing.T) {
	h := newHouse(t, nil)
	v := h.server().serves()
	v.tell("die")
	v = h.server()
	h.signal(syscall.SIGTERM)
	v.tell("run")
	v.wantHear("ok")
	v.wantHear("signal terminated")
	// A crash on the way: another server is told.
	v.tell("die")
	v = h.server()
	v.tell("run")
	v.wantHear("ok")
	v.wantHear("signal terminated")
	v.tell("exit 5")
	v.tell("end 5")
	h.wantEnd(5)
}

func TestServerEndsWithItsKeeper(t *testing.T) {
	h := newHouse(t, nil)
	v := h.server().serves()
	child := v.start("web", "exec sleep 1000")
	fd, err := unix.PidfdOpen(v.pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	h.signal(syscall.SIGKILL)
	if !ends(fd) {
		t.Error("the server does not end")
	}
	if isGone(child) {
		t.Error("the child is gone too")
	}
}

// TestPID1 is a container: children and orphans by the hundred.
func TestPID1(t *testing.T) {
	if os.Geteuid() != 0 || exec.Command("unshare", "--mount", "--pid", "--fork", "true").Run() != nil {
		t.Skip("a PID namespace needs root, and its right to make one")
	}
	h := newHouse(t, &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS})
	v := h.server().serves()
	if v.hello["init"] != "true" || v.hello["keeper"] != "1" {
		t.Errorf("%v", v.hello)
	}
	const rounds, each = 3, 100
	want := map[int]uint32{}
	for range rounds {
		for n := range each {
			// Each leaves two orphans, of which one outlives it.
			script := fmt.Sprintf("(sleep 0.01 &) ; (exit 5 &) ; exit %d", n%200)
			want[v.start("c"+strconv.Itoa(n), script)] = uint32(n%200) << 8
		}
		v.tell("die")
		v = h.server().serves()
	}
	got := map[int]uint32{}
	h.until("the ends of all children", func() bool {
		for _, r := range h.records(rounds * each) {
			got[r.PID] = r.Status
		}
		return len(got) >= len(want)
	})
	for pid, status := range want {
		if got[pid] != status {
			t.Errorf("PID %d ended with %#x, want %#x", pid, got[pid], status)
		}
	}
	h.until("no zombie", func() bool { return v.do("zombies") == "0" })
	v.tell("exit 42")
	v.tell("end 42")
	h.wantEnd(42)
}
