package cgroup

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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

// server is a tree of an id, as a later server opens it.
func server(t *testing.T, tree *Tree) *Tree {
	t.Helper()
	return open(Options{ID: tree.id}, tree.machine)
}

func runs(t *testing.T, tree *Tree) []string {
	t.Helper()
	leaves, err := tree.Leaves()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range leaves {
		child, incarnation := l.Run()
		names = append(names, child+" "+strconv.FormatUint(incarnation, 10))
	}
	slices.Sort(names)
	return names
}

func TestLaterServerFindsTheRuns(t *testing.T) {
	kinds(t, func(t *testing.T, m machine) {
		former := newTree(t, m)
		web, db := makeLeaf(t, former, "wéb,x", spec.Resources{}), makeLeaf(t, former, "db", spec.Resources{})
		cmd := start(t, web, "/bin/sleep", "300")
		lives(t, web, 1)
		web.Release()
		db.Release()
		former.Close()

		later := server(t, former)
		if got, want := later.Kind(), former.Kind(); got != want {
			t.Errorf("kind is %s, was %s", got, want)
		}
		if got, want := runs(t, later), []string{"db 7", "wéb,x 7"}; !slices.Equal(got, want) {
			t.Errorf("found %q, want %q", got, want)
		}
		leaves, err := later.Leaves()
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range leaves {
			for _, former := range []*Leaf{web, db} {
				if found.name == former.name && found.Path() != former.Path() {
					t.Errorf("path is %q, was %q", found.Path(), former.Path())
				}
			}
		}
		l := later.Leaf(web.Path())
		if l == nil {
			t.Fatalf("no leaf for %q", web.Path())
		}
		if pids := lives(t, l, 1); pids[0] != cmd.Process.Pid {
			t.Errorf("holds %v, want %d", pids, cmd.Process.Pid)
		}

		kept := map[string]bool{}
		later.Tidy(func(child string, incarnation uint64) bool { kept[child] = true; return false })
		if want := map[string]bool{"db": true, "wéb,x": true}; !maps.Equal(kept, want) {
			t.Errorf("asked about %v", kept)
		}
		if got, want := runs(t, later), []string{"wéb,x 7"}; !slices.Equal(got, want) {
			t.Errorf("tidied: found %q, want %q", got, want)
		}
		if err := l.Kill(); err != nil {
			t.Fatal(err)
		}
		awaitEmpty(t, l, 20e9)
		later.Tidy(func(string, uint64) bool { return true })
		if got, want := runs(t, later), []string{"wéb,x 7"}; !slices.Equal(got, want) {
			t.Errorf("kept: found %q, want %q", got, want)
		}
		later.Tidy(func(string, uint64) bool { return false })
		for _, h := range later.holders {
			if exists(t, later.base(h)) {
				t.Errorf("%s is still there", later.base(h))
			}
		}
	})
}

func TestRunsAreFoundWhereverAFormerServerWas(t *testing.T) {
	m := thisMachineFor(t, V2)
	tree := newTree(t, m)
	elsewhere := m
	elsewhere.hierarchies = slices.Clone(m.hierarchies)
	for i, h := range m.hierarchies {
		if h.v2 {
			elsewhere.hierarchies[i].own = filepath.Join(h.own, "elsewhere-"+testID(t))
			if err := os.Mkdir(elsewhere.hierarchies[i].own, 0o755); err != nil {
				t.Fatal(err)
			}
			defer os.Remove(elsewhere.hierarchies[i].own)
		}
	}
	l := makeLeaf(t, open(Options{ID: tree.id}, elsewhere), "web", spec.Resources{})
	start(t, l, "/bin/sleep", "300")
	l.Release()
	if got, want := runs(t, tree), []string{"web 7"}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	end(t, l)
	tree.Tidy(func(string, uint64) bool { return false })
	if base := filepath.Dir(l.Path()); exists(t, base) {
		t.Errorf("%s is still there", base)
	}
}

func TestServersDoNotSeeEachOther(t *testing.T) {
	m := thisMachineFor(t, V2)
	one := newTree(t, m)
	l := makeLeaf(t, one, "web", spec.Resources{})
	l.Release()
	other := open(Options{ID: one.id[1:]}, m)
	other.Tidy(func(string, uint64) bool { return false })
	other.Close()
	if got := runs(t, other); len(got) > 0 {
		t.Errorf("found %q", got)
	}
	if other.Leaf(l.Path()) != nil {
		t.Error("has a leaf for another's path")
	}
	if !exists(t, l.Path()) {
		t.Error("removed another's run")
	}
}

