package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"kita/spec"
)

// patience is how long a fact may take on a busy machine.
const patience = 60 * time.Second

// began is when the tests did.
var began = time.Now()

// envHelper names the part that the test binary plays when a test executes it.
const envHelper = "KITA_RUNTIME_TEST"

func TestMain(m *testing.M) {
	Main()
	if part := os.Getenv(envHelper); part != "" {
		os.Exit(helper(part, os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}

// fact is one call of the Sink.
type fact struct {
	child       string
	incarnation uint64
	exit        spec.Exit
	empty       bool
	emptied     bool
	strays      string // as fmt.Sprint writes their PIDs
	last        string // the last lines, with the stream before them
	fault       string // the lines of an output fault
	faulty      bool   // it is about output faults
}

// facts is a Sink that keeps what it is told.
type facts chan fact

func (f facts) Exited(child string, incarnation uint64, exit spec.Exit, empty bool) {
	f <- fact{child: child, incarnation: incarnation, exit: exit, empty: empty}
}

func (f facts) Emptied(child string, incarnation uint64) {
	f <- fact{child: child, incarnation: incarnation, emptied: true}
}

func (f facts) Strayed(child string, incarnation uint64, pids []int, _ bool) {
	f <- fact{child: child, incarnation: incarnation, strays: fmt.Sprint(pids)}
}

func (f facts) Wrote(child string, last spec.LastLines) {
	f <- fact{child: child, incarnation: last.Incarnation, last: string(last.Stream) + ": " + strings.Join(last.Lines, "|")}
}

func (f facts) OutputFault(child string, incarnation uint64, lines []string) {
	f <- fact{child: child, incarnation: incarnation, fault: strings.Join(lines, "\n"), faulty: true}
}

// isExit tells whether the leader's end is meant.
func (f fact) isExit() bool { return !f.emptied && f.strays == "" && f.last == "" && !f.faulty }

// next waits for a fact and takes the time out of it.
func (f facts) next(t testing.TB) fact {
	t.Helper()
	select {
	case got := <-f:
		if got.isExit() && (got.exit.At.Before(began) || got.exit.At.After(time.Now())) {
			t.Errorf("the exit says it happened at %v", got.exit.At)
		}
		got.exit.At = time.Time{}
		return got
	case <-time.After(patience):
		t.Fatal("no fact came")
		return fact{}
	}
}

// exited is the fact of a leader's exit.
func exited(incarnation uint64, e spec.Exit, empty bool) fact {
	e.Incarnation = incarnation
	return fact{child: "web", incarnation: incarnation, exit: e, empty: empty}
}

func code(n int) spec.Exit { return spec.Exit{Known: true, Code: n} }

func killedBy(sig unix.Signal) spec.Exit { return spec.Exit{Known: true, Signal: spec.Signal(sig)} }

// newHost makes a Host that the end of the test closes.
func newHost(t testing.TB) (*Host, facts) {
	t.Helper()
	f := make(facts, 4096)
	h := New(f, Options{})
	h.retry = 10 * time.Millisecond
	t.Cleanup(h.Close)
	return h, f
}

// child makes a child named web.
func child(t testing.TB, command ...string) *spec.Child {
	t.Helper()
	dir := t.TempDir()
	return &spec.Child{Name: "web", File: filepath.Join(dir, "web.yml"), Dir: dir, Command: command}
}

// shell makes a child that runs a script; its output goes to the file out in
// its directory.
func shell(t testing.TB, script string) *spec.Child {
	t.Helper()
	c := child(t, "sh", "-c", script)
	out := &spec.Stream{Path: outPath(c), Mode: spec.Append}
	c.Stdout, c.Stderr = out, out
	return c
}

func outPath(c *spec.Child) string { return filepath.Join(c.Dir, "out") }

// start starts c as incarnation 1, and kills what is left of it after the test.
func start(t testing.TB, h *Host, c *spec.Child) spec.Identity {
	t.Helper()
	l, err := h.Start(c, 1)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(func() { h.Signal(c.Name, 1, spec.Signal(unix.SIGKILL)) })
	return l.Identity
}

// outputOf runs c to its end and returns what it wrote.
func outputOf(t testing.TB, h *Host, f facts, c *spec.Child) string {
	t.Helper()
	start(t, h, c)
	if got, want := f.next(t), exited(1, code(0), true); got != want {
		t.Errorf("got %+v, want %+v; output %q", got, want, read(t, outPath(c)))
	}
	return read(t, outPath(c))
}

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// awaitText waits until a process has written want to a file, a whole line.
func awaitText(t testing.TB, path, want string) string {
	t.Helper()
	return awaitThat(t, fmt.Sprintf("%s holds %q", path, want), func() (string, bool) {
		text, _ := os.ReadFile(path)
		return string(text), strings.Contains(string(text), want) && strings.HasSuffix(string(text), "\n")
	})
}

// awaitThat polls for what no descriptor tells.
func awaitThat(t testing.TB, what string, is func() (string, bool)) string {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		state, ok := is()
		if ok {
			return state
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not yet, %s", what, state)
		}
	}
}

func awaitStopped(t testing.TB, pid int) {
	t.Helper()
	awaitThat(t, "stopped", func() (string, bool) {
		st, err := readStat(pid)
		return string(st.state), err == nil && st.state == 'T'
	})
}

func descriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func threads(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestExitIsToldAsItWas(t *testing.T) {
	tests := []struct {
		name   string
		script string
		want   spec.Exit
	}{
		{"success", "exit 0", code(0)},
		{"one", "exit 1", code(1)},
		{"two", "exit 2", code(2)},
		{"126", "exit 126", code(126)},
		{"127", "exit 127", code(127)},
		{"128", "exit 128", code(128)},
		{"143 is no signal", "exit 143", code(143)},
		{"the last", "exit 255", code(255)},
		{"TERM", "kill -TERM $$", killedBy(unix.SIGTERM)},
		{"KILL", "kill -KILL $$", killedBy(unix.SIGKILL)},
		{"HUP", "kill -HUP $$", killedBy(unix.SIGHUP)},
		{"PIPE", "kill -PIPE $$", killedBy(unix.SIGPIPE)},
		{"a real-time signal", "kill -40 $$", killedBy(40)},
		{"ABRT without a core", "ulimit -c 0; kill -ABRT $$", killedBy(unix.SIGABRT)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, f := newHost(t)
			start(t, h, child(t, "sh", "-c", tt.script))
			if got, want := f.next(t), exited(1, tt.want, true); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestCoreDumpIsTold(t *testing.T) {
	if pattern := read(t, "/proc/sys/kernel/core_pattern"); strings.ContainsAny(pattern, "|/") {
		t.Skipf("core dumps go to %s", pattern)
	}
	h, f := newHost(t)
	c := child(t, "sh", "-c", "kill -QUIT $$")
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &lim); err != nil {
		t.Fatal(err)
	}
	if lim.Max == 0 {
		t.Skip("the hard limit of core dumps is 0")
	}
	c.Limits = []spec.Limit{{Name: "core", Soft: lim.Max, Hard: lim.Max}}
	start(t, h, c)
	want := killedBy(unix.SIGQUIT)
	want.CoreDumped = true
	if got := f.next(t); got != exited(1, want, true) {
		t.Errorf("got %+v, want a core dump", got)
	}
}

func TestIdentityIsThatOfTheProcess(t *testing.T) {
	h, f := newHost(t)
	id := start(t, h, child(t, "sleep", "600"))
	fd, err := unix.PidfdOpen(id.PID, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	boot, err := BootID()
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(read(t, fmt.Sprintf("/proc/%d/stat", id.PID)))
	ticks, err := strconv.ParseUint(fields[21], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	want := spec.Identity{PID: id.PID, Inode: pidfdInode(fd), StartTicks: ticks, BootID: boot, Incarnation: 1}
	if id != want {
		t.Errorf("got %+v, want %+v", id, want)
	}
	if group, err := unix.Getpgid(id.PID); err != nil || group != id.PID {
		t.Errorf("process group %d, %v; want the PID %d", group, err, id.PID)
	}
	if err := h.Signal("web", 1, spec.Signal(unix.SIGTERM)); err != nil {
		t.Error(err)
	}
	if got, want := f.next(t), exited(1, killedBy(unix.SIGTERM), true); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestOneIncarnationIsStartedOnce(t *testing.T) {
	h, f := newHost(t)
	c := child(t, "sleep", "600")
	start(t, h, c)
	if _, err := h.Start(c, 1); err == nil || err.Error() != "web, incarnation 1 is watched already" {
		t.Errorf("second start: %v", err)
	}
	if err := h.Signal("web", 1, spec.Signal(unix.SIGKILL)); err != nil {
		t.Error(err)
	}
	f.next(t)
	if err := h.Signal("web", 1, spec.Signal(unix.SIGKILL)); err != nil {
		t.Errorf("signal after the end: %v", err)
	}
	if pids := h.Survivors("web", 1); len(pids) != 0 {
		t.Errorf("survivors after the end: %v", pids)
	}
	if _, err := h.Start(c, 1); err != nil {
		t.Errorf("start after the end: %v", err)
	}
	h.Signal("web", 1, spec.Signal(unix.SIGKILL))
	f.next(t)
}

func TestCloseLeavesProcessesRunning(t *testing.T) {
	f := make(facts, 10)
	h := New(f, Options{})
	l, err := h.Start(child(t, "sleep", "600"), 1)
	if err != nil {
		t.Fatal(err)
	}
	h.Close()
	if err := unix.Kill(l.Identity.PID, 0); err != nil {
		t.Errorf("the process after Close: %v", err)
	}
	if _, err := h.Start(child(t, "true"), 2); err == nil {
		t.Error("a closed host starts a process")
	}
	if err := unix.Kill(l.Identity.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(l.Identity.PID, &ws, 0, nil); err != nil {
		t.Errorf("the process is not left to us: %v", err)
	}
	if len(f) > 0 {
		t.Errorf("a fact after Close: %+v", <-f)
	}
}

func TestManyQuickChildrenKeepTheirExits(t *testing.T) {
	const children, atOnce = 1000, 50
	h, f := newHost(t)
	c := child(t, "sh", "-c", `exit $((KITA_INCARNATION % 256))`)
	slots := make(chan struct{}, atOnce)
	failed := make(chan error, children)
	for n := range uint64(children) {
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			if _, err := h.Start(c, n+1); err != nil {
				failed <- err
			}
		}()
	}
	got := map[uint64]int{}
	for len(got) < children {
		select {
		case err := <-failed:
			t.Fatal(err)
		case fact := <-f:
			if _, twice := got[fact.incarnation]; twice || !fact.empty || !fact.exit.Known {
				t.Fatalf("unexpected fact %+v", fact)
			}
			got[fact.incarnation] = fact.exit.Code
		case <-time.After(patience):
			t.Fatalf("only %d facts came", len(got))
		}
	}
	for n, exit := range got {
		if exit != int(n%256) {
			t.Errorf("incarnation %d: exit %d", n, exit)
		}
	}
}

func TestStartAndExitLeakNothing(t *testing.T) {
	h, f := newHost(t)
	c := child(t, "true")
	cycle := func(n uint64) {
		if _, err := h.Start(c, n); err != nil {
			t.Fatal(err)
		}
		f.next(t)
	}
	cycle(1)
	before := descriptors(t)
	for n := range uint64(500) {
		cycle(n + 2)
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors, before it were %d", after, before)
	}
	h.Close()
	if len(h.processes) != 0 {
		t.Errorf("remembers %v", h.processes)
	}
	// goleak in TestMain looks for goroutines.
}

func TestChildrenCostNoThreads(t *testing.T) {
	const children = 300
	h, f := newHost(t)
	c := child(t, "sleep", "600")
	before := threads(t)
	pids := map[int]bool{}
	for n := range uint64(children) {
		l, err := h.Start(c, n+1)
		if err != nil {
			t.Fatal(err)
		}
		pids[l.Identity.PID] = true
	}
	if grown := threads(t) - before; grown >= 40 {
		t.Errorf("%d children cost %d threads", children, grown)
	}
	for n := range uint64(children) {
		if err := h.Signal("web", n+1, spec.Signal(unix.SIGKILL)); err != nil {
			t.Error(err)
		}
	}
	var seen []uint64
	for range children {
		seen = append(seen, f.next(t).incarnation)
	}
	slices.Sort(seen)
	if len(slices.Compact(seen)) != children {
		t.Errorf("facts of %v", seen)
	}
}

func BenchmarkStartExit(b *testing.B) {
	h, f := newHost(b)
	c := child(b, "true")
	n := uint64(0)
	for b.Loop() {
		n++
		if _, err := h.Start(c, n); err != nil {
			b.Fatal(err)
		}
		<-f
	}
}
