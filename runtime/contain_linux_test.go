package runtime

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kita/runtime/cgroup"
	"kita/runtime/exitlog"
	"kita/spec"
)

// hostWith makes a Host with an ID of its own, and closes it after the test.
func hostWith(t *testing.T, o Options) (*Host, facts) {
	t.Helper()
	if o.ID == "" {
		o.ID = newID(t)
	}
	f := make(facts, 64)
	h := New(f, o)
	h.retry = 10 * time.Millisecond
	t.Cleanup(h.Close)
	return h, f
}

func newID(t *testing.T) string {
	t.Helper()
	id := make([]byte, 6)
	rand.Read(id)
	return hex.EncodeToString(id)
}

// newTree makes the cgroups of an ID; the test is skipped where there are none.
func newTree(t *testing.T, id string) *cgroup.Tree {
	t.Helper()
	tree := cgroup.Open(cgroup.Options{ID: id})
	t.Cleanup(tree.Close)
	if tree.Kind() == cgroup.None {
		t.Skipf("needs cgroups: %v", tree)
	}
	return tree
}

// needLimits skips the test where the machine has no controller for a limit that a
// child asks for. Any other reason why one is not in force is a failure.
func needLimits(t *testing.T, l spec.Launch) {
	t.Helper()
	for _, w := range l.Warnings {
		if strings.Contains(w, "no ") && strings.Contains(w, " controller (") {
			t.Skip(w)
		}
		t.Error(w)
	}
}

// subreaper makes this process the one that orphans come to, as the keeper is.
func subreaper(t *testing.T) {
	t.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		pids, _ := childrenOf(os.Getpid())
		for _, pid := range pids {
			if st, err := readStat(pid); err == nil && st.state == 'Z' {
				reapPID(pid)
			}
		}
		unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	})
}

// escaping is a child that leaves behind, when told by its input file, a process
// that has left its group and session and was reparented. clear makes that one
// execute with an empty environment.
func escaping(t *testing.T, name string, clear bool) *spec.Child {
	t.Helper()
	env := ""
	if clear {
		env = "env -i"
	}
	c := shell(t, `setsid sh -c '`+env+` setsid sh -c "echo \$\$; exec sleep 600" & exit' & wait; exec sleep 600`)
	c.Name = name
	return c
}

// escapee is the PID that the escaping child's descendant wrote.
func escapee(t *testing.T, c *spec.Child) int {
	t.Helper()
	pids := numbers(t, awaitText(t, outPath(c), "\n"))
	if len(pids) != 1 {
		t.Fatalf("output %q", read(t, outPath(c)))
	}
	t.Cleanup(func() { unix.Kill(pids[0], unix.SIGKILL) })
	return pids[0]
}

func launched(t *testing.T, h *Host, c *spec.Child, incarnation uint64) spec.Launch {
	t.Helper()
	l, err := h.Start(c, incarnation)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Kill(-l.Identity.PID, unix.SIGKILL) })
	return l
}

func awaitDead(t *testing.T, pid int) {
	t.Helper()
	awaitThat(t, fmt.Sprintf("PID %d is dead", pid), func() (string, bool) {
		st, err := readStat(pid)
		return string(st.state), err != nil || st.dead()
	})
}

// A cgroup holds whatever a run does to hide.
func TestCgroupHoldsWhatEscapes(t *testing.T) {
	id := newID(t)
	tree := newTree(t, id)
	h, f := hostWith(t, Options{ID: id, Cgroups: tree})
	c := escaping(t, "web", true)
	l := launched(t, h, c, 1)
	hidden := escapee(t, c)
	both := []int{l.Identity.PID, hidden}
	slices.Sort(both)
	if got := h.Survivors("web", 1); !slices.Equal(got, both) {
		t.Errorf("survivors %v, want %v", got, both)
	}
	// TERM reaches the one outside the group too.
	if err := h.Signal("web", 1, spec.Signal(unix.SIGTERM)); err != nil {
		t.Fatal(err)
	}
	got := f.next(t)
	if want := exited(1, killedBy(unix.SIGTERM), got.empty); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if !got.empty && !f.next(t).emptied {
		t.Error("the run is not empty")
	}
	awaitDead(t, hidden)
	if leaves, err := tree.Leaves(); err != nil || len(leaves) > 0 {
		t.Errorf("%d cgroups are left (%v)", len(leaves), err)
	}
}