func TestRunBeingLaunchedIsNotTidied(t *testing.T) {
	kinds(t, func(t *testing.T, m machine) {
		tree := newTree(t, m)
		l := makeLeaf(t, tree, "web", spec.Resources{})
		refuse := func(string, uint64) bool { return false }
		tree.Tidy(refuse)
		if got, want := runs(t, tree), []string{"web 7"}; !slices.Equal(got, want) {
			t.Errorf("found %q, want %q", got, want)
		}
		l.Release()
		l.Release()
		tree.Tidy(refuse)
		if got := runs(t, tree); len(got) > 0 {
			t.Errorf("released: found %q", got)
		}
	})
}

func TestCloseGivesDescriptorsBack(t *testing.T) {
	m := thisMachineFor(t, V2)
	tree := newTree(t, m)
	l := makeLeaf(t, tree, "web", spec.Resources{})
	fd := l.CloneFD()
	if fd < 0 {
		t.Skip("this machine has no CLONE_INTO_CGROUP")
	}
	tree.Close()
	if l.CloneFD() != -1 {
		t.Error("CloneFD is still there")
	}
	if link, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd)); err == nil && link == l.Path() {
		t.Errorf("descriptor %d is still open", fd)
	}
}

func TestLeftoverOfTheSameRun(t *testing.T) {
	kinds(t, func(t *testing.T, m machine) {
		tree := newTree(t, m)
		makeLeaf(t, tree, "web", spec.Resources{}).Release()
		l := makeLeaf(t, tree, "web", spec.Resources{})
		start(t, l, "/bin/sleep", "300")
		lives(t, l, 1)
		again, warnings, err := tree.Make("web", 7, spec.Resources{})
		if again != nil || err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "not held in a cgroup: cannot remove cgroup ") {
			t.Errorf("with a process in it: made %v, warnings %q, error %v", again, warnings, err)
		}
		lives(t, l, 1)
	})
}

func TestGroupThatTheKernelRefusesIsAWarning(t *testing.T) {
	m := thisMachineFor(t, V2)
	for i, h := range m.hierarchies {
		if h.v2 {
			unit := filepath.Join(h.own, "unit-"+testID(t))
			if err := os.Mkdir(unit, 0o755); err != nil {
				t.Fatal(err)
			}
			defer os.Remove(unit)
			m.hierarchies[i].own = unit
		}
	}
	tree := newTree(t, m)
	base := tree.base(tree.holders[0])
	if err := os.Mkdir(base, 0o755); err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if err := writeFile(base, "cgroup.max.descendants", "0"); err != nil {
		t.Fatal(err)
	}
	l, warnings, err := tree.Make("web", 7, spec.Resources{Memory: 4096})
	want := []string{
		"the processes of this run are not held in a cgroup: mkdir " + base + "/web.7: resource temporarily unavailable",
		"limits.memory is not in force: no cgroup for this run",
	}
	if l != nil || err != nil || !slices.Equal(warnings, want) {
		t.Errorf("made %v, error %v, warnings\n%s", l, err, strings.Join(warnings, "\n"))
	}
}

func TestLeafRefusesNonsense(t *testing.T) {
	m := machine{hierarchies: []hierarchy{{v2: true, mount: "/g/unified"}, {controllers: []string{"memory"}, mount: "/g/memory"}}}
	tree := open(Options{ID: "a1"}, m)
	for path, want := range map[string]bool{
		"/g/unified/kita-a1/web.7":                                true,
		"/g/unified/x/y/kita-a1/web.7\n/g/memory/z/kita-a1/web.7": true,
		"":                              false,
		"\n":                            false,
		"/g/unified/kita-a1/web.7\n":    false,
		"/g/unified/kita-a1":            false,
		"/g/unified/kita-a1/":           false,
		"/g/unified/kita-a1/web":        false,
		"/g/unified/kita-a1/supervisor": false,
		"/g/unified/kita-a1/web.7/":     false,
		"/g/unified/kita-a1/../web.7":   false,
		"/g/unified/kita-a1/web.7/x":    false,
		"/g/unified/kita-a12/web.7":     false,
		"/g/unified/kita-b2/web.7":      false,
		"/g/unified/../x/kita-a1/web.7": false,
		"/g/unifiedx/kita-a1/web.7":     false,
		"/tmp/kita-a1/web.7":            false,
		"g/unified/kita-a1/web.7":       false,
		"/g/unified/kita-a1/web.7\n/g/memory/kita-a1/db.7": false,
		"/g/unified/kita-a1/web.7\n/tmp/kita-a1/web.7":     false,
	} {
		l := tree.Leaf(path)
		if (l != nil) != want || l != nil && l.Path() != path {
			t.Errorf("%q: got %v", path, l)
		}
	}
}

