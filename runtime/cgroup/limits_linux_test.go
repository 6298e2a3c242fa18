package cgroup

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// eachKind runs a test against each kind of groups; on a hybrid machine a limit of
// the first is one of v1 beside a group of cgroup2.
func eachKind(t *testing.T, test func(t *testing.T, kind Kind)) {
	for _, kind := range []Kind{V2, V1} {
		t.Run(string(kind), func(t *testing.T) { test(t, kind) })
	}
}

// limited makes a group with a limit; it skips where the machine has no such
// controller.
func limited(t *testing.T, kind Kind, want spec.Resources) *Leaf {
	t.Helper()
	l, warnings, err := newTree(t, thisMachineFor(t, kind)).Make("web", 7, want)
	if err != nil || l == nil {
		t.Fatalf("made %v, warnings %q, error %v", l, warnings, err)
	}
	for _, w := range warnings {
		if strings.Contains(w, "no ") && strings.Contains(w, " controller (") {
			t.Skip(w)
		}
		t.Error(w)
	}
	return l
}

func TestMemoryLimitKillsAndIsCounted(t *testing.T) { eachKind(t, memoryLimitKillsAndIsCounted) }

func memoryLimitKillsAndIsCounted(t *testing.T, kind Kind) {
	const limit = 64 << 20
	l := limited(t, kind, spec.Resources{Memory: limit})
	if n, known := l.OOMKills(); !known || n != 0 {
		t.Errorf("before: %d kills, known %v", n, known)
	}
	cmd := start(t, l, self("eat", "16777216")...)
	if err := cmd.Wait(); err != nil {
		t.Errorf("a quarter of the limit: %v", err)
	}
	cmd = start(t, l, self("eat", "134217728")...)
	if err := cmd.Wait(); err == nil {
		t.Error("twice the limit did not end it")
	}
	if n, known := l.OOMKills(); !known || n != 1 {
		t.Errorf("after: %d kills, known %v", n, known)
	}
	// A later server, too, wants to know.
	if n, known := l.tree.Leaf(l.Path()).OOMKills(); !known || n != 1 {
		t.Errorf("by its path: %d kills, known %v", n, known)
	}
}

func TestTaskLimitRefusesAFork(t *testing.T) { eachKind(t, taskLimitRefusesAFork) }

func taskLimitRefusesAFork(t *testing.T, kind Kind) {
	l := limited(t, kind, spec.Resources{Tasks: 3})
	start(t, l, "/bin/sh", "-c", "/bin/sleep 300 & /bin/sleep 300 & /bin/sleep 300 & wait")
	at := slices.IndexFunc(l.dirs, func(d dir) bool { return exists(t, filepath.Join(d.path, "pids.events")) })
	if at < 0 {
		t.Fatalf("no group has a limit: %s", l.Path())
	}
	eventually(t, "a fork is refused", func() bool {
		refused, err := readKey(l.dirs[at].path, "pids.events", "max")
		if err != nil {
			t.Fatal(err)
		}
		return refused > 0
	})
	if pids, err := l.PIDs(); err != nil || len(pids) > 3 {
		t.Errorf("%d processes: %v (%v)", len(pids), pids, err)
	}
}

func TestProcessorLimitIsWritten(t *testing.T) { eachKind(t, processorLimitIsWritten) }

func processorLimitIsWritten(t *testing.T, kind Kind) {
	l := limited(t, kind, spec.Resources{MilliCPU: 250})
	for _, d := range l.dirs {
		switch {
		case d.has("cpu"):
			if got := content(t, d.path, "cpu.cfs_quota_us") + " " + content(t, d.path, "cpu.cfs_period_us"); got != "25000 100000" {
				t.Errorf("%s: quota and period are %s", d.path, got)
			}
			return
		case d.v2 && exists(t, filepath.Join(d.path, "cpu.max")):
			if got := content(t, d.path, "cpu.max"); got != "25000 100000" {
				t.Errorf("%s: cpu.max is %s", d.path, got)
			}
			return
		}
	}
	t.Errorf("no group has a limit: %s", l.Path())
}

