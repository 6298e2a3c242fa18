package packaging

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// machine is a root directory into which packages are installed, in namespaces of
// processes, mounts and networks of its own: what is left in them ends with the test.
// It has busybox, and a stand-in for systemd that carries out what the unit says.
type machine struct {
	root string
	// first is the first process of the namespaces.
	first int
	// bare are the files that there were before anything was installed.
	bare []string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("installing packages needs root")
	}
	needs(t, "busybox", "unshare", "nsenter", "ip", "dpkg", "rpm")
	m := &machine{root: filepath.Join(t.TempDir(), "root")}
	for _, dir := range []string{"bin", "dev", "etc/systemd/system", "proc", "run/systemd/system", "tmp", "usr/bin", "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "var/lib/rpm"} {
		if err := os.MkdirAll(filepath.Join(m.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	m.copy(t, busybox, "bin/busybox", 0o755)
	m.copy(t, "testdata/systemctl", "usr/bin/systemctl", 0o755)
	m.copy(t, "testdata/systemctl", "usr/bin/deb-systemd-helper", 0o755)
	m.copy(t, "testdata/systemctl", "usr/bin/deb-systemd-invoke", 0o755)
	m.write(t, "var/lib/dpkg/status", "")
	m.write(t, "etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
	m.write(t, "etc/group", "root:x:0:\n")
	say(t, "chroot", m.root, "/bin/busybox", "--install", "-s", "/bin")
	m.boot(t, mountSystem)
	m.bare = m.files(t)
	return m
}

// mountSystem is a shell's command that mounts what the kernel provides.
const mountSystem = `mount -t proc proc "$1/proc" && mount --bind /dev "$1/dev"`

// boot makes the namespaces, and has a shell mount in them what the root directory, its
// $1, is to have.
func (m *machine) boot(t *testing.T, mount string) {
	t.Helper()
	script := mount + ` && ip link set lo up && echo up && exec cat`
	ctx, cancel := context.WithCancel(context.Background())
	hold := exec.CommandContext(ctx, "unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "sh", "-c", script, "sh", m.root)
	// It ends with its input, also where this process is killed.
	if _, err := hold.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := hold.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := hold.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = hold.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "up\n" {
		t.Fatalf("cannot make the namespaces: %q, %v", line, err)
	}
	pid := strconv.Itoa(hold.Process.Pid)
	below, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	if err == nil {
		m.first, err = strconv.Atoi(strings.TrimSpace(string(below)))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// run runs a program of this machine, which sees the processes of the other.
func (m *machine) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	// Package managers look for the programs of Debian's sbin.
	enter := []string{"-t", strconv.Itoa(m.first), "-m", "-p", "-n", "env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", name}
	return say(t, "nsenter", append(enter, args...)...)
}

// kita is its answer, and whether it said yes.
func (m *machine) kita(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	enter := []string{"-t", strconv.Itoa(m.first), "-m", "-p", "-n", "chroot", m.root, "/usr/bin/kita"}
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return out.String() + said.String(), err
	}
	return out.String(), nil
}

func (m *machine) mustKita(t *testing.T, args ...string) string {
	t.Helper()
	out, err := m.kita(t, args...)
	if err != nil {
		t.Fatalf("kita %s: %v\n%s\n%s", strings.Join(args, " "), err, out, m.read(t, "kita.log"))
	}
	return out
}

// await waits until the server answers.
func (m *machine) await(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		out, err := m.kita(t, "info")
		if err == nil {
			tick.Stop()
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("no server answers: %s\n%s", out, m.read(t, "kita.log"))
		}
	}
}

// child is the PID and the incarnation of a child that runs.
func (m *machine) child(t *testing.T, name string) (pid, incarnation int) {
	t.Helper()
	var view struct {
		Status struct {
			Process struct{ PID, Incarnation int }
		}
	}
	out := m.mustKita(t, "check", name, "-o", "json")
	if err := json.Unmarshal([]byte(out), &view); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	who := view.Status.Process
	if who.PID == 0 {
		t.Fatalf("%s is no process:\n%s", name, out)
	}
	return who.PID, who.Incarnation
}

// serverVersion is that of the server that answers.
func (m *machine) serverVersion(t *testing.T) string {
	t.Helper()
	var info struct{ Version string }
	out := m.mustKita(t, "info", "-o", "json")
	if err := json.Unmarshal([]byte(out), &info); err != nil || info.Version == "" {
		t.Fatalf("%v\n%s", err, out)
	}
	return info.Version
}

// alive tells whether a process of the machine runs with these words.
func (m *machine) alive(t *testing.T, words string) bool {
	t.Helper()
	return strings.Contains(m.run(t, "sh", "-c", `for p in "$0"/proc/[0-9]*/cmdline; do tr '\0' ' ' <"$p"; echo; done 2>/dev/null`, m.root), words)
}

// files are the files and directories of the machine, but for the databases of the
// package managers, and what is written for the test.
func (m *machine) files(t *testing.T) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(m.root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(m.root, path)
		if err != nil {
			return err
		}
		switch name {
		case "var/lib/dpkg", "var/lib/rpm", "proc", "dev":
			return filepath.SkipDir
		case "systemctl.log", "kita.log", "run/kita-unit.pid", "run/kita-socket.active":
			return nil
		}
		found = append(found, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// added are the files that were not there at first.
func (m *machine) added(t *testing.T) []string {
	t.Helper()
	return slices.DeleteFunc(m.files(t), func(name string) bool { return slices.Contains(m.bare, name) })
}

func (m *machine) has(name string) bool {
	_, err := os.Lstat(filepath.Join(m.root, name))
	return err == nil
}

func (m *machine) read(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(m.root, name))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(content)
}

func (m *machine) write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(m.root, name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) copy(t *testing.T, from, to string, mode fs.FileMode) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(filepath.Join(m.root, to), content, mode)
	}
	if err != nil {
		t.Fatal(err)
	}
}
