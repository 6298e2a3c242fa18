package chaos

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// patience bounds the wait for what must come. It judges nothing: what has to
// be fast is measured.
const patience = 30 * time.Second

var instances atomic.Uint32

// instance is one kita, present or past, with its directory.
type instance struct {
	dir  string
	as   account
	mark string
	env  []string
	pen  *pen // nil where the harness may make no group

	// binary is what is started; flags follow `serve`.
	binary string
	flags  []string
	// enter are flags of `workload enter`, by which the keeper gets to its
	// groups and mounts; empty starts it directly.
	enter  []string
	clone  uintptr // namespaces
	socket string  // as the harness reaches it
	tcp    string

	// The fields below belong to the goroutine of the test.

	// admits: kita has said of a stop that something was left, so that it may
	// say the same of its end.
	admits bool
	cmd    *exec.Cmd
	done   chan struct{} // closed when cmd has been waited for
}

// newInstance makes the directory, the files and the group; it starts nothing.
// children are the child files by name.
func (c *trial) newInstance(t *testing.T, config string, children map[string]string) *instance {
	t.Helper()
	n := instances.Add(1)
	pid := os.Getpid()
	in := &instance{
		dir: filepath.Join(world.root, fmt.Sprint(n)), as: c.as, binary: world.kita,
		mark: markOf(n),
	}
	addr := fmt.Sprintf("127.%d.%d.%d", 64+pid%128, pid/128%256, n%250+2)
	in.socket, in.tcp = in.path("run/kita.sock"), addr+":33889"
	in.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + in.dir, "TMPDIR=" + in.dir, in.mark,
		"KITA_CHAOS_DIR=" + in.path("work"), "KITA_SOCKET=" + in.path("run/kita.sock"),
	}
	must(t, os.Mkdir(in.dir, 0o700))
	for _, dir := range []string{"children", "work", "work/locks"} {
		must(t, os.Mkdir(in.path(dir), 0o700))
	}
	must(t, os.WriteFile(in.path("work/ledger"), nil, 0o600))
	for name, text := range children {
		must(t, os.WriteFile(in.path("children/"+name+".yml"), []byte(text), 0o600))
	}
	config += fmt.Sprintf("loadpaths: [%s]\nlistener_addr: %s\nstate_dir: %s\nrun_dir: %s\n",
		in.path("children"), addr, in.path("state"), in.path("run"))
	must(t, os.WriteFile(in.path("server.yml"), []byte(config), 0o600))
	if os.Geteuid() == 0 && in.as.id != 0 {
		must(t, filepath.Walk(in.dir, func(path string, _ os.FileInfo, err error) error {
			return errors.Join(err, os.Chown(path, in.as.id, in.as.id))
		}))
	}
	if os.Geteuid() == 0 && cgroup2Mount() != "" {
		p, err := newPen("", fmt.Sprint(n))
		must(t, err)
		in.pen = p
	}
	t.Cleanup(func() { in.cleanUp(t) })
	return in
}

// markOf is the entry in the environment by which the processes of an instance
// are known.
func markOf(instance uint32) string {
	return fmt.Sprintf("KITA_CHAOS_MARK=%d-%d", os.Getpid(), instance)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (in *instance) path(name string) string { return filepath.Join(in.dir, name) }

// start runs the instance and waits for nothing.
func (in *instance) start() error {
	argv := append([]string{in.binary, "serve"}, append(in.flags, in.path("server.yml"))...)
	if len(in.enter) > 0 {
		argv = append(append([]string{world.workload, "enter"}, in.enter...), append([]string{"--"}, argv...)...)
	}
	log, err := os.OpenFile(in.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = in.dir, in.env, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Cloneflags: in.clone}
	if os.Geteuid() != in.as.id && len(in.enter) == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(in.as.id), Gid: uint32(in.as.id)}
	}
	if in.pen != nil {
		group, err := os.Open(in.pen.dir)
		if err != nil {
			return err
		}
		defer group.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(group.Fd())
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	in.cmd, in.done = cmd, done
	if in.clone&syscall.CLONE_NEWNS != 0 {
		in.socket = in.inside("run/kita.sock")
	}
	go func() {
		defer close(done)
		_ = cmd.Wait()
	}()
	return nil
}

