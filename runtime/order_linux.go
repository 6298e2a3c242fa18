package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"kita/runtime/cgroup"
	"kita/spec"
)

// defaultPath is searched for a command when the child's environment has no
// PATH at all.
const defaultPath = "/usr/local/bin:/usr/bin:/bin"

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

func (o *order) files() []uintptr {
	fds := o.streams.fds
	return []uintptr{uintptr(fds[0]), uintptr(fds[1]), uintptr(fds[2])}
}
