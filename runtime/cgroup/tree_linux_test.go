package cgroup

import (
	"slices"
	"strings"
	"syscall"
	"testing"

	"kita/spec"
)

// kinds runs a test against each kind of groups that the machine has, and each
// way to kill.
func kinds(t *testing.T, test func(t *testing.T, m machine)) {
	only := func(keep func(h hierarchy) bool) func(m *machine) {
		return func(m *machine) {
			m.hierarchies = slices.DeleteFunc(m.hierarchies, func(h hierarchy) bool { return !keep(h) })
		}
	}
	for _, k := range []struct {
		name    string
		kind    Kind
		without func(m *machine)
	}{
		{"cgroup2", V2, func(*machine) {}},
		{"cgroup2 before cgroup.kill", V2, func(m *machine) { m.killFile = false }},
		{"cgroup2 before CLONE_INTO_CGROUP", V2, func(m *machine) { m.clone = false }},
		{"freezer and pids", V1, func(*machine) {}},
		{"freezer", V1, only(func(h hierarchy) bool { return h.has("freezer") && !h.has("pids") })},
		{"pids", V1, only(func(h hierarchy) bool { return h.has("pids") && !h.has("freezer") })},
	} {
		t.Run(k.name, func(t *testing.T) {
			m := thisMachineFor(t, k.kind)
			k.without(&m)
			if tree := open(Options{ID: testID(t)}, m); tree.Kind() != k.kind {
				t.Skipf("this machine offers no %s: %s", k.name, tree)
			}
			test(t, m)
		})
	}
}

func TestProcessIsHeldKilledAndForgotten(t *testing.T) {
	kinds(t, func(t *testing.T, m machine) {
		tree := newTree(t, m)
		l := makeLeaf(t, tree, "web", spec.Resources{})
		if empty, err := l.Empty(); err != nil || !empty {
			t.Errorf("new: empty is %v (%v)", empty, err)
		}
		cmd := start(t, l, "/bin/sleep", "300")
		l.Release()
		if fd := l.CloneFD(); fd != -1 {
			t.Errorf("released: CloneFD is %d", fd)
		}
		if pids := lives(t, l, 1); pids[0] != cmd.Process.Pid {
			t.Errorf("holds %v, want %d", pids, cmd.Process.Pid)
		}
		if empty, err := l.Empty(); err != nil || empty {
			t.Errorf("a process in it: empty is %v (%v)", empty, err)
		}
		if err := l.Remove(); err == nil {
			t.Error("removed with a process in it")
		}
		if err := l.Kill(); err != nil {
			t.Fatal(err)
		}
		// The zombie is not waited for yet, and does not count.
		awaitEmpty(t, l, 20e9)
		if err := cmd.Wait(); err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Errorf("ended with %v, want SIGKILL", err)
		}
		for range 2 {
			if err := l.Remove(); err != nil {
				t.Fatal(err)
			}
		}
		if pids, err := l.PIDs(); err != nil || len(pids) > 0 {
			t.Errorf("gone: holds %v (%v)", pids, err)
		}
		if empty, err := l.Empty(); err != nil || !empty {
			t.Errorf("gone: empty is %v (%v)", empty, err)
		}
		if err := l.Kill(); err != nil {
			t.Errorf("gone: %v", err)
		}
		for _, path := range strings.Split(l.Path(), "\n") {
			if exists(t, path) {
				t.Errorf("%s is still there", path)
			}
		}
	})
}
