package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"kita/failpoint"
	"kita/runtime/cgroup"
	"kita/spec"
)

// defaultPath is searched for a command when the child's environment has no
// PATH at all.
const defaultPath = "/usr/local/bin:/usr/bin:/bin"

// killPatience is how long a process that must not live on may take to die.
const killPatience = 10 * time.Second

// order is everything that a launch needs, looked up and checked.
type order struct {
	path    string // as execve(2) gets it, relative to dir
	argv    []string
	env     []string
	dir     string
	as      *account
	streams *streams
	leaf    *cgroup.Leaf // nil without cgroups
}

// join are the files of the cgroups that the process has to join by itself.
func (o *order) join() []string {
	if o.leaf == nil {
		return nil
	}
	return o.leaf.JoinFiles()
}

// intoCgroup has the process begin in its cgroup, where clone(2) can do that.
func (o *order) intoCgroup(attr *syscall.SysProcAttr) *syscall.SysProcAttr {
	if o.leaf != nil {
		if fd := o.leaf.CloneFD(); fd >= 0 {
			attr.UseCgroupFD, attr.CgroupFD = true, fd
		}
	}
	return attr
}

// launch starts the process of c and takes its identity before anybody can
// reap it.
func (h *Host) launch(c *spec.Child, incarnation uint64) (*process, spec.Launch, error) {
	o, err := h.prepare(c, incarnation)
	if err != nil {
		return nil, spec.Launch{}, err
	}
	defer o.streams.close()
	var warnings []string
	o.leaf, warnings, err = h.makeLeaf(c, incarnation)
	if err != nil {
		return nil, spec.Launch{}, err
	}
	p, id, err := h.launchOrder(c, incarnation, o)
	if o.leaf != nil {
		o.leaf.Release()
	}
	if err != nil {
		h.removeLeaf(o.leaf)
		return nil, spec.Launch{}, err
	}
	l := spec.Launch{Identity: id, Warnings: warnings, Outputs: o.streams.outs}
	if o.leaf != nil {
		l.Cgroup = o.leaf.Path()
	}
	o.streams.discard = nil
	h.outputs.attach(c.Name, l, c)
	return p, l, nil
}

func (h *Host) makeLeaf(c *spec.Child, incarnation uint64) (*cgroup.Leaf, []string, error) {
	switch {
	case h.cgroups != nil:
		return h.cgroups.Make(c.Name, incarnation, c.Resources)
	case c.Resources != spec.Resources{}:
		return nil, []string{"limits.memory, cpu and tasks are not in force: the server has no cgroups"}, nil
	}
	return nil, nil, nil
}

// launchOrder forks, and identifies what came of it.
func (h *Host) launchOrder(c *spec.Child, incarnation uint64, o *order) (*process, spec.Identity, error) {
	spares, err := reserveDescriptors()
	if err != nil {
		return nil, spec.Identity{}, fmt.Errorf("fork for %s: %w", o.path, err)
	}
	before := nanosNow()
	var pid int
	if o.needsShim(c) || h.oddSignals() {
		pid, err = h.runShim(o, c)
	} else {
		pid, err = h.run(o)
	}
	after := nanosNow()
	spares.release()
	if err != nil {
		return nil, spec.Identity{}, err
	}
	failpoint.Hit(failpoint.Fork)
	p, err := h.takeOver(c.Name, incarnation, o.leaf, pid, ticksBetween(before, after))
	if err != nil {
		return nil, spec.Identity{}, fmt.Errorf("identify PID %d: %w", pid, err)
	}
	return p, p.id, nil
}

// reserved are descriptors that keep places for others.
type reserved [2]int

// reserveDescriptors keeps places for a pidfd and for a look at /proc, so that
// want of descriptors shows before there is a process.
func reserveDescriptors() (r reserved, err error) {
	for i := range r {
		// Of stderr, which is always open: Go sees to that.
		if r[i], err = unix.FcntlInt(2, unix.F_DUPFD_CLOEXEC, 3); err != nil {
			for _, fd := range r[:i] {
				unix.Close(fd)
			}
			return r, os.NewSyscallError("fcntl", err)
		}
	}
	return r, nil
}

