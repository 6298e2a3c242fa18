package cgroup

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"kita/spec"
)

// part, as the first argument, makes the test binary play a part; the name of
// the part and its own arguments follow. The environment would not do, as one
// of them clears it.
const part = "cgroup-test-part"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == part {
		if err := play(os.Args[2], os.Args[3:]); err != nil {
			fmt.Println(err)
			os.Exit(9)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func play(name string, args []string) error {
	switch name {
	case "join":
		return playJoin(args)
	case "escape":
		return playEscape(args)
	case "bomb":
		return playBomb(args)
	case "eat":
		return playEat(args)
	case "delegate":
		return playDelegate(args)
	}
	return fmt.Errorf("there is no part %q", name)
}

// playJoin writes 0 to the files before --, and becomes the command after it.
func playJoin(args []string) error {
	at := slices.Index(args, "--")
	for _, file := range args[:at] {
		if err := os.WriteFile(file, []byte("0"), 0); err != nil {
			return err
		}
	}
	return syscall.Exec(args[at+1], args[at+1:], os.Environ())
}

// playEscape leaves its session, its parent and its environment, and does so
// twice.
func playEscape(args []string) error {
	again := exec.Command("/bin/sleep", "300")
	if args[0] != "0" {
		again = exec.Command("/proc/self/exe", part, "escape", "0")
	}
	again.Env = []string{}
	again.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return again.Start()
}

// bombLimit bounds how many processes the bomb can have, and bombForks how often
// it forks in all.
const (
	bombLimit = 2200
	bombForks = 3 * bombLimit
)

// playBomb forks without end, and so do its children. It refuses to begin
// outside of the group of v1 pids that is its argument, or one below, and counts
// by itself should that group not hold. All of them stop after half a minute.
func playBomb(args []string) error {
	if err := bounded(args[0]); err != nil {
		return err
	}
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON)
	if err != nil {
		return err
	}
	forks := (*int32)(unsafe.Pointer(&page[0]))
	var began, now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &began); err != nil {
		return err
	}
	// The children have none of Go's threads: system calls are all they can do.
	for now.Sec < began.Sec+30 {
		errno := unix.EAGAIN
		if atomic.AddInt32(forks, 1) < bombForks {
			_, _, errno = unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		}
		if errno != 0 {
			atomic.AddInt32(forks, -1)
			pause := unix.Timespec{Nsec: 50e6}
			unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&pause)), 0, 0)
		}
		unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&now)), 0)
	}
	unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	return nil
}

// bounded tells why this process is not in the group, or the group has no limit.
func bounded(group string) error {
	limit, err := readFile(group, "pids.max")
	if n, bad := strconv.Atoi(strings.TrimSpace(string(limit))); err != nil || bad != nil || n > bombLimit {
		return fmt.Errorf("%s: pids.max is %q: %w", group, limit, err)
	}
	pids, err := readFile("/proc/self", "cgroup")
	for line := range strings.Lines(string(pids)) {
		if strings.Contains(line, ":pids:") && strings.Contains(line, "/"+filepath.Base(group)) {
			return nil
		}
	}
	return fmt.Errorf("not in %s: %w", group, err)
}

// playEat uses so many bytes of memory.
func playEat(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	memory := make([]byte, n)
	for i := 0; i < n; i += 4096 {
		memory[i] = 1
	}
	fmt.Println("ate", len(memory))
	return nil
}

// self is the command line for a part.
func self(name string, args ...string) []string {
	return append([]string{"/proc/self/exe", part, name}, args...)
}

// testID is different for each test of each run of the tests.
func testID(t testing.TB) string {
	h := fnv.New64a()
	fmt.Fprintln(h, t.Name(), os.Getpid())
	return fmt.Sprintf("%016x", h.Sum64())
}

// thisMachineFor skips where the machine has no groups of that kind.
func thisMachineFor(t testing.TB, kind Kind) machine {
	t.Helper()
	m, err := thisMachine()
	if err != nil {
		t.Fatal(err)
	}
	m.hierarchies = slices.DeleteFunc(m.hierarchies, func(h hierarchy) bool { return h.v2 && kind == V1 })
	if got := open(Options{ID: testID(t)}, m); got.Kind() != kind {
		t.Skipf("this machine offers no %s: %s", kind, got)
	}
	return m
}

// newTree makes sure that nothing is left of the tree when the test is over.
func newTree(t testing.TB, m machine) *Tree {
	t.Helper()
	tree := open(Options{ID: testID(t)}, m)
	t.Cleanup(func() {
		leaves, err := tree.Leaves()
		if err != nil {
			t.Error(err)
		}
		for _, l := range leaves {
			end(t, l)
		}
		tree.Close()
		for _, h := range m.hierarchies {
			if left, err := tree.bases(h); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v (%v)", left, err)
			}
		}
	})
	return tree
}

// end leaves nothing of a run.
func end(t testing.TB, l *Leaf) {
	t.Helper()
	if err := l.Kill(); err != nil {
		t.Error(err)
	}
	awaitEmpty(t, l, 20*time.Second)
	if err := l.Remove(); err != nil {
		t.Error(err)
	}
}

func awaitEmpty(t testing.TB, l *Leaf, within time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if !l.AwaitEmpty(ctx.Done()) {
		pids, err := l.PIDs()
		t.Errorf("%s is not empty after %v: %v (%v)", l.Path(), within, pids, err)
	}
}

func makeLeaf(t testing.TB, tree *Tree, child string, want spec.Resources) *Leaf {
	t.Helper()
	l, warnings, err := tree.Make(child, 7, want)
	if err != nil || len(warnings) > 0 || l == nil {
		t.Fatalf("made %v, warnings %q, error %v", l, warnings, err)
	}
	return l
}

// start runs a command in a group, as the launch of a child does, and ends it
// with the test.
func start(t testing.TB, l *Leaf, command ...string) *exec.Cmd {
	t.Helper()
	whole := command
	if join := l.JoinFiles(); len(join) > 0 {
		whole = append(self("join", append(join, "--")...), command...)
	}
	cmd := exec.Command(whole[0], whole[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if fd := l.CloneFD(); fd >= 0 {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, fd
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	// What joins has threads. A v1 freezer that comes in the midst of its exec
	// freezes those that are to die before it, and so waits for it for ever.
	eventually(t, "it executes the command", func() bool {
		now, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", cmd.Process.Pid))
		return err != nil || len(now) == 0 || string(now) == strings.Join(command, "\x00")+"\x00"
	})
	return cmd
}

// eventually waits for what other processes do.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !wait(20*time.Second, ok) {
		t.Fatalf("%s: not within 20 s", what)
	}
}

// lives waits until so many processes are in the group.
func lives(t testing.TB, l *Leaf, n int) []int {
	t.Helper()
	var pids []int
	eventually(t, fmt.Sprintf("%d processes in %s", n, l.Path()), func() bool {
		var err error
		if pids, err = l.PIDs(); err != nil {
			t.Fatal(err)
		}
		return len(pids) == n
	})
	return pids
}

func exists(t testing.TB, path string) bool {
	t.Helper()
	_, err := os.Lstat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

// content is that of a file in a group.
func content(t testing.TB, dir, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}
