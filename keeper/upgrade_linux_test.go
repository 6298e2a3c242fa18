package keeper

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// newVersion puts a binary into the house: a copy of this one, or a script.
func (h *house) newVersion(script string) (path string) {
	h.t.Helper()
	path = filepath.Join(h.dir, "new")
	if script != "" {
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			h.t.Fatal(err)
		}
		return path
	}
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		h.t.Fatal(err)
	}
	defer exe.Close()
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		h.t.Fatal(err)
	}
	_, err = io.Copy(file, exe)
	if closeErr := file.Close(); err != nil || closeErr != nil {
		h.t.Fatal(err, closeErr)
	}
	return path
}

// wantExe wants a process to be an image of a file.
func (h *house) wantExe(pid int, want string) {
	h.t.Helper()
	if got, err := os.Readlink(procFile(pid, "exe")); err != nil || got != want {
		h.t.Errorf("PID %d is %s, want %s, %v", pid, got, want, err)
	}
}

func TestKeeperBecomesTheNewVersion(t *testing.T) {
	h := newHouse(t, nil, "TEST_GOOD=20ms")
	v := h.server().serves()
	path := h.newVersion("")
	before := v.start("before", "exec sleep 1000")
	v.tell("upgrade " + path)
	next := h.server()
	if next.pid != v.pid || next.hello["exe"] != path {
		t.Errorf("%v after PID %d", next.hello, v.pid)
	}
	next.serves()
	h.until("the keeper is the new version", func() bool {
		return strings.Contains(h.readLog(), "the keeper is the new version too")
	})
	keeper := h.keeper.Process.Pid
	h.wantExe(keeper, path)
	next.wantHear("asked, ok")
	// All is as before: the link, signals, restarts, and the ends of children.
	h.signal(syscall.SIGHUP)
	next.wantHear("signal hangup")
	next.tell("die")
	last := h.server().serves()
	h.wantExe(last.pid, path)
	// What it was told of the directories the keeper knows although it is
	// another program by now.
	last.wantDirs()
	if last.hello["keeper"] != fmt.Sprint(keeper) {
		t.Errorf("%v", last.hello)
	}
	if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if r := h.records(1)[0]; r.PID != before || r.Child != "before" {
		t.Errorf("%+v", r)
	}
	last.tell("exit 3")
	last.tell("end 3")
	h.wantEnd(3)
}

// TestKeeperStaysWhatItIs: the new version's file went as soon as it served.
func TestKeeperStaysWhatItIs(t *testing.T) {
	h := newHouse(t, nil, "TEST_GOOD=20ms")
	v := h.server().serves()
	path := h.newVersion("")
	v.tell("upgrade " + path)
	next := h.server()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	next.serves()
	h.until("the keeper has tried", func() bool { return strings.Contains(h.readLog(), "cannot become the new version") })
	h.signal(syscall.SIGHUP)
	next.wantHear("signal hangup")
	// The file is not there for another server either: the old version serves.
	next.tell("die")
	old := h.server().serves()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h.wantExe(old.pid, exe)
	old.tell("end 0")
	h.wantEnd(0)
}

func TestBrokenVersionIsGivenUp(t *testing.T) {
	tests := []struct {
		name, script string
		env          string
		restarts     int
	}{
		{"crashes", "exit 1", "", upgradeCrashes},
		{"ends well without having served", "exit 0", "", upgradeCrashes},
		{"hangs", "exec sleep 1000", "TEST_READY=50ms", 1},
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, nil, tt.env)
			v := h.server().serves()
			child := v.start("web", "exec sleep 1000")
			v.tell("upgrade " + h.newVersion(tt.script))
			old := h.server().serves()
			h.wantExe(old.pid, exe)
			if isGone(child) {
				t.Error("the child is gone")
			}
			if got := strings.Count(h.readLog(), "it is started again"); got != tt.restarts {
				t.Errorf("%d restarts, want %d", got, tt.restarts)
			}
			// It does not come back.
			old.tell("die")
			again := h.server()
			h.wantExe(again.pid, exe)
		})
	}
}

// refused is a server that could not execute a new version.
func (h *house) refused() *visitor {
	h.t.Helper()
	v := h.server().serves()
	path := h.newVersion("exit 1")
	if err := os.Chmod(path, 0o644); err != nil {
		h.t.Fatal(err)
	}
	if got := v.do("upgrade " + path); got != "permission denied" {
		h.t.Error(got)
	}
	return v
}

// The signal may come while the keeper still expects the new version.
func TestTermReachesAServerThatStaysWhatItIs(t *testing.T) {
	h := newHouse(t, nil)
	v := h.refused()
	h.signal(syscall.SIGTERM)
	v.wantHear("signal terminated")
	v.tell("end 0")
	h.wantEnd(0)
}

func TestVersionThatCannotBeExecuted(t *testing.T) {
	h := newHouse(t, nil, "TEST_GOOD=20ms")
	h.refused().tell("die")
	next := h.server().serves()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h.wantExe(next.pid, exe)
	if log := h.readLog(); strings.Contains(log, "new version") {
		t.Errorf("the keeper took it for an upgrade:\n%s", log)
	}
}
