package pump

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kita/spec"
)

func TestStreamsThatShareAFileNeverMix(t *testing.T) {
	c := testClient(t, t.TempDir())
	path := filepath.Join(t.TempDir(), "out")
	var want []string
	for _, name := range []string{"one", "two", "three"} {
		// A descriptor each, as for different children.
		s := Stream{Dest: destination(t, path), Format: spec.Text, Prefix: true, OnFull: spec.Block}
		start(t, c, keyOf(name), s, "seq 1 50000")
		for i := range 50000 {
			want = append(want, fmt.Sprintf("%s out: %d", name, i+1))
		}
	}
	eventually(t, "the streams end", func() bool { return len(c.Stats()) == 0 })
	got := strings.Split(strings.TrimSuffix(content(t, path), "\n"), "\n")
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d lines, want %d, or they are mixed", len(got), len(want))
	}
}

// A prompt is seen, and what follows goes on in its line.
func TestUnfinishedLineIsWrittenAfterAWhile(t *testing.T) {
	tests := []struct {
		name          string
		how           Stream
		before, after string
	}{
		{"text", Stream{Format: spec.Text, Prefix: true}, "web out: name? ", "web out: name? joe\n"},
		{"json", Stream{Format: spec.JSON}, `{"line":"name? ","partial":true}` + "\n", `{"line":"name? ","partial":true}` + "\n" + `{"line":"joe"}` + "\n"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			c := testClient(t, t.TempDir())
			dir := t.TempDir()
			path, goOn := filepath.Join(dir, "out"), filepath.Join(dir, "go")
			s := tc.how
			s.Dest = destination(t, path)
			start(t, c, keyOf("web"), s, "printf 'name? '; while [ ! -e "+goOn+" ]; do sleep 0.01; done; echo joe")
			eventually(t, "the prompt is there", func() bool { return content(t, path) == tc.before })
			if err := os.WriteFile(goOn, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the stream ends", func() bool { return len(c.Stats()) == 0 })
			if got := content(t, path); got != tc.after {
				t.Errorf("got %q, want %q", got, tc.after)
			}
		})
	}
}

