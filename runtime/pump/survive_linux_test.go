package pump

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// counting writes the numbers from 1 on, slowly enough to be killed beside it,
// and says through its exit whether every write went well. It stops at a file.
const counting = `i=0; while [ ! -e "$STOP" ]; do i=$((i+1)); echo $i || exit 9; done; echo end`

// counted is a child that counts.
type counted struct {
	key  Key
	path string
	fifo string
	stop string
	dest *os.File
	wait func() error
}

func startCounting(t *testing.T, c *Client, name string) *counted {
	t.Helper()
	dir := t.TempDir()
	n := &counted{key: keyOf(name), path: filepath.Join(dir, "out"), stop: filepath.Join(dir, "stop")}
	n.dest = destination(t, n.path)
	n.fifo = c.path(n.key)
	cmd := start(t, c, n.key, Stream{Dest: n.dest, Format: spec.Text}, "STOP="+n.stop+"; "+counting)
	n.wait = cmd.Wait
	return n
}

// grows waits until more has been written.
func (n *counted) grows(t *testing.T) {
	t.Helper()
	size := func() int64 {
		st, err := os.Stat(n.path)
		if err != nil {
			t.Fatal(err)
		}
		return st.Size()
	}
	before := size()
	eventually(t, "the file grows", func() bool { return size() > before+1000 })
}

// finish lets the child end, and returns what was written.
func (n *counted) finish(t *testing.T, c *Client) []string {
	t.Helper()
	if err := os.WriteFile(n.stop, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := n.wait(); err != nil {
		t.Errorf("the child: %v", err)
	}
	eventually(t, "the stream ends", func() bool { _, is := c.Stats()[n.key]; return !is })
	if _, err := os.Lstat(n.fifo); !os.IsNotExist(err) {
		t.Errorf("the FIFO is still there: %v", err)
	}
	return strings.Split(strings.TrimSuffix(content(t, n.path), "\n"), "\n")
}

// checkCount sees that no line is missing or twice, or that those are missing at
// one place only, since a pump that is killed loses what it had read.
func checkCount(t *testing.T, lines []string, gaps int) {
	t.Helper()
	if len(lines) < 2 || lines[len(lines)-1] != "end" {
		t.Fatalf("the last of %d lines is not the end, they go up to %q", len(lines), lines[max(0, len(lines)-5):])
	}
	told := len(lines)
	lines = slices.DeleteFunc(lines, func(line string) bool { return line == tornNote })
	if told -= len(lines); told < gaps {
		t.Errorf("the file tells of %d pumps that were killed, want %d", told, gaps)
	}
	next, found := 1, 0
	for i, line := range lines[:len(lines)-1] {
		got := 0
		if _, err := fmt.Sscanf(line, "%d", &got); err != nil && gaps == 0 {
			t.Fatalf("line %d is %q", i+1, line)
		}
		if got != next {
			found++
		}
		if found > 2*gaps {
			t.Fatalf("line %d is %q, want %d", i+1, line, next)
		}
		next = max(got, next) + 1
	}
}

func TestEveryLineIsThereWhenTheServerIsReplaced(t *testing.T) {
	dir := t.TempDir()
	first := testClient(t, dir)
	n := startCounting(t, first, "web")
	for range 5 {
		n.grows(t)
		pump := first.PID()
		first.Close()
		n.grows(t)
		next := testClient(t, dir)
		if err := next.Resume(); err != nil {
			t.Fatal(err)
		}
		if _, has := next.Stats()[n.key]; !has || next.PID() != pump {
			t.Fatalf("the new server finds %v in the pump %d, it was %d", next.Stats(), next.PID(), pump)
		}
		first = next
	}
	checkCount(t, n.finish(t, first), 0)
}

func TestChildGoesOnWhenThePumpIsKilled(t *testing.T) {
	c := testClient(t, t.TempDir())
	n := startCounting(t, c, "web")
	for range 3 {
		n.grows(t)
		killPump(t, c)
		n.grows(t)
	}
	checkCount(t, n.finish(t, c), 3)
}

func TestChildGoesOnWhenPumpAndServerAreGone(t *testing.T) {
	dir := t.TempDir()
	c := testClient(t, dir)
	n := startCounting(t, c, "web")
	n.grows(t)
	pump := c.PID()
	c.Close()
	kill(t, pump)
	eventually(t, "the pump is dead", func() bool { return c.PID() == 0 })
	next := testClient(t, dir)
	if err := next.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := next.Attach(n.key, Stream{FIFO: n.fifo, Dest: n.dest, Format: spec.Text}); err != nil {
		t.Fatal(err)
	}
	n.grows(t)
	checkCount(t, n.finish(t, next), 1)
}

// A pump that dies of SIGKILL is a child of the server, and no zombie for long.
func TestKilledPumpIsReaped(t *testing.T) {
	c := testClient(t, t.TempDir())
	n := startCounting(t, c, "web")
	pump := killPump(t, c)
	eventually(t, "it is reaped", func() bool { return errors.Is(unix.Kill(pump, 0), unix.ESRCH) })
	n.finish(t, c)
}

func killPump(t *testing.T, c *Client) int {
	t.Helper()
	pump := c.PID()
	kill(t, pump)
	eventually(t, "there is another pump", func() bool { now := c.PID(); return now != 0 && now != pump })
	return pump
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if pid == 0 {
		t.Fatal("there is no pump")
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsInTheFIFOOutlivesPumpAndProcess(t *testing.T) {
	c := testClient(t, t.TempDir())
	k := keyOf("web")
	path, goOn := filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "go")
	cmd := start(t, c, k, Stream{Dest: destination(t, path), Format: spec.Text},
		"while [ ! -e "+goOn+" ]; do sleep 0.01; done; echo last words")
	eventually(t, "the pump has it", func() bool { _, is := c.Stats()[k]; return is })
	// It cannot read.
	hung := stopPump(t, c)
	if err := os.WriteFile(goOn, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	kill(t, hung)
	eventually(t, "the stream ends", func() bool { _, is := c.Stats()[k]; return !is })
	if got := content(t, path); got != tornNote+"\nlast words\n" {
		t.Errorf("got %q", got)
	}
}

func TestStreamsOfDeadServersAreSweptAway(t *testing.T) {
	dir := t.TempDir()
	c := testClient(t, dir)
	stale, _, err := c.MakeFIFO(keyOf("stale"), -1, -1)
	if err != nil {
		t.Fatal(err)
	}
	live, _, err := c.MakeFIFO(keyOf("live"), -1, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(live)
	unix.Close(stale)
	c.Close()
	next := testClient(t, dir)
	if err := next.Resume(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Join(dir, dirName))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{"live.1.out"}; !slices.Equal(names, want) {
		t.Errorf("there are %q, want %q", names, want)
	}
	err = next.Attach(keyOf("stale"), Stream{FIFO: next.path(keyOf("stale")), Dest: os.Stdout, Format: spec.Text})
	if !errors.Is(err, ErrEnded) {
		t.Errorf("attached to what is gone: %v", err)
	}
}
