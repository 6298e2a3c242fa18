package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"kita/spec"
)

// faultyOutput is a server with one child "w", a scribe, whose output something
// happens to.
type faultyOutput struct {
	*instance
	// root is where the paths of the server begin, as the test sees them.
	root string
	logs string
	pid  int
}

// newFaultyOutput starts the scribe, which writes about 100 lines of 50 bytes a
// 10 ms into logs/w.log. wrap is what kita is started by, nil for nothing.
func newFaultyOutput(t *testing.T, dir string, wrap []string, child, output string) *faultyOutput {
	t.Helper()
	program, err := scribe()
	if err != nil {
		t.Fatal(err)
	}
	f := &faultyOutput{}
	args := append(wrap, filepath.Join(world.bin, "kita"), "serve", "server.yml")
	f.logs = filepath.Join(dir, "logs")
	f.instance = newServerIn(t, dir, args, "", map[string]string{"w": fmt.Sprintf(
		"command: [%s, -lines, 1, -until, %s, -pace, 10ms, -batch, 100]\n%soutput: [{stdout: %s, mode: append, %s}]\n",
		program, filepath.Join(dir, "done"), child, filepath.Join(f.logs, "w.log"), output)})
	f.root = fmt.Sprintf("/proc/%d/root", f.server())
	f.run(t, 0, "kita", "start", "w")
	f.pid = f.view(t).Status.Process.PID
	return f
}

func testDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(world.root, "f")
	if err == nil {
		err = os.Chmod(dir, 0o755) // also for a child of another user
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func (f *faultyOutput) view(t *testing.T) spec.View {
	t.Helper()
	v, err := f.await("w", func(v spec.View) bool { return v.Status.Process != nil })
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// warns waits until the status warns with the words, or of nothing where there
// are none; the process is the one from the beginning.
func (f *faultyOutput) warns(t *testing.T, words string) {
	t.Helper()
	v, err := f.await("w", func(v spec.View) bool {
		all := strings.Join(v.Status.Warnings, "\n")
		return words == "" && all == "" || words != "" && strings.Contains(all, words)
	})
	if err != nil {
		t.Fatalf("want a warning %q: %v, %q", words, err, v.Status.Warnings)
	}
	if v.Status.Process == nil || v.Status.Process.PID != f.pid {
		t.Fatalf("the process is another one: %s", describe(v))
	}
}

// grows waits until more has been written than there was.
func (f *faultyOutput) grows(t *testing.T, by uint64) {
	t.Helper()
	want := f.output(t, "w").Written + by
	eventually(t, fmt.Sprintf("%d bytes are written", want), func() bool { return f.output(t, "w").Written >= want })
}

// rotates waits for another archive.
func (f *faultyOutput) rotates(t *testing.T) {
	t.Helper()
	want := f.output(t, "w").Rotations + 1
	eventually(t, "a rotation", func() bool { return f.output(t, "w").Rotations >= want })
}

// finish lets the scribe end and looks at all that it wrote.
func (f *faultyOutput) finish(t *testing.T) {
	t.Helper()
	f.end(t)
	if count := f.readBack(t, "w"); count == 0 {
		t.Error("no lines")
	}
}

// end has the scribe write its last line.
func (f *faultyOutput) end(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(f.path("done"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := f.await("w", func(v spec.View) bool { return v.Status.Phase == spec.PhaseExited }); err != nil {
		t.Fatal(err)
	}
}

const smallRotation = "rotate: {size: 64KiB, keep: 10000}"

// inTmpfs starts the server with a small file system at logs, in mounts of its
// own.
func inTmpfs(dir, size string) []string {
	return []string{"unshare", "--mount", "--propagation", "private", "sh", "-c",
		fmt.Sprintf(`mkdir -p "$0/logs" && mount -t tmpfs -o size=%s tmpfs "$0/logs" && exec "$@"`, size), dir}
}

func TestFullDiskUnderOutput(t *testing.T) {
	t.Parallel()
	needSandbox(t)
	for name, output := range map[string]string{
		"direct": smallRotation,
		"block":  smallRotation + ", format: text, on_full: block",
	} {
		t.Run(name, func(t *testing.T) {
			dir := testDir(t)
			f := newFaultyOutput(t, dir, inTmpfs(dir, "16m"), "", output)
			f.rotates(t)
			free := f.fill(t)
			f.warns(t, "no space left on device")
			<-time.After(scale(t).full)
			f.warns(t, "no space left on device")
			free()
			f.warns(t, "")
			f.grows(t, 100<<10)
			f.rotates(t)
			f.finish(t)
		})
	}
	t.Run("drop", func(t *testing.T) {
		dir := testDir(t)
		f := newFaultyOutput(t, dir, inTmpfs(dir, "16m"), "", smallRotation+", format: text")
		f.rotates(t)
		free := f.fill(t)
		f.warns(t, "/logs/w.log: no space left on device")
		eventually(t, "lines are dropped", func() bool { return f.output(t, "w").Dropped > 0 })
		free()
		f.warns(t, "")
		f.grows(t, 100<<10)
		f.end(t)
		dropped := f.output(t, "w").Dropped
		out, _ := f.run(t, 0, "kita", "logs", "w")
		if kept := strings.Count(out, "....\n"); !strings.Contains(out, fmt.Sprintf("\nend %d\n", kept+int(dropped))) {
			t.Errorf("%d lines are there and %d were dropped, and the last one is %s", kept, dropped, out[max(0, len(out)-30):])
		}
		if !strings.Contains(out, "lines were dropped") {
			t.Error("nothing in the file tells of the lines that were dropped")
		}
	})
}

// fill takes all the room there is beside the logs, again and again since
// rotation gives some back, until free is called.
func (f *faultyOutput) fill(t *testing.T) (free func()) {
	t.Helper()
	path := filepath.Join(f.root, f.logs, "filler")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	full := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		block := make([]byte, 4096)
		for told := false; ; {
			_, err := file.Write(block)
			if err == nil {
				continue
			}
			if !told {
				told = true
				close(full)
			}
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	<-full
	return func() {
		close(stop)
		<-done
		if err := errors.Join(file.Close(), os.Remove(path)); err != nil {
			t.Error(err)
		}
	}
}

func TestOutputDirectoryRemoved(t *testing.T) {
	t.Parallel()
	for name, output := range map[string]string{"direct": smallRotation, "pumped": smallRotation + ", format: text"} {
		t.Run(name, func(t *testing.T) {
			f := newFaultyOutput(t, testDir(t), nil, "", output)
			f.grows(t, 10<<10)
			if name == "direct" {
				// Nothing is in an archive yet that would go with the directory.
				if r := f.output(t, "w").Rotations; r > 0 {
					t.Logf("%d archives go with the directory", r)
				}
			}
			if err := os.RemoveAll(f.logs); err != nil {
				t.Fatal(err)
			}
			if name == "direct" {
				f.warns(t, "was removed")
			}
			f.grows(t, 200<<10)
			f.rotates(t)
			f.run(t, 0, "kita", "restart", "w")
			f.pid = f.view(t).Status.Process.PID
			f.warns(t, "")
			f.grows(t, 10<<10)
			if _, err := os.Stat(filepath.Join(f.logs, "w.log")); err != nil {
				t.Error(err)
			}
			f.end(t)
		})
	}
}

// TestOutputFileRemovedLosesNothing removes the file alone: the archives stay.
func TestOutputFileRemovedLosesNothing(t *testing.T) {
	t.Parallel()
	f := newFaultyOutput(t, testDir(t), nil, "", smallRotation)
	f.rotates(t)
	if err := os.Remove(filepath.Join(f.logs, "w.log")); err != nil {
		t.Fatal(err)
	}
	f.warns(t, "was removed")
	f.rotates(t)
	if err := f.killServer(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	f.warns(t, "was removed")
	f.rotates(t)
	f.finish(t)
}

func TestOutputDirectoryUnreadable(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can start a server as nobody")
	}
	dir := testDir(t)
	const nobody = 65534
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	f := newFaultyOutput(t, dir, []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}, "", smallRotation)
	f.rotates(t)
	if err := os.Chmod(f.logs, 0); err != nil {
		t.Fatal(err)
	}
	f.warns(t, "permission denied")
	f.run(t, 1, "kita", "restart", "w")
	if err := os.Chmod(f.logs, 0o755); err != nil {
		t.Fatal(err)
	}
	f.run(t, 0, "kita", "trystart", "w")
	f.pid = f.view(t).Status.Process.PID
	f.warns(t, "")
	f.rotates(t)
	f.end(t)
}

// TestOutputReplacedByAnotherUser has the user of a child, who owns the
// directory, put something else in the file's place, while the server is root.
func TestOutputReplacedByAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can run a child as nobody")
	}
	for name, replace := range map[string]func(path, secret string) error{
		"link":      func(path, secret string) error { return os.Symlink(secret, path) },
		"hard link": func(path, secret string) error { return os.Link(secret, path) },
		"fifo":      func(path, _ string) error { return syscall.Mkfifo(path, 0o666) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := testDir(t)
			f := newFaultyOutput(t, dir, nil, "user: nobody\n", smallRotation)
			if _, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/1", f.pid)); os.IsPermission(err) {
				t.Skip("root may not look into the process of another user here, so what it writes to a removed file cannot be reached")
			}
			f.rotates(t)
			secret := f.path("secret")
			if err := os.WriteFile(secret, []byte("root's\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(f.logs, "w.log")
			if err := errors.Join(os.Remove(path), replace(path, secret)); err != nil {
				t.Fatal(err)
			}
			f.warns(t, "w.log")
			f.rotates(t)
			if out, _ := f.run(t, 0, "kita", "logs", "w"); strings.Contains(out, "root's") {
				t.Error("kita logs shows a file of root's")
			}
			out, said := f.run(t, 1, "kita", "restart", "w")
			if !strings.Contains(out+said, path) {
				t.Errorf("why it does not start does not name %s:\n%s%s", path, out, said)
			}
			if text, err := os.ReadFile(secret); err != nil || string(text) != "root's\n" {
				t.Errorf("the file of root's is %q, %v", text, err)
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			f.run(t, 0, "kita", "start", "w")
			f.pid = f.view(t).Status.Process.PID
			f.warns(t, "")
			f.rotates(t)
			f.end(t)
		})
	}
}