func TestAllLimitsTogether(t *testing.T) { eachKind(t, allLimitsTogether) }

func allLimitsTogether(t *testing.T, kind Kind) {
	l := limited(t, kind, spec.Resources{Memory: 64 << 20, MilliCPU: 1500, Tasks: 50})
	cmd := start(t, l, "/bin/sleep", "300")
	l.Release()
	eventually(t, "it joined", func() bool {
		name, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/comm")
		return err == nil && string(name) == "sleep\n"
	})
	group, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Count(string(group), "/"+basePrefix+l.tree.id+"/web.7\n"), len(l.dirs); got != want {
		t.Errorf("in %d groups, want %d:\n%s", got, want, group)
	}
	id, child, incarnation, ok := ParsePath(string(group))
	if id != l.tree.id || child != "web" || incarnation != 7 || !ok {
		t.Errorf("its groups tell %s %s %d %v", id, child, incarnation, ok)
	}
	end(t, l)
}

// kernel fakes the files of cgroup2 with all controllers below a directory of
// the test, which a hybrid machine has not. It knows these rules of the
// kernel: a group has its controllers' files only if the group above gives
// them to it, and a group with processes cannot give any.
type kernel struct {
	t     *testing.T
	wrote []string
	root  string
}

func newKernel(t *testing.T, controllers string, procs string) (*kernel, machine) {
	k := &kernel{t: t, root: t.TempDir()}
	own := filepath.Join(k.root, "unit")
	if err := os.Mkdir(own, 0o755); err != nil {
		t.Fatal(err)
	}
	k.put(own, "cgroup.controllers", controllers)
	k.put(own, "cgroup.procs", procs)
	k.put(own, "cgroup.subtree_control", "")
	base := filepath.Join(own, basePrefix+testID(t))
	if err := os.Mkdir(base, 0o755); err != nil {
		t.Fatal(err)
	}
	k.put(base, "cgroup.procs", "")
	k.put(base, "cgroup.subtree_control", "")
	return k, machine{hierarchies: []hierarchy{{v2: true, mount: k.root, root: "/", own: own}}, write: k.write}
}

func (k *kernel) put(dir, file, text string) {
	if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
		k.t.Fatal(err)
	}
}

func (k *kernel) write(dir, file, text string) error {
	path := filepath.Join(dir, file)
	above := filepath.Dir(dir)
	switch file {
	case "cgroup.subtree_control":
		if procs, err := readPIDs(dir); err != nil || len(procs) > 0 {
			return &fs.PathError{Op: "write", Path: path, Err: unix.EBUSY}
		}
		had, _ := readFile(dir, file)
		k.put(dir, file, strings.TrimSpace(string(had)+" "+strings.TrimPrefix(text, "+")))
	case "cgroup.procs":
		// The only move is that out of the server's own group.
		own := filepath.Dir(above)
		procs, _ := readFile(own, file)
		k.put(own, file, strings.Replace(string(procs), text+"\n", "", 1))
	default:
		controller, _, _ := strings.Cut(file, ".")
		if on, _ := listed(above, "cgroup.subtree_control", controller); !on || file == "memory.swap.max" {
			return &fs.PathError{Op: "open", Path: path, Err: unix.ENOENT}
		}
	}
	short, err := filepath.Rel(k.root, path)
	if err != nil {
		k.t.Fatal(err)
	}
	k.wrote = append(k.wrote, strings.ReplaceAll(short, testID(k.t), "ID")+" "+text)
	return nil
}

