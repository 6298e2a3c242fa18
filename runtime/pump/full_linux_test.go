package pump

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// frozen is a destination that takes some 64 KiB until it is read.
func frozen(t *testing.T) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "frozen")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

const manyLines = 200_000

// manyNumbers writes the numbers up to manyLines in lines of 100 bytes, more than
// can wait for a file.
var manyNumbers = fmt.Sprintf("seq -f %%099.0f 1 %d", manyLines)

func TestDropNeverBlocksTheProgram(t *testing.T) {
	c := testClient(t, t.TempDir())
	k := keyOf("web")
	dest := frozen(t)
	cmd := start(t, c, k, Stream{Dest: dest, Format: spec.Text, OnFull: spec.Drop}, manyNumbers)
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	lines, dropped := 0, 0
	last := 0
	in := bufio.NewScanner(dest)
	for lines+dropped < manyLines && in.Scan() {
		n := 0
		switch {
		case len(in.Text()) == 99:
			if _, err := fmt.Sscanf(in.Text(), "%d", &n); err != nil {
				t.Fatalf("%q: %v", in.Text(), err)
			}
			lines++
			last++
			if n != last {
				t.Fatalf("line %d is where %d should be", n, last)
			}
		default:
			if _, err := fmt.Sscanf(in.Text(), "kita: %d lines were dropped here", &n); err != nil {
				t.Fatalf("%q is no line: %v", in.Text(), err)
			}
			dropped += n
			last += n
		}
	}
	if lines+dropped != manyLines || dropped == 0 {
		t.Errorf("%d lines and %d dropped, want %d in all", lines, dropped, manyLines)
	}
}

func TestDropIsCounted(t *testing.T) {
	c := testClient(t, t.TempDir())
	k := keyOf("web")
	dest := frozen(t)
	cmd := start(t, c, k, Stream{Dest: dest, Format: spec.Text}, manyNumbers+"; exec sleep 600")
	eventually(t, "drops are told", func() bool { return c.Stats()[k].Dropped > 0 })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	go discardAll(dest)
	eventually(t, "the stream ends", func() bool { _, is := c.Stats()[k]; return !is })
}

func discardAll(f *os.File) {
	buf := make([]byte, 1<<20)
	for {
		if _, err := f.Read(buf); err != nil {
			return
		}
	}
}

func TestBlockKeepsEveryLine(t *testing.T) {
	c := testClient(t, t.TempDir())
	k := keyOf("web")
	dest := frozen(t)
	cmd := start(t, c, k, Stream{Dest: dest, Format: spec.Text, OnFull: spec.Block}, manyNumbers)
	in := bufio.NewScanner(dest)
	for want := 1; want <= manyLines; want++ {
		n := 0
		if !in.Scan() {
			t.Fatalf("only %d lines", want-1)
		}
		if _, err := fmt.Sscanf(in.Text(), "%d", &n); err != nil || n != want {
			t.Fatalf("line %d is %q", want, in.Text())
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

// fullDisk is a file system of 1 MiB with room for some KiB, until filler is
// removed.
func fullDisk(t *testing.T) (dir, filler string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount a file system")
	}
	dir = t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("needs to mount a file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	filler = filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 1<<20-8<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, filler
}

func TestFullDiskIsToldAndRecoversFrom(t *testing.T) {
	dir, filler := fullDisk(t)
	c := testClient(t, t.TempDir())
	k := keyOf("web")
	path := filepath.Join(dir, "out")
	cmd := start(t, c, k, Stream{Dest: destination(t, path), Format: spec.Text}, "seq -f %099.0f 1 2000")
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the fault is told", func() bool { return strings.Contains(c.Stats()[k].Fault, "no space left") })
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stream ends", func() bool { _, is := c.Stats()[k]; return !is })
	checkNumbers(t, path, 2000)
}

// checkNumbers sees that a file has the numbers up to n, as seq was told here.
func checkNumbers(t *testing.T, path string, n int) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(content(t, path)), "\n")
	if len(lines) != n {
		t.Fatalf("%d lines, want %d", len(lines), n)
	}
	for i, line := range lines {
		if want := fmt.Sprintf("%099d", i+1); line != want {
			t.Fatalf("line %d is %q", i+1, line)
		}
	}
}
