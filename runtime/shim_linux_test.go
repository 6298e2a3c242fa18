package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// limitOf reads one line of a /proc/PID/limits: soft and hard.
func limitOf(t *testing.T, text, name string) (soft, hard string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			fields := strings.Fields(rest)
			return fields[0], fields[1]
		}
	}
	t.Fatalf("no %q in %s", name, text)
	return "", ""
}

func TestShimSetsWhatWasAsked(t *testing.T) {
	h, f := newHost(t)
	c := shell(t, `umask; echo nice $(ps -o ni= -p $$ 2>/dev/null || cut -d' ' -f19 /proc/$$/stat); cat /proc/$$/limits`)
	c.Umask, c.Nice = new(uint32(0o27)), new(7)
	c.Limits = []spec.Limit{
		{Name: "core", Soft: 0, Hard: 4096},
		{Name: "nofile", Soft: 77, Hard: 99},
		{Name: "stack", Soft: 1 << 20, Hard: spec.Unlimited},
	}
	got := outputOf(t, h, f, c)
	if !strings.HasPrefix(got, "0027\nnice 7\n") {
		t.Errorf("got %q", got[:min(40, len(got))])
	}
	for name, want := range map[string]string{
		"Max core file size": "0 4096",
		"Max open files":     "77 99",
		"Max stack size":     "1048576 unlimited",
	} {
		if soft, hard := limitOf(t, got, name); soft+" "+hard != want {
			t.Errorf("%s is %s %s, want %s", name, soft, hard, want)
		}
	}
}

func TestEveryLimitHasItsNumber(t *testing.T) {
	names := map[string]string{
		"as": "Max address space", "core": "Max core file size", "cpu_time": "Max cpu time", "data": "Max data size",
		"fsize": "Max file size", "locks": "Max file locks", "memlock": "Max locked memory",
		"msgqueue": "Max msgqueue size", "nice": "Max nice priority", "nofile": "Max open files",
		"nproc": "Max processes", "rss": "Max resident set", "rtprio": "Max realtime priority",
		"rttime": "Max realtime timeout", "sigpending": "Max pending signals", "stack": "Max stack size",
	}
	if len(names) != len(resources) {
		t.Errorf("%d names, %d resources", len(names), len(resources))
	}
	before := read(t, "/proc/self/limits")
	for name, line := range names {
		t.Run(name, func(t *testing.T) {
			var lim syscall.Rlimit
			if err := syscall.Getrlimit(resources[name], &lim); err != nil {
				t.Fatal(err)
			}
			text := func(v uint64) string {
				if v == spec.Unlimited {
					return "unlimited"
				}
				return strconv.FormatUint(v, 10)
			}
			if soft, hard := limitOf(t, before, line); soft != text(lim.Cur) || hard != text(lim.Max) {
				t.Errorf("%s is %s %s, but resource %d is %d %d", line, soft, hard, resources[name], lim.Cur, lim.Max)
			}
		})
	}
}

// Go raises its own soft limit of open files when it starts.
func TestOpenFilesLimitOfTheServerDoesNotReachChildren(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script := map[string]string{"direct": "run", "shim": "run nicely"}
	for name, part := range script {
		t.Run(name, func(t *testing.T) {
			h, f := newHost(t)
			// The helper is the server whose limit was 123.
			c := shell(t, `ulimit -S -n 123; exec "$EXE" cat /proc/self/limits`)
			c.Env = []spec.EnvVar{{Name: "EXE", Value: exe}, {Name: envHelper, Value: part}}
			if soft, _ := limitOf(t, outputOf(t, h, f, c), "Max open files"); soft != "123" {
				t.Errorf("the child's soft limit is %s", soft)
			}
		})
	}
}