func TestKillReachesWhatIgnoresTERMOutsideTheGroup(t *testing.T) {
	id := newID(t)
	h, f := hostWith(t, Options{ID: id, Cgroups: newTree(t, id)})
	c := shell(t, `setsid sh -c 'trap "" TERM; echo $$; exec sleep 600' & exec sleep 600`)
	launched(t, h, c, 1)
	deaf := escapee(t, c)
	h.Signal("web", 1, spec.Signal(unix.SIGTERM))
	if got, want := f.next(t), exited(1, killedBy(unix.SIGTERM), false); got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	if got := h.Survivors("web", 1); !slices.Equal(got, []int{deaf}) {
		t.Errorf("survivors %v, want %d", got, deaf)
	}
	h.Signal("web", 1, spec.Signal(unix.SIGKILL))
	if got := f.next(t); !got.emptied {
		t.Errorf("got %+v", got)
	}
	awaitDead(t, deaf)
}

func TestOOMKillIsNamed(t *testing.T) {
	id := newID(t)
	h, f := hostWith(t, Options{ID: id, Cgroups: newTree(t, id)})
	c := shell(t, `exec python3 -c "x = b'x' * (256 << 20)"`)
	c.Resources = spec.Resources{Memory: 32 << 20, Tasks: 64}
	l := launched(t, h, c, 1)
	needLimits(t, l)
	want := killedBy(unix.SIGKILL)
	want.OOMKilled = true
	if got := f.next(t); got != exited(1, want, true) {
		t.Errorf("got %+v", got)
	}
}

func TestLimitsWithoutCgroupsAreToldToBeMissing(t *testing.T) {
	h, f := hostWith(t, Options{})
	c := child(t, "true")
	c.Resources = spec.Resources{Memory: 1 << 30}
	l := launched(t, h, c, 1)
	if len(l.Warnings) != 1 || !strings.Contains(l.Warnings[0], "not in force") {
		t.Errorf("warnings are %q", l.Warnings)
	}
	f.next(t)
}

// variants runs a test with cgroups and without.
func variants(t *testing.T, test func(t *testing.T, o Options)) {
	t.Run("cgroups", func(t *testing.T) {
		id := newID(t)
		test(t, Options{ID: id, Cgroups: newTree(t, id)})
	})
	t.Run("tokens", func(t *testing.T) {
		subreaper(t)
		test(t, Options{ID: newID(t), Keeper: os.Getpid()})
	})
}

func TestRunOfAFormerHostIsFound(t *testing.T) {
	variants(t, func(t *testing.T, o Options) {
		old, _ := hostWith(t, o)
		c := shell(t, `sleep 600 & setsid sleep 600 & echo $!; exec sleep 600`)
		l := launched(t, old, c, 7)
		escapee(t, c)
		old.Close()

		stranger, _ := hostWith(t, Options{Keeper: o.Keeper})
		if found, err := stranger.Found(); err != nil || len(found) > 0 {
			t.Errorf("a host with another ID found %+v (%v)", found, err)
		}
		h, f := hostWith(t, o)
		found, err := h.Found()
		if err != nil || len(found) != 1 {
			t.Fatalf("found %+v (%v)", found, err)
		}
		got := found[0]
		if got.Child != "web" || got.Launch.Identity != l.Identity || got.Launch.Cgroup != l.Cgroup || got.Exit != nil {
			t.Errorf("found %+v, launched was %+v", got, l)
		}
		if age := time.Since(got.StartedAt); age < 0 || age > patience {
			t.Errorf("it began %v ago", age)
		}
		if err := h.Adopt("web", got.Launch); err != nil {
			t.Fatal(err)
		}
		if found, err := h.Found(); err != nil || len(found) > 0 {
			t.Errorf("what is adopted was found: %+v (%v)", found, err)
		}
		h.Signal("web", 7, spec.Signal(unix.SIGKILL))
		end := f.next(t)
		if want := exited(7, killedBy(unix.SIGKILL), end.empty); end != want {
			t.Errorf("got %+v, want %+v", end, want)
		}
		if !end.empty && !f.next(t).emptied {
			t.Error("something is left")
		}
	})
}

