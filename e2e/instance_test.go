package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"kita/control"
	"kita/spec"
)

// patience is how long a test waits for something that must come. It is long:
// it bounds a broken product, it does not measure a working one.
const patience = 60 * time.Second

var instances atomic.Uint32

// instance is one server with its keeper, present or past, with its directory
// and address.
type instance struct {
	dir  string
	addr string
	mark string
	// env is the environment of the server and, through it, of the children.
	env []string
	// errName is the file of the server's stderr, server.err by default.
	errName string

	// The fields below belong to the goroutine of the test. cmd is the keeper,
	// or the server if it was started without one.
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has been waited for
	// killed: the server was told to `kill`, so nothing may be left of it.
	killed bool
	// containment is that of the last server that was ready.
	containment string
}

// newInstance takes a directory and gives it an address nobody else has: the
// whole of 127.0.0.0/8 is this host's.
func newInstance(dir string) *instance {
	n := instances.Add(1)
	pid := os.Getpid()
	in := &instance{dir: dir, mark: fmt.Sprintf("%d-%d", pid, n)}
	in.errName = "server.err"
	in.addr = fmt.Sprintf("127.%d.%d.%d", 64+pid%128, (pid/128+int(n)/250)%256, n%250+2)
	in.env = []string{
		"PATH=" + world.bin + ":" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "TZ=UTC",
		"KITA_E2E=" + in.mark, "KITA_SOCKET=" + in.socket(), "ADDR=" + in.addr,
		// For the few servers that need an address which others share: below
		// the ports the kernel gives out.
		fmt.Sprintf("PORT=%d", 10000+(pid*251+int(n))%20000),
	}
	return in
}

// newServer is an instance for a test written in Go: it writes the files,
// starts the server, and ends it with the test.
func newServer(t *testing.T, config string, children map[string]string) *instance {
	t.Helper()
	return newServerAs(t, nil, config, children)
}

// newServerAs is newServer with the command line that starts it.
func newServerAs(t *testing.T, args []string, config string, children map[string]string) *instance {
	t.Helper()
	dir, err := os.MkdirTemp(world.root, "t")
	if err != nil {
		t.Fatal(err)
	}
	return newServerIn(t, dir, args, config, children)
}

