package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"kita/spec"
)

// freezer is a group of the cgroup1 freezer: a process in it that is frozen is
// in state D, and SIGKILL reaches it when it is thawed.
type freezer struct{ dir string }

// newFreezer makes one that is thawed and removed with the test.
func newFreezer(t *testing.T) freezer {
	t.Helper()
	const hierarchy = "/sys/fs/cgroup/freezer"
	// In the first group of a hierarchy every machine has this file.
	if _, err := os.Stat(filepath.Join(hierarchy, "cgroup.procs")); err != nil {
		t.Skipf("no cgroup1 freezer: %v", err)
	}
	f := freezer{filepath.Join(hierarchy, fmt.Sprintf("kita-e2e-%d-%d", os.Getpid(), instances.Add(1)))}
	if err := os.Mkdir(f.dir, 0o755); err != nil {
		t.Skipf("no group can be made in the cgroup1 freezer: %v", err)
	}
	t.Cleanup(func() {
		f.set(t, "THAWED")
		for _, pid := range f.pids(t) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		f.until(t, "it is removed", func() bool { return os.Remove(f.dir) == nil })
	})
	return f
}

func (f freezer) set(t *testing.T, state string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, "freezer.state"), []byte(state), 0); err != nil {
		t.Error(err)
	}
}

func (f freezer) pids(t *testing.T) (pids []int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(f.dir, "cgroup.procs"))
	if err != nil {
		t.Error(err)
	}
	for _, word := range strings.Fields(string(text)) {
		if pid, err := strconv.Atoi(word); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// freeze takes a process in and freezes it.
func (f freezer) freeze(t *testing.T, pid int) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
		t.Fatal(err)
	}
	f.set(t, "FROZEN")
	f.until(t, "it is frozen", func() bool {
		text, err := os.ReadFile(filepath.Join(f.dir, "freezer.state"))
		return err == nil && strings.TrimSpace(string(text)) == "FROZEN"
	})
}

func (f freezer) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for timeout := time.After(patience); !ok(); {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("still not: %s", what)
		}
	}
}

// TestAnEndThatLeavesAChildSaysSo: a child that cannot die does not hold up the
// end of the server, which says what is left; the next server stops it.
func TestAnEndThatLeavesAChildSaysSo(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, config string
		end          func(t *testing.T, in *instance)
	}{
		{"kill", "mode: full\n", func(t *testing.T, in *instance) {
			if err := in.client().Kill(t.Context()); err != nil {
				t.Fatal(err)
			}
		}},
		{"TERM", "mode: full\non_exit: stop\n", func(t *testing.T, in *instance) {
			if err := in.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			in := newServer(t, tt.config, map[string]string{
				"stuck": "command: /bin/sleep 1000\nstop: {grace: 100ms}\n", "web": sleeper})
			f := newFreezer(t)
			web := pidOfView(in.mustAwait(t, "web", isLive))
			stuck := pidOfView(in.mustAwait(t, "stuck", isLive))
			f.freeze(t, stuck)

			tt.end(t, in)
			if status, err := in.waitEnd(); err != nil || status != 1 {
				t.Errorf("the server ended with status %d, %v, want 1", status, err)
			}
			if in.isAlive(web) || !in.isAlive(stuck) {
				t.Errorf("alive: web %v, stuck %v", in.isAlive(web), in.isAlive(stuck))
			}
			log := in.log()
			told := regexp.MustCompile(fmt.Sprintf(`level=ERROR msg="a child is not stopped.*child=stuck .*pids=\[%d\]`, stuck))
			if !told.MatchString(log) || !strings.Contains(log, "not all children are stopped") {
				t.Errorf("what is left is not told")
			}

			if err := in.serve(nil, nil); err != nil {
				t.Fatal(err)
			}
			v := in.mustAwait(t, "stuck", isLive)
			if v.Status.Phase != spec.PhaseStopping || pidOfView(v) != stuck || !v.Status.Process.Adopted {
				t.Errorf("the next server has %s, %+v, want the stop to go on", describe(v), v.Status.Process)
			}
			f.set(t, "THAWED")
			// The mode wants it to run, which it does once the former one is gone.
			v = in.mustAwait(t, "stuck", func(v spec.View) bool { return isLive(v) && pidOfView(v) != stuck })
			if v.Status.Starts != 2 || in.isAlive(stuck) {
				t.Errorf("after the thaw: %s", describe(v))
			}
		})
	}
}