func TestServerThatMovedAsideKeepsItsBase(t *testing.T) {
	tree := open(Options{ID: "a1"}, machine{})
	for own, want := range map[string]string{
		"/g":                    "/g/kita-a1",
		"/g/kita-a1/supervisor": "/g/kita-a1",
		"/g/kita-b2/supervisor": "/g/kita-b2/supervisor/kita-a1",
		"/g/kita-b2/web.3":      "/g/kita-b2/web.3/kita-a1",
		"/g/supervisor":         "/g/supervisor/kita-a1",
	} {
		if got := tree.base(hierarchy{own: own}); got != want {
			t.Errorf("%s: base is %s, want %s", own, got, want)
		}
	}
}

func TestMachineWithoutGroups(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, id    string
		hierarchies []hierarchy
		why         string
	}{
		{"nothing mounted", "a1", nil, "none: neither cgroup2 nor the v1 hierarchies freezer and pids are mounted"},
		{"only others", "a1", []hierarchy{{controllers: []string{"cpu"}, mount: "/g/cpu", own: "/g/cpu"}},
			"none: neither cgroup2 nor the v1 hierarchies freezer and pids are mounted"},
		{"out of sight", "a1", []hierarchy{{v2: true, mount: "/g"}}, "none: /g: the server's own group is not below this mount"},
		{"refused", "a1", []hierarchy{{v2: true, mount: file, own: file}, {controllers: []string{"pids"}, mount: "/g"}},
			"none: mkdir " + file + "/kita-a1: not a directory; /g: the server's own group is not below this mount"},
		{"no id", "../x", nil, `none: "../x" is no server id`},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			tree := open(Options{ID: tc.id}, machine{hierarchies: tc.hierarchies})
			defer tree.Close()
			if tree.Kind() != None || tree.String() != tc.why {
				t.Errorf("kind %s, %q, want %q", tree.Kind(), tree, tc.why)
			}
			l, warnings, err := tree.Make("web", 1, spec.Resources{})
			if l != nil || len(warnings) > 0 || err != nil {
				t.Errorf("made %v, warnings %q, error %v", l, warnings, err)
			}
			l, warnings, err = tree.Make("web", 1, spec.Resources{Tasks: 5})
			want := []string{"limits.tasks is not in force: no cgroups (" + strings.TrimPrefix(tc.why, "none: ") + ")"}
			if l != nil || !slices.Equal(warnings, want) || err != nil {
				t.Errorf("made %v, warnings %q, error %v", l, warnings, err)
			}
		})
	}
}

func TestOpenLeavesNothing(t *testing.T) {
	tree := Open(Options{ID: testID(t)})
	for _, h := range tree.machine.hierarchies {
		if found, err := tree.bases(h); err != nil || len(found) > 0 {
			t.Errorf("found %v (%v)", found, err)
		}
	}
	want := "none: "
	if tree.Kind() != None {
		want = string(tree.Kind()) + " " + tree.base(tree.holders[0])
	}
	if !strings.HasPrefix(tree.String(), want) {
		t.Errorf("it is called %q, want %q", tree, want)
	}
}

// BenchmarkRun is what a group adds to the start and the end of a run.
func BenchmarkRun(b *testing.B) {
	tree := newTree(b, thisMachineFor(b, V2))
	makeLeaf(b, tree, "first", spec.Resources{}).Release()
	for i := range b.N {
		l, _, err := tree.Make("web", uint64(i), spec.Resources{})
		if err != nil || l.CloneFD() < 0 {
			b.Fatal(l, err)
		}
		l.Release()
		if err := l.Remove(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLeaves is what a server does once when it starts.
func BenchmarkLeaves(b *testing.B) {
	const runs = 5000
	tree := newTree(b, thisMachineFor(b, V2))
	for i := range runs {
		makeLeaf(b, tree, "web"+strconv.Itoa(i), spec.Resources{}).Release()
	}
	for b.Loop() {
		if leaves, err := tree.Leaves(); err != nil || len(leaves) != runs {
			b.Fatal(len(leaves), err)
		}
	}
	b.StopTimer()
	tree.Tidy(func(string, uint64) bool { return false })
}
