package output

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// managerPatience is how long anything may take on a busy machine.
const managerPatience = 60 * time.Second

// newManager makes a Manager that the end of the test closes. Faults come in
// the channel, one joined line for each change.
func newManager(t *testing.T, change func(*Options)) (*Manager, chan string) {
	t.Helper()
	told := make(chan string, 1000)
	o := Options{
		StateDir: t.TempDir(),
		Logger:   slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
		Fault: func(child string, incarnation uint64, lines []string) {
			told <- fmt.Sprintf("%s %d: %s", child, incarnation, strings.Join(lines, "\n"))
		},
	}
	if change != nil {
		change(&o)
	}
	m, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m, told
}

// childTo is a child named web with both streams to a file.
func childTo(path string, mode spec.OpenMode, rotate *spec.Rotate) *spec.Child {
	s := &spec.Stream{Path: path, Mode: mode, Rotate: rotate}
	return &spec.Child{Name: "web", Stdout: s, Stderr: s}
}

// running is a process whose standard output the Manager looks after.
type running struct {
	cmd         *exec.Cmd
	in          io.WriteCloser
	outs        []spec.Output
	incarnation uint64
}

// launch starts cat as a run of c: what is written to it, it writes to its file.
func launch(t *testing.T, m *Manager, c *spec.Child, incarnation uint64) *running {
	t.Helper()
	p, err := m.Prepare(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	r := &running{cmd: exec.Command("cat"), outs: p.Outputs(), incarnation: incarnation}
	r.cmd.Stdout = os.NewFile(uintptr(dup(t, p.FD(spec.Out))), "out")
	defer r.cmd.Stdout.(*os.File).Close()
	if r.in, err = r.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m.Attach(c.Name, r.identity(), c, r.outs)
	t.Cleanup(func() { r.end(t) })
	return r
}

func (r *running) identity() spec.Identity {
	return spec.Identity{PID: r.cmd.Process.Pid, Incarnation: r.incarnation}
}

func (r *running) write(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(r.in, text); err != nil {
		t.Fatal(err)
	}
}

// end lets the process end; the second time it does nothing.
func (r *running) end(t *testing.T) {
	t.Helper()
	if r.cmd.ProcessState != nil {
		return
	}
	r.in.Close()
	if err := r.cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// content is all that can be read of a file.
func content(t *testing.T, f *File) string {
	t.Helper()
	oldest, _ := f.Bounds()
	r, err := f.Open(oldest)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// theFile is the only output file of web.
func theFile(t *testing.T, m *Manager, c *spec.Child) *File {
	t.Helper()
	files := m.Files("web", c)
	if len(files) != 1 {
		t.Fatalf("%d files", len(files))
	}
	return files[0].File
}

func awaitThat(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(managerPatience)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not yet", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// awaitFault waits until what is told about web begins and ends so.
func awaitFault(t *testing.T, told chan string, want string) {
	t.Helper()
	deadline := time.After(managerPatience)
	var last string
	for {
		select {
		case last = <-told:
			if want == "" && strings.HasSuffix(last, ": ") || want != "" && strings.Contains(last, want) {
				return
			}
		case <-deadline:
			t.Fatalf("told last %q, want %q", last, want)
		}
	}
}

func TestFileIsRotatedWhileItIsWritten(t *testing.T) {
	m, _ := newManager(t, nil)
	path := filepath.Join(t.TempDir(), "logs", "web.log")
	c := childTo(path, spec.Append, &spec.Rotate{Size: 4096, Keep: 100, Compress: spec.Zstd})
	r := launch(t, m, c, 1)
	var want strings.Builder
	for i := range 2000 {
		line := fmt.Sprintf("line %d\n", i)
		want.WriteString(line)
		r.write(t, line)
	}
	f := theFile(t, m, c)
	awaitThat(t, "rotations", func() bool { return len(f.Segments()) > 3 })
	r.end(t)
	if got := content(t, f); got != want.String() {
		t.Errorf("%d bytes are there of %d", len(got), want.Len())
	}
}

func TestIdleFileCostsNothing(t *testing.T) {
	m, _ := newManager(t, nil)
	dir := t.TempDir()
	c := childTo(filepath.Join(dir, "web.log"), spec.Append, &spec.Rotate{Size: 1 << 20, Keep: 1})
	r := launch(t, m, c, 1)
	r.write(t, "hello\n")
	f := theFile(t, m, c)
	e := m.entry(f.Path(), nil)
	awaitThat(t, "idle", func() bool {
		m.watch.mu.Lock()
		defer m.watch.mu.Unlock()
		_, end := f.Bounds()
		return end == 6 && e.look.idle() && !e.look.looking && e.look.index == 0 && e.look.watch != 0
	})
	// Somebody hears of the first write after that.
	woken := make(chan struct{}, 100)
	defer f.Subscribe(func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	})()
	r.write(t, "again\n")
	awaitThat(t, "told of growth", func() bool {
		<-woken
		_, end := f.Bounds()
		return end == 12
	})
}

// dup is a descriptor that the caller closes.
func dup(t *testing.T, fd int) int {
	t.Helper()
	other, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return other
}