func TestControllersAreSwitchedOnWhenAChildWantsThem(t *testing.T) {
	cmd := exec.Command("/bin/sleep", "300")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = cmd.Process.Kill(), cmd.Wait() }()
	me, hook := strconv.Itoa(os.Getpid()), strconv.Itoa(cmd.Process.Pid)
	all := spec.Resources{Memory: 1 << 20, MilliCPU: 5, Tasks: 9}
	tests := []struct {
		name, controllers, procs string
		self                     []int
		want                     spec.Resources
		wrote, warnings          []string
	}{
		{"nothing wanted", "cpu memory pids", me + "\n", nil, spec.Resources{}, nil, nil},
		{"the server alone", "cpu memory pids", me + "\n", nil, spec.Resources{Memory: 4096}, []string{
			"unit/kita-ID/supervisor/cgroup.procs " + me,
			"unit/cgroup.subtree_control +memory",
			"unit/kita-ID/cgroup.subtree_control +memory",
			"unit/kita-ID/web.7/memory.max 4096",
		}, nil},
		{"with its keeper", "cpu memory pids", "1\n" + me + "\n", []int{1}, spec.Resources{Tasks: 1 << 40}, []string{
			"unit/kita-ID/supervisor/cgroup.procs 1",
			"unit/kita-ID/supervisor/cgroup.procs " + me,
			"unit/cgroup.subtree_control +pids",
			"unit/kita-ID/cgroup.subtree_control +pids",
			"unit/kita-ID/web.7/pids.max max",
		}, nil},
		{"with a hook of its", "cpu memory pids", hook + "\n" + me + "\n", nil, spec.Resources{Memory: 4096}, []string{
			"unit/kita-ID/supervisor/cgroup.procs " + hook,
			"unit/kita-ID/supervisor/cgroup.procs " + me,
			"unit/cgroup.subtree_control +memory",
			"unit/kita-ID/cgroup.subtree_control +memory",
			"unit/kita-ID/web.7/memory.max 4096",
		}, nil},
		{"all, nobody to move", "cpu memory pids", "", nil, all, []string{
			"unit/cgroup.subtree_control +memory",
			"unit/kita-ID/cgroup.subtree_control +memory",
			"unit/kita-ID/web.7/memory.max 1048576",
			"unit/cgroup.subtree_control +cpu",
			"unit/kita-ID/cgroup.subtree_control +cpu",
			"unit/kita-ID/web.7/cpu.max 5000 1000000",
			"unit/cgroup.subtree_control +pids",
			"unit/kita-ID/cgroup.subtree_control +pids",
			"unit/kita-ID/web.7/pids.max 9",
		}, nil},
		{"a stranger beside it", "memory", "1\n" + me + "\n", nil, spec.Resources{Memory: 4096}, nil, []string{
			"limits.memory is not in force: process 1, which is not the server's, is in the server's own cgroup ROOT/unit; give the server one of its own, in a systemd unit by Delegate=yes",
		}},
		{"one controller is missing", "memory", "", nil, spec.Resources{Memory: 4096, Tasks: 2}, []string{
			"unit/cgroup.subtree_control +memory",
			"unit/kita-ID/cgroup.subtree_control +memory",
			"unit/kita-ID/web.7/memory.max 4096",
		}, []string{"limits.tasks is not in force: no pids controller (cgroup2 has memory)"}},
		{"none", "", "", nil, spec.Resources{MilliCPU: 2}, nil,
			[]string{"limits.cpu is not in force: no cpu controller (cgroup2 has none for ROOT/unit)"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			k, m := newKernel(t, tc.controllers, tc.procs)
			tree := open(Options{ID: testID(t), Self: tc.self}, m)
			if tree.Kind() != V2 {
				t.Fatal(tree)
			}
			_, warnings, err := tree.Make("web", 7, tc.want)
			if err != nil {
				t.Fatal(err)
			}
			for i := range warnings {
				warnings[i] = strings.ReplaceAll(warnings[i], k.root, "ROOT")
			}
			if !slices.Equal(k.wrote, tc.wrote) {
				t.Errorf("wrote\n%s\nwant\n%s", strings.Join(k.wrote, "\n"), strings.Join(tc.wrote, "\n"))
			}
			if !slices.Equal(warnings, tc.warnings) {
				t.Errorf("warnings\n%s\nwant\n%s", strings.Join(warnings, "\n"), strings.Join(tc.warnings, "\n"))
			}
		})
	}
}
