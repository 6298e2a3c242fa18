package keeper

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kita/runtime/exitlog"
)

// testPatience bounds a broken keeper; nothing measures a working one.
const testPatience = 30 * time.Second

// house is a keeper, with the test at the other end of each of its servers.
type house struct {
	t      *testing.T
	dir    string
	ln     *net.UnixListener
	keeper *exec.Cmd
	ended  chan struct{} // closed when the keeper has been waited for
}

// newHouse starts a keeper and ends all that came of it with the test.
func newHouse(t *testing.T, attr *syscall.SysProcAttr, env ...string) *house {
	t.Helper()
	return newHouseWith(t, nil, attr, env...)
}

// newHouseWith starts a keeper with sockets of a service manager.
func newHouseWith(t *testing.T, given []*os.File, attr *syscall.SysProcAttr, env ...string) *house {
	t.Helper()
	dir, err := os.MkdirTemp("", "keeper")
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, dir: dir, ended: make(chan struct{})}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h.ln, err = net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "test.sock")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.ln.Close() })
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h.keeper = exec.Command(exe)
	h.keeper.Env = append(append(os.Environ(), testEnv+"="+dir), env...)
	h.keeper.SysProcAttr, h.keeper.ExtraFiles = attr, given
	// A file, because children that outlive the keeper would hold a pipe open.
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	h.keeper.Stderr = log
	if err := h.keeper.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(h.ended)
		_ = h.keeper.Wait()
	}()
	t.Cleanup(h.close)
	return h
}

func (h *house) close() {
	_ = h.keeper.Process.Kill()
	<-h.ended
	for h.endOne() {
	}
	if h.t.Failed() {
		h.t.Logf("the keeper's log:\n%s", h.readLog())
	}
}

func (h *house) readLog() string {
	text, _ := os.ReadFile(filepath.Join(h.dir, "log"))
	return string(text)
}

// endOne kills one process that has the environment of this house, and waits
// for its end.
func (h *house) endOne() bool {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		text, _ := os.ReadFile(file)
		mine := strings.Contains(string(text), testEnv+"="+h.dir+"\x00")
		if mine && unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil {
			ends(fd)
		}
		unix.Close(fd)
		if mine {
			return true
		}
	}
	return false
}

// ends waits for the end of the process behind a pidfd.
func ends(pidfd int) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(testPatience.Milliseconds()))
		if err != unix.EINTR {
			return n == 1
		}
	}
}

// signal sends a signal to the keeper.
func (h *house) signal(sig syscall.Signal) {
	h.t.Helper()
	if err := h.keeper.Process.Signal(sig); err != nil {
		h.t.Fatal(err)
	}
}

// wantEnd waits for the end of the keeper.
func (h *house) wantEnd(status int) {
	h.t.Helper()
	select {
	case <-h.ended:
		if got := h.keeper.ProcessState.ExitCode(); got != status {
			h.t.Errorf("the keeper ended with %v, want status %d", h.keeper.ProcessState, status)
		}
	case <-time.After(testPatience):
		h.t.Fatal("the keeper does not end")
	}
}

// until waits for something that only /proc or a file shows.
func (h *house) until(what string, ok func() bool) {
	h.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(testPatience)
	for !ok() {
		select {
		case <-tick.C:
		case <-timeout:
			h.t.Fatalf("still not: %s", what)
		}
	}
}

// records waits until as many ends are written down.
func (h *house) records(n int) []exitlog.Record {
	h.t.Helper()
	var all []exitlog.Record
	h.until(fmt.Sprintf("%d ends written down", n), func() bool {
		var err error
		if all, err = exitlog.OpenReader(h.dir).All(); err != nil {
			h.t.Fatal(err)
		}
		return len(all) >= n
	})
	return all
}

// visitor is a server, from the test's side.
type visitor struct {
	*house
	conn  net.Conn
	lines *bufio.Scanner
	// hello is what it said of itself.
	hello map[string]string
	pid   int
}

// server waits for the next server.
func (h *house) server() *visitor {
	h.t.Helper()
	_ = h.ln.SetDeadline(time.Now().Add(testPatience))
	conn, err := h.ln.Accept()
	if err != nil {
		h.t.Fatalf("no server came: %v\n%s", err, h.readLog())
	}
	h.t.Cleanup(func() { conn.Close() })
	v := &visitor{house: h, conn: conn, lines: bufio.NewScanner(conn), hello: map[string]string{}}
	for _, word := range strings.Fields(v.hear()) {
		key, value, _ := strings.Cut(word, "=")
		v.hello[key] = value
	}
	v.pid, _ = strconv.Atoi(v.hello["pid"])
	return v
}

func (v *visitor) hear() string {
	v.t.Helper()
	_ = v.conn.SetReadDeadline(time.Now().Add(testPatience))
	if !v.lines.Scan() {
		v.t.Fatalf("the server says nothing: %v\n%s", v.lines.Err(), v.readLog())
	}
	return v.lines.Text()
}

func (v *visitor) wantHear(want string) {
	v.t.Helper()
	if got := v.hear(); got != want {
		v.t.Fatalf("the server says %q, want %q", got, want)
	}
}

// tell says a line without waiting for an answer.
func (v *visitor) tell(line string) {
	v.t.Helper()
	if _, err := fmt.Fprintln(v.conn, line); err != nil {
		v.t.Fatal(err)
	}
}

func (v *visitor) do(line string) string {
	v.t.Helper()
	v.tell(line)
	return v.hear()
}

// serves makes it a server that the keeper knows to be ready.
func (v *visitor) serves() *visitor {
	v.t.Helper()
	if got := v.do("run") + v.do("ready"); got != "okok" {
		v.t.Fatal(got)
	}
	// The log of ends is opened when the keeper has read `run`.
	v.until("the keeper knows the run directory", func() bool {
		_, err := os.Stat(filepath.Join(v.dir, exitlog.Name))
		return err == nil
	})
	return v
}

// wantDirs wants it to have been told the directories of the server before it.
func (v *visitor) wantDirs() {
	v.t.Helper()
	run, state := strconv.Quote(v.dir), strconv.Quote(filepath.Join(v.dir, "state"))
	if v.hello["run"] != run || v.hello["state"] != state {
		v.t.Errorf("the server is told the directories %s and %s, want %s and %s", v.hello["run"], v.hello["state"], run, state)
	}
}

func (v *visitor) start(child, script string) (pid int) {
	v.t.Helper()
	answer := v.do("start " + child + " " + script)
	pid, err := strconv.Atoi(answer)
	if err != nil {
		v.t.Fatal(answer)
	}
	return pid
}

// isGone tells whether a process is neither alive nor a zombie.
func isGone(pid int) bool { return syscall.Kill(pid, 0) == syscall.ESRCH }
