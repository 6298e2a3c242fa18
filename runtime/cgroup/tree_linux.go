package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// Options say whose groups a Tree holds.
type Options struct {
	// ID is the server's id: hexadecimal in lower case, at most 64 digits.
	ID string
	// Logger gets what nobody can be told as an error; nil discards it.
	Logger *slog.Logger
	// Self are the processes besides this one that belong to the server, such
	// as its keeper. On cgroup2 the server's own group must lose its processes
	// before a child can have a limit; these and the server itself are moved,
	// and where there are others the limit is not in force.
	Self []int
}

// Kind is what holds the processes of a run together.
type Kind string

// The kinds of trees.
const (
	// V2: a group of cgroup2 for each run.
	V2 Kind = "cgroup2"
	// V1: a group for each run in the v1 hierarchies freezer and pids, or in
	// one of them.
	V1 Kind = "cgroup1"
	// None: this machine lets the server make no groups.
	None Kind = "none"
)

// Tree holds the groups of one server. Its methods may be called by any
// goroutine.
type Tree struct {
	id      string
	log     *slog.Logger
	self    []int
	machine machine
	kind    Kind
	// holders are the hierarchies in which every run gets a group, the first
	// being the one that counts; none if kind is None.
	holders []hierarchy
	// why says why kind is None.
	why string
	// oom is what countsOOM knows.
	oom atomic.Int32

	mu sync.Mutex
	// launching has, under mu, the groups that were made and not released.
	launching map[string]*Leaf
}

// Open finds out what the machine offers by making a base directory and
// removing it again. It never fails: where no groups can be had it returns a
// Tree of the kind None, whose String says why.
func Open(o Options) *Tree {
	m, err := thisMachine()
	t := open(o, m)
	if err != nil {
		t.why = "/proc/self cannot be read: " + oneLine(err)
	}
	return t
}

func open(o Options, m machine) *Tree {
	t := &Tree{id: o.ID, log: o.Logger, self: o.Self, machine: m, kind: None, launching: map[string]*Leaf{}}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	if !validID(o.ID) {
		t.why = fmt.Sprintf("%q is no server id", o.ID)
		return t
	}
	reasons := []string{}
	for _, h := range m.hierarchies {
		if t.kind == V2 || !h.v2 && !h.has("freezer") && !h.has("pids") {
			continue
		}
		if err := t.probe(h); err != nil {
			reasons = append(reasons, oneLine(err))
			continue
		}
		switch {
		case h.v2:
			t.kind, t.holders = V2, []hierarchy{h}
		case h.has("freezer"):
			// Its list of processes comes with a way to stop them all.
			t.kind, t.holders = V1, append([]hierarchy{h}, t.holders...)
		default:
			t.kind, t.holders = V1, append(t.holders, h)
		}
	}
	if len(reasons) == 0 {
		reasons = append(reasons, "neither cgroup2 nor the v1 hierarchies freezer and pids are mounted")
	}
	t.why = strings.Join(reasons, "; ")
	return t
}

// probe tells why no runs can be held in the hierarchy.
func (t *Tree) probe(h hierarchy) error {
	if h.own == "" {
		return fmt.Errorf("%s: the server's own group is not below this mount", h.mount)
	}
	base := t.base(h)
	switch err := unix.Mkdir(base, 0o755); {
	case err == nil:
		defer unix.Rmdir(base)
	case !errors.Is(err, fs.ErrExist):
		return &fs.PathError{Op: "mkdir", Path: base, Err: err}
	}
	// To bring a process into a group takes the right to write this file both
	// there and in the nearest group above that also has the place it comes
	// from, see cgroups(7), "Delegation".
	targets := []string{base}
	if h.v2 {
		targets = append(targets, filepath.Dir(base))
		if kind, err := readFile(base, "cgroup.type"); err == nil && strings.TrimSpace(string(kind)) != "domain" {
			return fmt.Errorf("%s: the server's own group is threaded", filepath.Dir(base))
		}
	}
	for _, dir := range targets {
		file := filepath.Join(dir, "cgroup.procs")
		if err := unix.Faccessat(unix.AT_FDCWD, file, unix.W_OK, unix.AT_EACCESS); err != nil {
			return &fs.PathError{Op: "write", Path: file, Err: err}
		}
	}
	return nil
}