func TestLineOfAnotherStreamEndsAnUnfinishedOne(t *testing.T) {
	c := testClient(t, t.TempDir())
	dir := t.TempDir()
	path, goOn := filepath.Join(dir, "out"), filepath.Join(dir, "go")
	s := Stream{Dest: destination(t, path), Format: spec.Text, Prefix: true}
	start(t, c, keyOf("web"), s, "printf 'name? '; while [ ! -e "+goOn+" ]; do sleep 0.01; done; echo joe")
	eventually(t, "the prompt is there", func() bool { return content(t, path) == "web out: name? " })
	start(t, c, keyOf("db"), s, "echo hello")
	eventually(t, "the other ends", func() bool { return len(c.Stats()) == 1 })
	if err := os.WriteFile(goOn, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stream ends", func() bool { return len(c.Stats()) == 0 })
	if got, want := content(t, path), "web out: name? "+splitMark+"\ndb out: hello\nweb out: joe\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRedirectedStreamGoesOnInTheOtherFile(t *testing.T) {
	c := testClient(t, t.TempDir())
	dir := t.TempDir()
	k := keyOf("web")
	first, second, goOn := filepath.Join(dir, "first"), filepath.Join(dir, "second"), filepath.Join(dir, "go")
	start(t, c, k, Stream{Dest: destination(t, first), Format: spec.Text}, "echo one; while [ ! -e "+goOn+" ]; do sleep 0.01; done; echo two")
	eventually(t, "the line is there", func() bool { return content(t, first) == "one\n" })
	if err := c.Redirect(k, destination(t, second)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(goOn, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stream ends", func() bool { return len(c.Stats()) == 0 })
	if one, two := content(t, first), content(t, second); one != "one\n" || two != "two\n" {
		t.Errorf("got %q and %q", one, two)
	}
}

func TestDestinationIsExchangedAtALineEnd(t *testing.T) {
	c := testClient(t, t.TempDir())
	dir := t.TempDir()
	k := keyOf("web")
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	start(t, c, k, Stream{Dest: destination(t, first), Format: spec.Text, OnFull: spec.Block}, "seq 1 300000")
	eventually(t, "there are lines", func() bool { return len(content(t, first)) > 0 })
	for i := range 10 {
		if err := c.Redirect(k, destination(t, []string{second, first}[i%2])); err != nil {
			break // it has ended
		}
	}
	eventually(t, "the stream ends", func() bool { return len(c.Stats()) == 0 })
	var got []int
	for _, path := range []string{first, second} {
		for line := range strings.Lines(content(t, path)) {
			n := 0
			if _, err := fmt.Sscanf(line, "%d\n", &n); err != nil {
				t.Fatalf("%q is no line: %v", line, err)
			}
			got = append(got, n)
		}
	}
	slices.Sort(got)
	for i, n := range got {
		if n != i+1 {
			t.Fatalf("line %d is missing or twice", i+1)
		}
	}
	if len(got) != 300000 {
		t.Errorf("%d lines", len(got))
	}
}

func TestDrainWaitsForAllThatWasWritten(t *testing.T) {
	c := testClient(t, t.TempDir())
	path := filepath.Join(t.TempDir(), "out")
	k := keyOf("web")
	// Its child keeps the stream open.
	cmd := start(t, c, k, Stream{Dest: destination(t, path), Format: spec.Text}, "sleep 600 & echo $!; seq 1 10000; printf end")
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	c.drainFor(t, k)
	text := content(t, path)
	if !strings.HasSuffix(text, "\n10000\nend") {
		t.Errorf("the file ends with %q", text[max(0, len(text)-20):])
	}
	pid := 0
	if _, err := fmt.Sscanf(text, "%d\n", &pid); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func TestThousandStreamsCostLittle(t *testing.T) {
	c := testClient(t, t.TempDir())
	dir := t.TempDir()
	const streams = 1000
	raiseFiles(t, 5*streams)
	var fifos []*os.File
	for i := range streams {
		k := keyOf(fmt.Sprint("child", i))
		fd, path, err := c.MakeFIFO(k, -1, -1)
		if err != nil {
			t.Fatal(err)
		}
		fifo := os.NewFile(uintptr(fd), path)
		fifos = append(fifos, fifo)
		defer fifo.Close()
		dest := destination(t, filepath.Join(dir, k.String()))
		if err := c.Attach(k, Stream{FIFO: path, Dest: dest, Format: spec.Text, Prefix: true}); err != nil {
			t.Fatal(err)
		}
		dest.Close()
	}
	for range 20 {
		for _, f := range fifos {
			if _, err := f.WriteString("a line\n"); err != nil {
				t.Fatal(err)
			}
		}
	}
	status := procStatus(t, c.PID())
	if status["Threads"] > 64 {
		t.Errorf("%d threads", status["Threads"])
	}
	// The race detector takes several times as much.
	if status["VmRSS"] > 400<<10 {
		t.Errorf("%d KiB of memory", status["VmRSS"])
	}
	t.Logf("%d threads, %d KiB", status["Threads"], status["VmRSS"])
	for _, f := range fifos {
		f.Close()
	}
	eventually(t, "the streams end", func() bool { return len(c.Stats()) == 0 })
	for i := range streams {
		k := keyOf(fmt.Sprint("child", i))
		if got, want := content(t, filepath.Join(dir, k.String())), strings.Repeat(k.Child+" out: a line\n", 20); got != want {
			t.Fatalf("%v: got %q", k, got)
		}
	}
}

func raiseFiles(t *testing.T, n uint64) {
	t.Helper()
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil || l.Cur < n {
		t.Skipf("needs %d descriptors, there are %d", n, l.Cur)
	}
}

// procStatus has the numbers of /proc/PID/status.
func procStatus(t *testing.T, pid int) map[string]int {
	t.Helper()
	numbers := map[string]int{}
	for line := range strings.Lines(content(t, fmt.Sprintf("/proc/%d/status", pid))) {
		name, value, _ := strings.Cut(line, ":")
		n := 0
		if _, err := fmt.Sscan(value, &n); err == nil {
			numbers[name] = n
		}
	}
	return numbers
}
