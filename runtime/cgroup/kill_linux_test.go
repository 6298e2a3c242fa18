package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kita/spec"
)

func TestEscapeeIsKilled(t *testing.T) {
	kinds(t, func(t *testing.T, m machine) {
		l := makeLeaf(t, newTree(t, m), "web", spec.Resources{})
		cmd := start(t, l, self("escape", "1")...)
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		var pid int
		eventually(t, "only the escapee is left", func() bool {
			pids, err := l.PIDs()
			if err != nil || len(pids) != 1 {
				return false
			}
			pid = pids[0]
			name, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
			return err == nil && strings.TrimSpace(string(name)) == "sleep"
		})
		if environ, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ"); err != nil || len(environ) > 0 {
			t.Fatalf("the escapee has the environment %q (%v)", environ, err)
		}
		if session, err := unix.Getsid(pid); err != nil || session != pid {
			t.Fatalf("the escapee is in session %d (%v)", session, err)
		}
		end(t, l)
	})
}

func TestForkBombIsKilled(t *testing.T) {
	kinds(t, func(t *testing.T, m machine) {
		// Two of the ways get the bomb of full size.
		bombed := bombLimit / 10
		if m.killFile && m.clone && (m.hierarchies[0].v2 || len(m.hierarchies) > 2) {
			bombed = bombLimit * 10 / 11
		}
		bounds := boundedGroup(t, bombed*11/10)
		// Where the run has a group of that controller, it is within the bounds.
		m.hierarchies = slices.Clone(m.hierarchies)
		for i, h := range m.hierarchies {
			if h.has("pids") {
				m.hierarchies[i].own = bounds
			}
		}
		tree := newTree(t, m)
		command := self("bomb", bounds)
		if !slices.ContainsFunc(tree.holders, func(h hierarchy) bool { return h.has("pids") }) {
			command = append(self("join", filepath.Join(bounds, "cgroup.procs"), "--"), command...)
		}
		l := makeLeaf(t, tree, "bomb", spec.Resources{})
		start(t, l, command...)
		l.Release()
		eventually(t, "the bomb is big enough", func() bool {
			n, err := strconv.Atoi(content(t, bounds, "pids.current"))
			return err == nil && n >= bombed
		})
		began := time.Now()
		if err := l.Kill(); err != nil {
			t.Fatal(err)
		}
		sent := time.Since(began)
		awaitEmpty(t, l, 20*time.Second)
		t.Logf("%d processes: Kill took %v, all were gone after %v", bombed, sent, time.Since(began))
	})
}

// boundedGroup makes a group of the v1 pids controller that no more processes
// can be in, whatever else goes wrong. What is left there is killed with the
// test, by signals from this process.
func boundedGroup(t *testing.T, limit int) string {
	t.Helper()
	m := thisMachineFor(t, V1)
	at := slices.IndexFunc(m.hierarchies, func(h hierarchy) bool { return h.has("pids") && h.own != "" })
	if at < 0 {
		t.Skip("this machine has no v1 pids controller to bound the bomb with")
	}
	path := filepath.Join(m.hierarchies[at].own, "bound-"+testID(t))
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		eventually(t, "the bounded group is empty", func() bool {
			pids, err := readPIDs(path)
			for _, pid := range pids {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
			return err == nil && len(pids) == 0
		})
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	})
	if err := writeFile(path, "pids.max", strconv.Itoa(limit)); err != nil {
		t.Fatal(err)
	}
	if got := content(t, path, "pids.max"); got != strconv.Itoa(limit) {
		t.Fatalf("pids.max is %s", got)
	}
	return path
}

func TestSignalReachesAll(t *testing.T) {
	kinds(t, func(t *testing.T, m machine) {
		tree := newTree(t, m)
		l, other := makeLeaf(t, tree, "web", spec.Resources{}), makeLeaf(t, tree, "db", spec.Resources{})
		var commands []*exec.Cmd
		for range 3 {
			commands = append(commands, start(t, l, "/bin/sleep", "300"))
		}
		start(t, other, "/bin/sleep", "300")
		lives(t, l, 3)
		lives(t, other, 1)
		if err := l.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		for _, cmd := range commands {
			_ = cmd.Wait()
			if got := cmd.ProcessState.Sys().(syscall.WaitStatus).Signal(); got != syscall.SIGTERM {
				t.Errorf("ended by %v, want SIGTERM", got)
			}
		}
		lives(t, other, 1)
	})
}