// newServerIn is newServerAs in a directory that the test has made.
func newServerIn(t *testing.T, dir string, args []string, config string, children map[string]string) *instance {
	t.Helper()
	in := newInstance(dir)
	if err := os.Mkdir(in.path("children"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range children {
		in.writeChild(t, name, content)
	}
	if err := os.WriteFile(in.path("server.yml"), []byte(in.complete(config)), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := in.cleanUp(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("server's log:\n%s", in.logTail())
		}
	})
	if err := in.serve(args, nil); err != nil {
		t.Fatal(err)
	}
	return in
}

func (in *instance) writeChild(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(in.path("children/"+name+".yml"), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (in *instance) path(name string) string { return filepath.Join(in.dir, name) }
func (in *instance) socket() string          { return in.path("run/kita.sock") }
func (in *instance) tcp() string             { return net.JoinHostPort(in.addr, "33889") }

// complete adds to a server.yml what keeps it to itself, at its end so that the
// lines keep their numbers.
func (in *instance) complete(config string) string {
	if config != "" && !strings.HasSuffix(config, "\n") {
		config += "\n"
	}
	for _, line := range []string{
		"loadpaths: [" + in.path("children") + "]", "listener_addr: " + in.addr,
		"state_dir: " + in.path("state"), "run_dir: " + in.path("run"),
	} {
		key, _, _ := strings.Cut(line, ":")
		if !regexp.MustCompile(`(?m)^#?` + key + `:`).MatchString(config) {
			config += line + "\n"
		}
	}
	return config
}

// start runs `kita serve` and does not wait for anything.
func (in *instance) start(args []string, stdin *os.File) error {
	if len(args) == 0 {
		args = []string{filepath.Join(world.bin, "kita"), "serve", "server.yml"}
	}
	out, err := os.OpenFile(in.path("server.out"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	log, err := os.OpenFile(in.path(in.errName), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	in.cmd = exec.Command(args[0], args[1:]...)
	// Files and no pipes: the children inherit them and outlive the server.
	if stdin != nil {
		in.cmd.Stdin = stdin
	}
	in.cmd.Dir, in.cmd.Env, in.cmd.Stdout, in.cmd.Stderr = in.dir, in.env, out, log
	// A group of its own, so that a signal to the test's group does not decide
	// what becomes of the children.
	in.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := in.cmd.Start(); err != nil {
		in.cmd = nil
		return err
	}
	in.killed = false
	done := make(chan struct{})
	in.done = done
	cmd := in.cmd
	go func() {
		defer close(done)
		_ = cmd.Wait()
	}()
	return nil
}

// serve starts the server and waits until it is ready.
func (in *instance) serve(args []string, stdin *os.File) error {
	if in.running() {
		return errors.New("the server runs already")
	}
	if err := in.start(args, stdin); err != nil {
		return err
	}
	return in.waitReady()
}

func (in *instance) waitReady() error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(patience)
	for {
		status, _, err := in.http("unix", "GET", "/readyz", "", nil)
		if err == nil && status == 200 {
			in.noteContainment()
			return nil
		}
		select {
		case <-tick.C:
		case <-in.done:
			return fmt.Errorf("the server ended with %v:\n%s", in.cmd.ProcessState, in.logTail())
		case <-timeout:
			return fmt.Errorf("the server is not ready after %v (last: %d, %v):\n%s", patience, status, err, in.logTail())
		}
	}
}

// noteContainment remembers what the server's control groups are called, unless
// it has ended already.
func (in *instance) noteContainment() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if info, err := in.client().Info(ctx); err == nil {
		in.containment = info.Containment
	}
}

// running tells whether the server has not ended yet.
func (in *instance) running() bool {
	if in.cmd == nil {
		return false
	}
	select {
	case <-in.done:
		return false
	default:
		return true
	}
}

// waitEnd waits for the end of the server and returns its exit status, which is
// -1 after a signal.
func (in *instance) waitEnd() (int, error) {
	select {
	case <-in.done:
		return in.cmd.ProcessState.ExitCode(), nil
	case <-time.After(patience):
		return 0, fmt.Errorf("the server has not ended after %v:\n%s", patience, in.logTail())
	}
}

// signal sends a signal to the keeper and waits for its end. SIGKILL goes to
// the server too, as when the machine runs out of memory: nothing but the
// children is left.
func (in *instance) signal(sig syscall.Signal) (int, error) {
	if sig == syscall.SIGKILL {
		return in.killBoth()
	}
	if err := in.cmd.Process.Signal(sig); err != nil {
		return 0, err
	}
	return in.waitEnd()
}

// cleanUp ends the server with `kill`, if it still runs, and then whatever else
// carries the mark. Something left behind after a `kill` is an error.
func (in *instance) cleanUp() error {
	var errs []error
	if in.running() {
		in.killed = true
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if err := in.client().Kill(ctx); err != nil {
			errs = append(errs, fmt.Errorf("tell the server to end: %w", err))
		}
		cancel()
		if len(errs) == 0 {
			status, err := in.waitEnd()
			if err == nil && status != 0 {
				err = fmt.Errorf("the server ended with status %d after kill", status)
			}
			errs = append(errs, err)
		}
		if in.running() {
			_, err := in.signal(syscall.SIGKILL)
			errs = append(errs, err)
		}
	}
	left, err := endMarked(in.mark)
	errs = append(errs, err)
	if in.killed && len(left) > 0 {
		errs = append(errs, fmt.Errorf("left behind after kill: %s", strings.Join(left, "; ")))
	}
	groups, err := removeGroups(in.containment)
	errs = append(errs, err)
	if in.killed && len(groups) > 0 {
		errs = append(errs, fmt.Errorf("left behind after kill: %s", strings.Join(groups, "; ")))
	}
	if log := in.log(); strings.Contains(log, "panic") || strings.Contains(log, "DATA RACE") {
		errs = append(errs, errors.New("the server's log tells of a panic"))
	}
	return errors.Join(errs...)
}

func (in *instance) client() *control.Client {
	return control.Dial(control.Target{Unix: in.socket()})
}

func (in *instance) log() string {
	text, _ := os.ReadFile(in.path(in.errName))
	return string(text)
}

// logTail is the end of the log, enough to see why.
func (in *instance) logTail() string {
	const most = 8 << 10
	text := in.log()
	return text[max(0, len(text)-most):]
}

// await watches the children until ok says yes to the view of name. A child
// that is forgotten, or not there, has a view without a phase.
func (in *instance) await(name string, ok func(spec.View) bool) (spec.View, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var last spec.View
	synced := false
	for change, err := range in.client().Watch(ctx) {
		if err != nil {
			return last, fmt.Errorf("wait for %s, last seen %s: %w", name, describe(last), err)
		}
		switch {
		case change.Type == spec.Synced:
			synced = true
		case change.View.Name != name:
			continue
		default:
			last = change.View
		}
		if (synced || last.Name != "") && ok(last) {
			return last, nil
		}
	}
	return last, fmt.Errorf("wait for %s: the watch ended, last seen %s", name, describe(last))
}

func describe(v spec.View) string {
	if v.Name == "" || v.Status.Phase == "" {
		return "nowhere"
	}
	pid := 0
	if v.Status.Process != nil {
		pid = v.Status.Process.PID
	}
	return fmt.Sprintf("phase %s, pid %d, starts %d, restarts %d, wanted %q, reason %q",
		v.Status.Phase, pid, v.Status.Starts, v.Status.Restarts, v.Desired.Run, v.Status.Reason)
}

// awaitFile waits until a file is there.
func (in *instance) awaitFile(name string) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for timeout := time.After(patience); ; {
		if _, err := os.Stat(in.path(name)); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-timeout:
			return fmt.Errorf("%s is not there after %v", name, patience)
		}
	}
}

// eventually waits until it is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for timeout := time.After(patience); !is(); {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("%s: not after %v", what, patience)
		}
	}
}