func TestRestOfARunIsAdopted(t *testing.T) {
	t.Run("outside its group", func(t *testing.T) { adoptRest(t, "setsid sleep 600 & echo $!; exit 3") })
	t.Run("in its group", func(t *testing.T) { adoptRest(t, "sleep 600 & echo $!; exit 3") })
}

func adoptRest(t *testing.T, script string) {
	variants(t, func(t *testing.T, o Options) {
		old, f := hostWith(t, o)
		c := shell(t, script)
		l := launched(t, old, c, 2)
		rest := escapee(t, c)
		if got := f.next(t); got != exited(2, code(3), false) {
			t.Fatalf("got %+v", got)
		}
		old.Close()
		h, f := hostWith(t, o)
		if err := h.Adopt("web", l); !errors.Is(err, spec.ErrGone) {
			t.Fatalf("the leader was adopted: %v", err)
		}
		if err := h.AdoptRest("web", l); err != nil {
			t.Fatal(err)
		}
		if got := h.Survivors("web", 2); !slices.Equal(got, []int{rest}) {
			t.Errorf("survivors %v, want %d", got, rest)
		}
		h.Signal("web", 2, spec.Signal(unix.SIGTERM))
		if got := f.next(t); !got.emptied {
			t.Errorf("got %+v", got)
		}
		awaitDead(t, rest)
		if err := h.AdoptRest("web", l); !errors.Is(err, spec.ErrGone) {
			t.Errorf("nothing is left, and AdoptRest says %v", err)
		}
	})
}

// Without cgroups the tokens tell, and where they are gone, that no other run
// can have made it.
func TestOrphanOfTheOnlyRunIsItsOwn(t *testing.T) {
	for _, clear := range []bool{false, true} {
		t.Run("environment cleared "+strconv.FormatBool(clear), func(t *testing.T) {
			subreaper(t)
			h, f := hostWith(t, Options{Keeper: os.Getpid()})
			c := escaping(t, "web", clear)
			launched(t, h, c, 1)
			hidden := escapee(t, c)
			h.Signal("web", 1, spec.Signal(unix.SIGTERM))
			end := f.next(t)
			if !end.empty && !f.next(t).emptied {
				t.Error("something is left")
			}
			awaitDead(t, hidden)
		})
	}
}

