package cgroup

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Leaf is the group of one run: a directory, or one in each of several
// hierarchies. Its methods may be called by any goroutine.
type Leaf struct {
	tree *Tree
	// name is that of all its directories.
	name string
	// dirs are set before anyone else has the Leaf. What holds the processes
	// is the first.
	dirs []dir

	mu sync.Mutex
	// cloneFD is, under mu, -1 where there is none.
	cloneFD int
}

// dir is a directory of a Leaf.
type dir struct {
	hierarchy
	path string
}

// Path names all directories of l, a line each, for Tree.Leaf of a later server
// of the same id.
func (l *Leaf) Path() string {
	paths := make([]string, len(l.dirs))
	for i, d := range l.dirs {
		paths[i] = d.path
	}
	return strings.Join(paths, "\n")
}

// Run says whose the group is.
func (l *Leaf) Run() (child string, incarnation uint64) {
	child, incarnation, _ = parseLeafName(l.name)
	return child, incarnation
}

// CloneFD is a descriptor of the cgroup2 directory, for CLONE_INTO_CGROUP; -1
// when there is none, and JoinFiles are the only way in. It is valid until
// Release.
func (l *Leaf) CloneFD() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cloneFD
}

// Release closes CloneFD, and gives the group over to Tidy. A second call does
// nothing.
func (l *Leaf) Release() {
	l.mu.Lock()
	if l.cloneFD >= 0 {
		unix.Close(l.cloneFD)
	}
	l.cloneFD = -1
	l.mu.Unlock()
	l.tree.mu.Lock()
	defer l.tree.mu.Unlock()
	if l.tree.launching[l.name] == l {
		delete(l.tree.launching, l.name)
	}
}

// JoinFiles are the files into which a process writes "0" to join what clone
// did not put it in. It does so before it gives up privileges.
func (l *Leaf) JoinFiles() []string {
	var files []string
	for _, d := range l.dirs {
		if !d.v2 || l.CloneFD() < 0 {
			files = append(files, filepath.Join(d.path, "cgroup.procs"))
		}
	}
	return files
}

// OOMKills counts the processes that the kernel killed because this group had
// no memory left: oom_kill of memory.events, or of memory.oom_control on v1
// (Linux 4.13), with the groups that the child made. known is false when
// nobody counts, which is so for a run without limits.memory.
func (l *Leaf) OOMKills() (n uint64, known bool) {
	for _, d := range l.dirs {
		if d.v2 {
			if !l.tree.countsOOM(d) {
				continue
			}
			if killed, err := readKey(d.path, "memory.events", "oom_kill"); err == nil {
				return killed, true
			}
			continue
		}
		if !d.has("memory") {
			continue
		}
		// v1 counts a kill only in the group of the process that was killed.
		_ = d.walk(func(path string) error {
			if killed, err := readKey(path, "memory.oom_control", "oom_kill"); err == nil {
				n, known = n+killed, true
			}
			return nil
		})
	}
	return n, known
}

// Remove removes the directories, and those that the child made below them. One
// that is gone is no error; one in which something lives is.
func (l *Leaf) Remove() error {
	var errs []error
	for _, d := range l.dirs {
		errs = append(errs, d.remove())
	}
	return errors.Join(errs...)
}

func (d dir) remove() error {
	// Most have nothing below them.
	if rmdir(d.path) == nil {
		return nil
	}
	return d.walk(rmdir)
}

// RemoveEmpty removes l if nothing is in it, neither a process nor a group that
// the child made, for a third of what Empty and Remove take. False: something is,
// or that cannot be told.
func (l *Leaf) RemoveEmpty() bool {
	for _, d := range l.dirs {
		// The kernel removes no group in which something lives.
		if rmdir(d.path) != nil {
			return false
		}
	}
	return true
}

// walk visits d and the directories below it, the deepest first, and joins the
// errors.
func (d dir) walk(visit func(path string) error) error {
	var errs []error
	var down func(path string)
	down = func(path string) {
		names, err := subdirectories(path)
		if err != nil {
			errs = append(errs, err)
		}
		for _, name := range names {
			down(filepath.Join(path, name))
		}
		errs = append(errs, visit(path))
	}
	down(d.path)
	return errors.Join(errs...)
}

// gone tells that a directory or a file of a group is no more. An open file of
// a removed group answers ENODEV.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) }