// serve starts the instance and waits until it is ready.
func (in *instance) serve(t *testing.T) {
	t.Helper()
	must(t, in.start())
	in.awaitReady(t)
}

func (in *instance) awaitReady(t *testing.T) {
	t.Helper()
	if !in.eventually(patience, func() bool {
		status, _, err := in.ask("GET", "/readyz", "", time.Second)
		return err == nil && status == 200
	}) {
		t.Fatalf("the instance is not ready (running: %v)\n%s", in.running(), in.logTail())
	}
}

// eventually polls for what no event tells, as long as the instance runs.
func (in *instance) eventually(limit time.Duration, holds func() bool) bool {
	return poll(limit, in.done, holds)
}

// poll asks again and again until holds says yes, for at most limit and until
// given is closed.
func poll(limit time.Duration, given <-chan struct{}, holds func() bool) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
		if holds() {
			return true
		}
		select {
		case <-tick.C:
		case <-given:
			return holds()
		}
	}
	return holds()
}

// awaitDeath waits for the end of a process of the instance.
func (in *instance) awaitDeath(t *testing.T, pid int) {
	t.Helper()
	if !poll(patience, nil, func() bool { return !isMarked(pid, in.mark) }) {
		t.Fatalf("PID %d has not ended\n%s", pid, in.logTail())
	}
}

func (in *instance) running() bool {
	select {
	case <-in.done:
		return false
	default:
		return true
	}
}

// keeper is the PID of the process that was started.
func (in *instance) keeper() int { return in.cmd.Process.Pid }

// server is the PID of the process that serves now, 0 while there is none.
func (in *instance) server() int {
	if len(in.flags) > 0 && in.flags[0] == "--no-keeper" {
		return in.keeper()
	}
	for _, pid := range childrenOf(in.keeper()) {
		// Its arguments are those of the keeper, also when it has executed
		// another binary; nothing else that the keeper has is a `serve`.
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		words := bytes.Split(line, []byte{0})
		if err == nil && len(words) > 1 && string(words[1]) == "serve" {
			return pid
		}
	}
	return 0
}

// childrenOf are the PIDs whose parent is pid, zombies included.
func childrenOf(pid int) []int {
	var pids []int
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue
		}
		for _, field := range strings.Fields(string(text)) {
			if n, err := strconv.Atoi(field); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}

// awaitServer waits for a server that is another process than old.
func (in *instance) awaitServer(t *testing.T, old int) int {
	t.Helper()
	now := 0
	if !in.eventually(patience, func() bool { now = in.server(); return now != 0 && now != old }) {
		t.Fatalf("no server follows PID %d (keeper running: %v)\n%s", old, in.running(), in.logTail())
	}
	return now
}

func (in *instance) awaitEnd(t *testing.T) {
	t.Helper()
	select {
	case <-in.done:
	case <-time.After(patience):
		t.Fatalf("the instance has not ended\n%s", in.logTail())
	}
}

func (in *instance) log() string {
	text, _ := os.ReadFile(in.path("log"))
	return string(text)
}

// logTail is the end of the log, enough to see why.
func (in *instance) logTail() string {
	const most = 6 << 10
	text := in.log()
	return text[max(0, len(text)-most):]
}

// cleanUp ends whatever of the instance is left and fails the test for what
// should not have been.
func (in *instance) cleanUp(t *testing.T) {
	if t.Failed() {
		t.Logf("log of the instance:\n%s", in.logTail())
	}
	if in.cmd != nil && in.running() {
		_ = in.cmd.Process.Kill()
		<-in.done
	}
	if in.pen != nil {
		if err := in.pen.kill(patience); err != nil {
			t.Error(err)
		}
		if err := in.pen.remove(); err != nil {
			t.Error(err)
		}
	}
	if _, err := endMarked(in.mark); err != nil {
		t.Error(err)
	}
	if os.Getenv("KITA_CHAOS_KEEP") == "" {
		_ = os.RemoveAll(in.dir)
	}
}