// base is the directory for the runs of this server. A server that once moved
// aside, and each that its keeper starts from then on, is below it.
func (t *Tree) base(h hierarchy) string {
	above, last := filepath.Split(h.own)
	if last == supervisor && filepath.Base(above) == basePrefix+t.id {
		return filepath.Clean(above)
	}
	return filepath.Join(h.own, basePrefix+t.id)
}

// Kind says what holds the processes of a run together.
func (t *Tree) Kind() Kind { return t.kind }

// String is a line for people: the kind and the base directories, or none and
// the reason.
func (t *Tree) String() string {
	if t.kind == None {
		return "none: " + t.why
	}
	words := []string{string(t.kind)}
	for _, h := range t.holders {
		words = append(words, t.base(h))
	}
	return strings.Join(words, " ")
}

// Make makes the group of a run and sets its limits. It keeps no child from
// starting: a group that the kernel refuses, for whatever reason, is a nil Leaf
// and a warning, and a limit that cannot be set is a warning. Each is one line.
// Of the kind None the Leaf is nil, and only limits are warned of. The error is
// a name that no child can have.
//
// Release the Leaf once the process was launched or could not be; until then no
// Tidy removes it.
func (t *Tree) Make(child string, incarnation uint64, want spec.Resources) (l *Leaf, warnings []string, err error) {
	name, err := leafName(child, incarnation)
	if err != nil {
		return nil, nil, err
	}
	if t.kind == None {
		return nil, unmet(want, "no cgroups ("+t.why+")"), nil
	}
	l = &Leaf{tree: t, name: name, cloneFD: -1}
	t.mu.Lock()
	t.launching[name] = l
	t.mu.Unlock()
	if err := l.build(); err != nil {
		l.Release()
		warnings = append(warnings, "the processes of this run are not held in a cgroup: "+oneLine(err))
		return nil, append(warnings, unmet(want, "no cgroup for this run")...), nil
	}
	return l, l.limit(want), nil
}

// build makes the directories of l that every run has.
func (l *Leaf) build() error {
	for _, h := range l.tree.holders {
		dir, err := l.tree.makeDir(h, l.name)
		if err != nil {
			l.Remove()
			return err
		}
		l.dirs = append(l.dirs, dir)
	}
	if l.tree.kind != V2 || !l.tree.machine.clone {
		return nil
	}
	fd, err := unix.Open(l.dirs[0].path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		// Out of descriptors, say. The process can join by itself.
		l.tree.log.Debug("cgroup not opened", "path", l.dirs[0].path, "error", err)
		return nil
	}
	l.cloneFD = fd
	return nil
}

// makeDir makes the directory of a run in one hierarchy, and the base above it.
// What a former run of that name left is removed, if nothing lives in it.
func (t *Tree) makeDir(h hierarchy, name string) (dir, error) {
	base := t.base(h)
	d := dir{hierarchy: h, path: filepath.Join(base, name)}
	var err error
	// The base can go between two calls, when another goroutine tidies.
	for range 3 {
		switch err = unix.Mkdir(d.path, 0o755); {
		case err == nil:
			return d, nil
		case errors.Is(err, fs.ErrNotExist):
			if err := unix.Mkdir(base, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return d, &fs.PathError{Op: "mkdir", Path: base, Err: err}
			}
		case errors.Is(err, fs.ErrExist):
			if err := d.remove(); err != nil {
				return d, err
			}
		default:
			return d, &fs.PathError{Op: "mkdir", Path: d.path, Err: err}
		}
	}
	return d, &fs.PathError{Op: "mkdir", Path: d.path, Err: err}
}

// Close gives descriptors back, and removes the base directories if they are
// empty. It touches no group with a run in it.
func (t *Tree) Close() {
	t.mu.Lock()
	var open []*Leaf
	for _, l := range t.launching {
		open = append(open, l)
	}
	t.mu.Unlock()
	for _, l := range open {
		l.Release()
	}
	for _, h := range t.machine.hierarchies {
		if h.own != "" && validID(t.id) {
			removeBase(t.base(h))
		}
	}
}

// oneLine keeps a message to one line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