func TestShimPassesEverythingOn(t *testing.T) {
	h, f := newHost(t)
	c := shell(t, "")
	odd := "not \xff UTF-8\n"
	// More than a pipe holds.
	long := strings.Repeat("x", 100_000)
	c.Command = []string{"sh", "-c", `printf '%s|' "$0" "$1" "$ODD" "${#2}" "$KITA_CHILD" "$KITA_INCARNATION" "$(pwd)"`, odd, "", long}
	c.Env = []spec.EnvVar{{Name: "ODD", Value: odd}}
	c.Nice = new(0)
	want := fmt.Sprintf("%s||%s|100000|web|1|%s|", odd, odd, c.Dir)
	if got := outputOf(t, h, f, c); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSmallMemoryLimitDoesNotBreakTheShim(t *testing.T) {
	h, f := newHost(t)
	c := shell(t, `ulimit -v; ulimit -d`)
	c.Limits = []spec.Limit{
		{Name: "as", Soft: 64 << 20, Hard: 64 << 20},
		{Name: "data", Soft: 32 << 20, Hard: 32 << 20},
	}
	if got := outputOf(t, h, f, c); got != "65536\n32768\n" {
		t.Errorf("got %q", got)
	}
}

// A limit that leaves the Go runtime no byte: a shim that asks for one dies, and
// its death would pass for the command's.
func TestTinyMemoryLimitDoesNotBreakTheShim(t *testing.T) {
	h, f := newHost(t)
	c := shell(t, `ulimit -v`)
	notFormat := filepath.Join(c.Dir, "not-a-program")
	if err := os.WriteFile(notFormat, []byte("\x00"), 0o755); err != nil {
		t.Fatal(err)
	}
	arguments := slices.Repeat([]string{strings.Repeat("x", 1000)}, 1500)
	// With some of these numbers the runtime has no room left for another copy.
	for n := 100; n <= len(arguments); n += 100 {
		c := *c
		c.Limits = []spec.Limit{{Name: "as", Soft: 8 << 20, Hard: 8 << 20}, {Name: "data", Soft: 4096, Hard: 4096}}
		c.Command = append([]string{notFormat}, arguments[:n]...)
		if _, err := h.Start(&c, uint64(n)); !errors.Is(err, unix.ENOEXEC) {
			t.Fatalf("%d arguments: got %v, want %v", n, err, unix.ENOEXEC)
		}
	}
	c.Command = append(c.Command, arguments...)
	c.Limits = []spec.Limit{{Name: "as", Soft: 16 << 20, Hard: 16 << 20}}
	if got := outputOf(t, h, f, c); got != "16384\n" {
		t.Errorf("got %q", got)
	}
}

// What keeps the Go runtime of the shim quiet is not for the command, which may
// be a Go program; the same names in its own environment are.
func TestTheShimsRuntimeIsNoMatterOfTheCommand(t *testing.T) {
	t.Setenv("GODEBUG", "inherited=1")
	h, f := newHost(t)
	c := shell(t, "env")
	c.Nice = new(1)
	c.Env = []spec.EnvVar{{Name: "GOGC", Value: "77"}, {Name: "GOMAXPROCS", Value: "3"}}
	lines := strings.Split(outputOf(t, h, f, c), "\n")
	for _, want := range []string{"GOGC=77", "GOMAXPROCS=3", "GODEBUG=inherited=1"} {
		if !slices.Contains(lines, want) {
			t.Errorf("no %s in %q", want, lines)
		}
	}
	for _, entry := range quietRuntime {
		if slices.Contains(lines, entry) {
			t.Errorf("the command has %s", entry)
		}
	}
	want := append(slices.Clone(quietRuntime), envChild+"=web", envServer+"=/run")
	if got := shimEnv([]string{"GOGC=77", envChild + "=web", "X=1", envServer + "=/run"}); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSmallProcessLimitDoesNotBreakTheShim(t *testing.T) {
	asRoot(t)
	h, f := newHost(t)
	c := shell(t, `ulimit -a | grep -i process`)
	c.Command = []string{"cat", "/proc/self/limits"}
	open(t, c.Dir)
	// No other test's process runs as this user.
	c.User = "54322"
	c.Limits = []spec.Limit{{Name: "nproc", Soft: 1, Hard: 1}}
	if soft, _ := limitOf(t, outputOf(t, h, f, c), "Max processes"); soft != "1" {
		t.Errorf("soft limit %s", soft)
	}
}

func TestShimNeedsMain(t *testing.T) {
	hasMain.Store(false)
	defer hasMain.Store(true)
	h, _ := newHost(t)
	c := child(t, "true")
	c.Nice = new(1)
	if _, err := h.Start(c, 1); err == nil || !strings.Contains(err.Error(), "runtime.Main") {
		t.Errorf("got %v", err)
	}
}

func TestShimThatDiesIsNoStart(t *testing.T) {
	h, _ := newHost(t)
	c := child(t, "true")
	o, err := h.prepare(c, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer o.streams.close()
	for _, answer := range []string{"", "\x01"} {
		reportW, reportR, err := shimPipe(0)
		if err != nil {
			t.Fatal(err)
		}
		planR, planW, err := shimPipe(1)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(planR)
		if _, err := unix.Write(reportW, []byte(answer)); err != nil {
			t.Fatal(err)
		}
		unix.Close(reportW)
		err = o.converse(planW, reportR, []byte("{}"), c)
		if !errors.Is(err, unix.EPIPE) || !strings.Contains(err.Error(), "the shim died") {
			t.Errorf("answer %q: %v", answer, err)
		}
		reportR.Close()
	}
}