func (r reserved) release() {
	for _, fd := range r {
		unix.Close(fd)
	}
}

// takeOver makes a process of a fresh child, which nobody else reaps. It is
// destroyed where that cannot be. ticks is when it began, 0 where that is to be
// looked up.
func (h *Host) takeOver(child string, incarnation uint64, leaf *cgroup.Leaf, pid int, ticks uint64) (*process, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ENOSYS {
		err = errors.New("this kernel has no pidfds, kita needs Linux 5.4")
	}
	if err != nil {
		return nil, errors.Join(err, destroy(pid))
	}
	id, err := identifyFresh(fd, pid, incarnation, ticks)
	if err != nil {
		unix.Close(fd)
		return nil, errors.Join(err, destroy(pid))
	}
	return h.newProcess(child, id, leaf, fd), nil
}

// prepare does all that can fail before the fork. Output files come last, so
// that a mistake elsewhere truncates none.
func (h *Host) prepare(c *spec.Child, incarnation uint64) (*order, error) {
	if len(c.Command) == 0 {
		return nil, errors.New("the command is empty")
	}
	for _, arg := range c.Command {
		if strings.Contains(arg, "\x00") {
			return nil, fmt.Errorf("the argument %q of the command holds a NUL", arg)
		}
	}
	as, err := resolveAccount(c)
	if err != nil {
		return nil, err
	}
	env, err := h.environ(c, incarnation, as)
	if err != nil {
		return nil, err
	}
	if err := checkDir(c.Dir, as); err != nil {
		return nil, err
	}
	path, ok := env.get("PATH")
	if !ok {
		path = defaultPath
	}
	command, err := findCommand(c.Command[0], c.Dir, path)
	if err != nil {
		return nil, err
	}
	out, err := h.openStreams(c, incarnation, as)
	if err != nil {
		return nil, err
	}
	return &order{path: command, argv: c.Command, env: env.entries, dir: c.Dir, as: as, streams: out}, nil
}

// checkDir tells why the working directory cannot be entered. What it misses
// (the rights of another user) exec reports.
func checkDir(dir string, as *account) error {
	if dir == "" {
		return nil
	}
	st, err := os.Stat(dir)
	if err == nil && !st.IsDir() {
		err = unix.ENOTDIR
	}
	if err == nil && as.credential() == nil {
		err = unix.Access(dir, unix.X_OK)
	}
	if err == nil {
		return nil
	}
	return &os.PathError{Op: "chdir", Path: dir, Err: errnoOf(err)}
}

// findCommand returns what to execute, relative to dir if it is relative. A
// name without a slash is looked for in path, whose relative entries are
// relative to dir as well, since the child is there when it is executed.
func findCommand(name, dir, path string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	if name == "" {
		return "", errors.New("the command's name is empty")
	}
	var unusable error
	for _, entry := range filepath.SplitList(path) {
		if entry == "" {
			entry = "."
		}
		candidate := entry + "/" + name
		st, err := os.Stat(inDir(dir, candidate))
		switch {
		case err != nil:
		case st.IsDir():
		case st.Mode()&0o111 == 0:
			unusable = fmt.Errorf("exec %s: %w (it is not executable)", candidate, unix.EACCES)
		default:
			return candidate, nil
		}
	}
	if unusable != nil {
		return "", unusable
	}
	return "", fmt.Errorf("exec %s: %w in PATH=%s", name, unix.ENOENT, path)
}