func TestOrphanThatMayBeOfTwoRunsIsReported(t *testing.T) {
	subreaper(t)
	h, f := hostWith(t, Options{Keeper: os.Getpid()})
	other := child(t, "sleep", "600")
	other.Name = "db"
	launched(t, h, other, 4)
	c := escaping(t, "web", true)
	launched(t, h, c, 1)
	hidden := escapee(t, c)
	for _, name := range []string{"web", "db"} {
		incarnation := map[string]uint64{"web": 1, "db": 4}[name]
		h.Signal(name, incarnation, spec.Signal(unix.SIGTERM))
		if got, want := f.next(t), (fact{child: name, incarnation: incarnation, strays: fmt.Sprint([]int{hidden})}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if got := f.next(t); got.child != name || !got.empty {
			t.Errorf("got %+v", got)
		}
	}
	if err := unix.Kill(hidden, 0); err != nil {
		t.Errorf("what may be another's was killed: %v", err)
	}
	// One that begins later is none of theirs; times are told in ticks.
	since := ticksNow()
	awaitThat(t, "the next tick", func() (string, bool) { return "", ticksNow() > since })
	alone := escaping(t, "job", true)
	launched(t, h, alone, 1)
	own := escapee(t, alone)
	h.Signal("job", 1, spec.Signal(unix.SIGTERM))
	if end := f.next(t); end.strays != "" || !end.empty && !f.next(t).emptied {
		t.Errorf("got %+v", end)
	}
	awaitDead(t, own)
}

func TestEndIsRecordedBeforeItIsReaped(t *testing.T) {
	dir := t.TempDir()
	h, f := hostWith(t, Options{RunDir: dir})
	l := launched(t, h, child(t, "sh", "-c", "exit 9"), 5)
	if got := f.next(t); got != exited(5, code(9), true) {
		t.Fatalf("got %+v", got)
	}
	ends, err := h.Ended()
	if err != nil || len(ends) != 1 {
		t.Fatalf("on record is %+v (%v)", ends, err)
	}
	got := ends[0]
	id := got.Launch.Identity
	if got.Child != "web" || id.PID != l.Identity.PID || id.StartTicks != l.Identity.StartTicks || id.BootID != l.Identity.BootID ||
		id.Incarnation != 5 || got.Exit.Code != 9 || !got.Exit.Known || got.Exit.Incarnation != 5 {
		t.Errorf("on record is %+v %+v", got, got.Exit)
	}
	h.Close()
	next, _ := hostWith(t, Options{RunDir: dir})
	next.Tidy()
	if ends, err := next.Ended(); err != nil || len(ends) > 0 {
		t.Errorf("after Tidy on record is %+v (%v)", ends, err)
	}
}

func TestWhatCannotBeRecordedStaysAZombie(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	h, f := hostWith(t, Options{RunDir: dir})
	l := launched(t, h, child(t, "sh", "-c", "exit 9"), 5)
	if got := f.next(t); got != exited(5, code(9), true) {
		t.Fatalf("got %+v", got)
	}
	if st, err := readStat(l.Identity.PID); err != nil || st.state != 'Z' {
		t.Errorf("it is in state %c (%v)", st.state, err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	awaitThat(t, "the zombie is reaped", func() (string, bool) {
		err := unix.Kill(l.Identity.PID, 0)
		return fmt.Sprint(err), err == unix.ESRCH
	})
	if ends, err := h.Ended(); err != nil || len(ends) != 1 {
		t.Errorf("on record is %+v (%v)", ends, err)
	}
}

func TestTidyReapsAndRemovesWhatIsNobodys(t *testing.T) {
	id := newID(t)
	tree := newTree(t, id)
	if _, _, err := tree.Make("old", 3, spec.Resources{}); err != nil {
		t.Fatal(err)
	}
	leaves, err := tree.Leaves()
	if err != nil || len(leaves) != 1 {
		t.Fatalf("%d leaves (%v)", len(leaves), err)
	}
	leaves[0].Release()
	pid, err := syscall.ForkExec("/bin/true", []string{"true"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	awaitDead(t, pid)
	// Another server of the same ID, so that no leaf is just being launched.
	h, _ := hostWith(t, Options{ID: id, Cgroups: newTree(t, id)})
	h.Tidy()
	if err := unix.Kill(pid, 0); err != unix.ESRCH {
		t.Errorf("the zombie: %v", err)
	}
	if leaves, err := tree.Leaves(); err != nil || len(leaves) > 0 {
		t.Errorf("%d leaves are left (%v)", len(leaves), err)
	}
}

// Anybody can write a server's tokens into an environment.
func TestTokensOfAnotherUserAreNotBelieved(t *testing.T) {
	asRoot(t)
	h, _ := hostWith(t, Options{})
	fake := func(name string, cred *syscall.Credential) {
		t.Helper()
		pid, err := syscall.ForkExec("/bin/sleep", []string{"sleep", "600"}, &syscall.ProcAttr{
			Env: []string{"KITA_CHILD=" + name, "KITA_INCARNATION=3", "KITA_SERVER=" + h.id},
			Sys: &syscall.SysProcAttr{Setpgid: true, Credential: cred},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			unix.Kill(pid, unix.SIGKILL)
			syscall.Wait4(pid, nil, 0, nil)
		})
	}
	fake("own", nil)
	fake("strange", &syscall.Credential{Uid: 65534, Gid: 65534})
	found, err := h.Found()
	if err != nil || len(found) != 1 || found[0].Child != "own" {
		t.Errorf("found %+v (%v)", found, err)
	}
}

// As PID 1 of a container the keeper also gets the orphans of what is executed
// there from outside.
func TestPID1AttributesNothingByElimination(t *testing.T) {
	st := procStat{pid: -1, startTicks: 100}
	for _, keeper := range []int{1, 2} {
		told := New(make(facts), Options{Keeper: keeper})
		t.Cleanup(told.Close)
		h := &Host{keeper: keeper, strangers: told.strangers, began: 1, lives: []life{{run: run{"web", 1}, from: 50}}}
		p := &process{host: h, child: "web", id: spec.Identity{Incarnation: 1}}
		if got, want := p.isOnlyOwner(st), keeper != 1; got != want {
			t.Errorf("keeper %d: %v, want %v", keeper, got, want)
		}
	}
}

func TestExitOfARunThatIsGone(t *testing.T) {
	dir := t.TempDir()
	h, _ := hostWith(t, Options{RunDir: dir})
	boot, err := BootID()
	if err != nil {
		t.Fatal(err)
	}
	launch := func(pid int, ticks uint64) spec.Launch {
		return spec.Launch{Identity: spec.Identity{PID: pid, StartTicks: ticks, BootID: boot, Incarnation: 4}}
	}
	check := func(name string, l spec.Launch, want spec.Exit) {
		t.Helper()
		if err := h.Adopt("web", l); !errors.Is(err, spec.ErrGone) {
			t.Errorf("%s: adopted (%v)", name, err)
		}
		want.Incarnation = 4
		got := h.ExitOf(l)
		got.At = time.Time{}
		if got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
	const nobodys = 1 << 22 // beyond every PID
	w, err := exitlog.OpenWriter(dir, boot)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Append(exitlog.Record{PID: nobodys, StartTicks: 5, Boot: boot, Status: 7 << 8, At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	check("the keeper has recorded it", launch(nobodys, 5), code(7))
	check("another process of its PID is on record", launch(nobodys, 6), spec.Exit{})

	r, told, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer told.Close()
	id := playFormer(t, "start and reap when told", []string{"sleep", "600"}, r)
	if err := unix.Kill(id.PID, unix.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	awaitDead(t, id.PID)
	id.Incarnation = 4
	check("its parent has not reaped it", spec.Launch{Identity: id}, killedBy(unix.SIGUSR2))
	told.WriteString("\n")
}

func TestEndedWaitsForTheKeeper(t *testing.T) {
	dir := t.TempDir()
	h, _ := hostWith(t, Options{RunDir: dir, Keeper: os.Getpid()})
	h.patience = patience
	boot, err := BootID()
	if err != nil {
		t.Fatal(err)
	}
	// A child of the "keeper" that is dead and not buried yet.
	pid, err := syscall.ForkExec("/bin/true", []string{"true"}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Setpgid: true}})
	if err != nil {
		t.Fatal(err)
	}
	awaitDead(t, pid)
	st, err := readStat(pid)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan []spec.Found)
	go func() {
		found, err := h.Ended()
		if err != nil {
			t.Error(err)
		}
		ended <- found
	}()
	w, err := exitlog.OpenWriter(dir, boot)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Append(exitlog.Record{PID: pid, StartTicks: st.startTicks, Boot: boot, Child: "web", Incarnation: 2, At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	reapPID(pid)
	if found := <-ended; len(found) != 1 || found[0].Child != "web" || found[0].Launch.Identity.PID != pid {
		t.Errorf("on record is %+v", found)
	}
}

// useUpDescriptors leaves this process none until the returned function is called.
func useUpDescriptors(t *testing.T) (free func()) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	few := old
	few.Cur = 256
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	var fds []int
	for {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			break
		}
		fds = append(fds, fd)
	}
	return func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
		fds = nil
		unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
	}
}

// Found by a review: a look that fails was taken for one that finds nothing.
func TestWantOfDescriptorsDoesNotMakeARunEmpty(t *testing.T) {
	variants(t, func(t *testing.T, o Options) {
		h, f := hostWith(t, o)
		c := escaping(t, "web", false)
		l := launched(t, h, c, 1)
		hidden := escapee(t, c)
		free := useUpDescriptors(t)
		defer free()
		if err := unix.Kill(l.Identity.PID, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if got := f.next(t); got != exited(1, killedBy(unix.SIGKILL), false) {
			t.Errorf("got %+v", got)
		}
		free()
		h.Signal("web", 1, spec.Signal(unix.SIGKILL))
		if got := f.next(t); !got.emptied {
			t.Errorf("got %+v", got)
		}
		awaitDead(t, hidden)
	})
}

// Found by a review: where one run has no cgroup, an orphan out of another's was
// taken for its own.
func TestOrphanInACgroupIsOfThatRun(t *testing.T) {
	subreaper(t)
	id := newID(t)
	tree := newTree(t, id)
	h, f := hostWith(t, Options{ID: id, Cgroups: tree, Keeper: os.Getpid()})
	bare := child(t, "sleep", "600")
	bare.Name = "bare"
	h.cgroups = nil // as if none could be made for it
	launched(t, h, bare, 1)
	h.cgroups = tree
	since := ticksNow()
	awaitThat(t, "the next tick", func() (string, bool) { return "", ticksNow() > since })
	c := escaping(t, "web", true)
	launched(t, h, c, 1)
	hidden := escapee(t, c)
	if got := h.Survivors("bare", 1); slices.Contains(got, hidden) {
		t.Errorf("survivors of bare are %v", got)
	}
	h.Signal("bare", 1, spec.Signal(unix.SIGKILL))
	if got := f.next(t); got.child != "bare" || !got.empty {
		t.Errorf("got %+v", got)
	}
	if st, err := readStat(hidden); err != nil || st.dead() {
		t.Errorf("the orphan of web was killed with bare (%v)", err)
	}
	h.Signal("web", 1, spec.Signal(unix.SIGKILL))
	awaitDead(t, hidden)
}

// A program that forks for long enough gets its leader's number again.
func TestMemberWithTheNumberOfItsLeaderIsSeen(t *testing.T) {
	h, f := hostWith(t, Options{})
	l := launched(t, h, child(t, "sleep", "600"), 1)
	self, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{host: h, child: "web", id: l.Identity, reaped: true, seen: true, pidfd: pidfd{fd: int32(self), open: true}}
	defer p.pidfd.close()
	p.id.StartTicks-- // of a leader that had the number before
	found, err := p.escaped(true)
	if err != nil || len(found) != 1 || found[0].pid != l.Identity.PID {
		t.Errorf("found %+v (%v)", found, err)
	}
	p.id.StartTicks++
	if found, err := p.escaped(true); err != nil || len(found) != 0 {
		t.Errorf("the leader itself was taken for one that escaped: %+v (%v)", found, err)
	}
	h.Signal("web", 1, spec.Signal(unix.SIGKILL))
	f.next(t)
}