func TestChildsOwnGroupsAreItsRuns(t *testing.T) {
	kinds(t, func(t *testing.T, m machine) {
		l := makeLeaf(t, newTree(t, m), "web", spec.Resources{})
		cmd := start(t, l, "/bin/sleep", "300")
		lives(t, l, 1)
		deep := filepath.Join(l.dirs[0].path, "own", "deeper")
		if err := os.MkdirAll(deep, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := writeFile(deep, "cgroup.procs", strconv.Itoa(cmd.Process.Pid)); err != nil {
			t.Fatal(err)
		}
		lives(t, l, 1)
		if empty, err := l.Empty(); err != nil || empty {
			t.Errorf("a process below: empty is %v (%v)", empty, err)
		}
		end(t, l)
		if exists(t, l.dirs[0].path) {
			t.Error("the group is still there")
		}
	})
}

func TestAwaitEmptyGivesUpWhenTold(t *testing.T) {
	kinds(t, func(t *testing.T, m machine) {
		l := makeLeaf(t, newTree(t, m), "web", spec.Resources{})
		start(t, l, "/bin/sleep", "300")
		lives(t, l, 1)
		soon(t, looksAgain/2, func() time.Duration {
			done, answer := make(chan struct{}), make(chan bool)
			go func() { answer <- l.AwaitEmpty(done) }()
			select {
			case got := <-answer:
				t.Fatalf("returned %v with a process in it", got)
			case <-time.After(30 * time.Millisecond):
			}
			began := time.Now()
			close(done)
			if <-answer {
				t.Error("returned true with a process in it")
			}
			return time.Since(began)
		})
	})
}

// soon wants something to take less than a limit at least once: what looks at
// times takes longer each time, what a busy machine holds up does not.
func soon(t *testing.T, limit time.Duration, measure func() time.Duration) {
	t.Helper()
	var all []time.Duration
	for range 5 {
		took := measure()
		if took < limit {
			return
		}
		all = append(all, took)
	}
	t.Errorf("it took %v, each time more than %v", all, limit)
}

// TestAwaitEmptyIsTold asks for less than the time after which it would look by
// itself.
func TestAwaitEmptyIsTold(t *testing.T) {
	m := thisMachineFor(t, V2)
	l := makeLeaf(t, newTree(t, m), "web", spec.Resources{})
	soon(t, looksAgain*3/4, func() time.Duration {
		cmd := start(t, l, "/bin/sleep", "300")
		lives(t, l, 1)
		answer := make(chan bool)
		go func() { answer <- l.AwaitEmpty(nil) }()
		select {
		case got := <-answer:
			t.Fatalf("returned %v with a process in it", got)
		case <-time.After(50 * time.Millisecond):
		}
		began := time.Now()
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if !<-answer {
			t.Error("returned false, and nobody told it to give up")
		}
		return time.Since(began)
	})
}

func TestFrozenByOthersDiesAfterTheThaw(t *testing.T) {
	for _, kind := range []Kind{V2, V1} {
		t.Run(string(kind), func(t *testing.T) {
			m := thisMachineFor(t, kind)
			freezer := slices.IndexFunc(m.hierarchies, func(h hierarchy) bool { return h.has("freezer") && h.own != "" })
			if freezer < 0 {
				t.Skip("this machine has no v1 freezer")
			}
			l := makeLeaf(t, newTree(t, m), "web", spec.Resources{})
			cmd := start(t, l, "/bin/sleep", "300")
			lives(t, l, 1)
			group := l.dirs[0].path
			if kind == V2 {
				group = filepath.Join(m.hierarchies[freezer].own, "frost-"+testID(t))
				if err := os.Mkdir(group, 0o755); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := os.Remove(group); err != nil {
						t.Error(err)
					}
				})
				if err := writeFile(group, "cgroup.procs", strconv.Itoa(cmd.Process.Pid)); err != nil {
					t.Fatal(err)
				}
			}
			frost, ok := (dir{hierarchy{controllers: []string{"freezer"}}, group}).freezer()
			if !ok {
				t.Fatal("no freezer")
			}
			thaw := func() {
				if err := writeFile(group, "freezer.state", "THAWED"); err != nil {
					t.Error(err)
				}
			}
			t.Cleanup(thaw)
			if err := writeFile(group, "freezer.state", "FROZEN"); err != nil {
				t.Fatal(err)
			}
			eventually(t, "frozen", frost.frozen)

			// It does not wait for the thaw.
			if err := l.Kill(); err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			timer := time.AfterFunc(300*time.Millisecond, func() { close(done) })
			defer timer.Stop()
			if l.AwaitEmpty(done) {
				t.Fatal("a frozen process died")
			}
			if !frost.frozen() {
				t.Error("not frozen any more: Kill thawed it")
			}
			thaw()
			_ = cmd.Wait()
			awaitEmpty(t, l, 20*time.Second)
		})
	}
}

func TestFrozenGroupOfCgroup2CanBeKilled(t *testing.T) {
	for _, killFile := range []bool{true, false} {
		t.Run(fmt.Sprintf("cgroup.kill %v", killFile), func(t *testing.T) {
			m := thisMachineFor(t, V2)
			m.killFile = killFile
			l := makeLeaf(t, newTree(t, m), "web", spec.Resources{})
			start(t, l, "/bin/sleep", "300")
			lives(t, l, 1)
			f, _ := l.dirs[0].freezer()
			if err := writeFile(l.Path(), "cgroup.freeze", "1"); err != nil {
				t.Fatal(err)
			}
			eventually(t, "frozen", f.frozen)
			end(t, l)
		})
	}
}

// TestFreezeOfAKilledServerIsUndone is for a server that died between the
// freeze of a Kill and its thaw.
func TestFreezeOfAKilledServerIsUndone(t *testing.T) {
	for _, v2 := range []bool{true, false} {
		kind := map[bool]Kind{true: V2, false: V1}[v2]
		t.Run(string(kind), func(t *testing.T) {
			m := thisMachineFor(t, kind)
			m.killFile = false
			l := makeLeaf(t, newTree(t, m), "web", spec.Resources{})
			start(t, l, "/bin/sleep", "300")
			lives(t, l, 1)
			f, ok := l.dirs[0].freezer()
			if !ok {
				t.Skip("this machine has no v1 freezer")
			}
			if err := f.freeze(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "frozen", f.frozen)
			end(t, l)
		})
	}
}