func inDir(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// run forks and executes directly.
func (h *Host) run(o *order) (pid int, err error) {
	pid, err = h.forkers.start(o.path, o.argv, &syscall.ProcAttr{
		Dir:   o.dir,
		Env:   o.env,
		Files: o.files(),
		Sys:   o.intoCgroup(&syscall.SysProcAttr{Setpgid: true, Credential: o.as.credential()}),
	})
	if err != nil {
		return 0, o.explain(err)
	}
	return pid, nil
}

func (o *order) files() []uintptr {
	fds := o.streams.fds
	return []uintptr{uintptr(fds[0]), uintptr(fds[1]), uintptr(fds[2])}
}

// explain says what an errno of StartProcess is about. It may come from any
// system call between fork and exec.
func (o *order) explain(err error) error {
	switch errnoOf(err) {
	case unix.EMFILE, unix.ENFILE, unix.ENOMEM:
		return fmt.Errorf("fork for %s: %w", o.path, err)
	case unix.EAGAIN:
		return fmt.Errorf("fork for %s: %w (the limit of processes is reached)", o.path, err)
	case unix.EPERM:
		if o.as.credential() != nil && os.Geteuid() != 0 {
			return fmt.Errorf("run as %s: %w (the server is not root)", o.as.label, err)
		}
	case unix.EACCES:
		if o.as.credential() != nil {
			return fmt.Errorf("enter %s and exec %s as %s: %w", o.dir, o.path, o.as.label, err)
		}
	}
	return explainExec(o.path, o.dir, err)
}

// explainExec says why execve(2) refused a file.
func explainExec(path, dir string, err error) error {
	failed := &os.PathError{Op: "exec", Path: path, Err: err}
	file := inDir(dir, path)
	st, serr := os.Stat(file)
	if serr != nil {
		return failed
	}
	switch errnoOf(err) {
	case unix.EACCES:
		if st.IsDir() {
			return fmt.Errorf("%w (it is a directory)", failed)
		}
		if st.Mode()&0o111 == 0 {
			return fmt.Errorf("%w (it is not executable)", failed)
		}
	case unix.ENOENT:
		if name := interpreter(file); name != "" {
			return fmt.Errorf("%w (its interpreter %s is missing)", failed, name)
		}
		return fmt.Errorf("%w (the file is there, the loader it needs is missing)", failed)
	case unix.ENOEXEC:
		head := readHead(file)
		switch {
		case len(head) == 0:
			return fmt.Errorf("%w (the file is empty)", failed)
		case bytes.HasPrefix(head, []byte("\x7fELF")):
			return fmt.Errorf("%w (it is built for another machine)", failed)
		}
		return fmt.Errorf("%w (no #! line)", failed)
	}
	return failed
}

// interpreter returns the path in the #! line of a script.
func interpreter(file string) string {
	line, _, _ := bytes.Cut(readHead(file), []byte("\n"))
	rest, ok := bytes.CutPrefix(line, []byte("#!"))
	fields := bytes.Fields(rest)
	if !ok || len(fields) == 0 {
		return ""
	}
	// A script from Windows ends its line with a carriage return, which the
	// kernel takes for a part of the name: show it.
	if name := string(fields[0]); !bytes.HasSuffix(line, []byte("\r")) {
		return name
	}
	return strconv.Quote(string(bytes.TrimLeft(rest, " \t")))
}

// readHead reads the beginning of a regular file; nothing if it cannot.
func readHead(file string) []byte {
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	head := make([]byte, 256)
	n, err := unix.Read(fd, head)
	if err != nil {
		return nil
	}
	return head[:n]
}

// destroy kills and reaps a process of ours that was launched but cannot be
// watched. What it was to run may have begun.
func destroy(pid int) error {
	unix.Kill(-pid, unix.SIGKILL)
	unix.Kill(pid, unix.SIGKILL)
	if fd, err := unix.PidfdOpen(pid, 0); err == nil {
		defer unix.Close(fd)
		if !dies(fd) {
			return fmt.Errorf("PID %d does not die of SIGKILL", pid)
		}
	}
	for {
		if _, err := unix.Wait4(pid, nil, 0, nil); err != unix.EINTR {
			return nil
		}
	}
}

// dies waits for the end of a process that was killed, for killPatience at most.
func dies(pidfd int) bool {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	deadline := time.Now().Add(killPatience)
	for {
		n, err := unix.Poll(fds, int(max(0, time.Until(deadline).Milliseconds())))
		if err != unix.EINTR {
			return n > 0
		}
	}
}

func errnoOf(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// hideDescriptors marks every descriptor from 3 on close-on-exec.
func hideDescriptors() error {
	err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	if err != unix.ENOSYS && err != unix.EINVAL {
		return err
	}
	// Before Linux 5.11.
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}
