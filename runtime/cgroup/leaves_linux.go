package cgroup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Leaf returns the group that had this Path, which may be gone by now. It is
// nil unless every directory in it lies below a mount of control groups, in a
// base directory of this server's id: a damaged file must not make the server
// kill strangers. It does no I/O.
func (t *Tree) Leaf(path string) *Leaf {
	l := &Leaf{tree: t, cloneFD: -1}
	if path == "" || !validID(t.id) {
		return nil
	}
	for line := range strings.SplitSeq(path, "\n") {
		h, ok := t.hierarchyOf(line)
		base, name := filepath.Split(line)
		if !ok || filepath.Clean(line) != line || filepath.Base(base) != basePrefix+t.id {
			return nil
		}
		if _, _, ok := parseLeafName(name); !ok || l.name != "" && l.name != name {
			return nil
		}
		l.name = name
		l.dirs = append(l.dirs, dir{hierarchy: h, path: line})
	}
	return l
}

// hierarchyOf finds the one below whose mount the path lies; of mounts within
// one another the inner one.
func (t *Tree) hierarchyOf(path string) (found hierarchy, ok bool) {
	for _, h := range t.machine.hierarchies {
		if strings.HasPrefix(path, strings.TrimSuffix(h.mount, "/")+"/") && len(h.mount) > len(found.mount) {
			found, ok = h, true
		}
	}
	return found, ok
}

// Leaves returns all groups of this server's id, also those that a former
// server made while it was elsewhere in the tree. With an error it returns what
// it could find.
func (t *Tree) Leaves() ([]*Leaf, error) {
	leaves, _, err := t.leaves()
	return leaves, err
}

// leaves is Leaves, and returns the base directories, too: a look for them goes
// through all groups of the machine.
func (t *Tree) leaves() (leaves []*Leaf, all []string, err error) {
	if !validID(t.id) {
		return nil, nil, nil
	}
	found := map[string]*Leaf{}
	var errs []error
	for _, h := range t.searched() {
		bases, err := t.bases(h)
		errs = append(errs, err)
		all = append(all, bases...)
		for _, base := range bases {
			names, err := subdirectories(base)
			errs = append(errs, err)
			for _, name := range names {
				if _, _, ok := parseLeafName(name); !ok {
					continue
				}
				l := found[name]
				if l == nil {
					l = &Leaf{tree: t, name: name, cloneFD: -1}
					found[name] = l
					leaves = append(leaves, l)
				}
				l.dirs = append(l.dirs, dir{hierarchy: h, path: filepath.Join(base, name)})
			}
		}
	}
	return leaves, all, errors.Join(errs...)
}

// searched are the hierarchies in the order of the directories of a Leaf: what
// holds the processes comes first.
func (t *Tree) searched() []hierarchy {
	all := slices.Clone(t.machine.hierarchies)
	rank := func(h hierarchy) int {
		switch {
		case h.v2:
			return 0
		case h.has("freezer"):
			return 1
		case h.has("pids"):
			return 2
		}
		return 3
	}
	slices.SortStableFunc(all, func(a, b hierarchy) int { return rank(a) - rank(b) })
	return all
}

// bases finds the base directories of this server anywhere in a hierarchy.
func (t *Tree) bases(h hierarchy) (bases []string, err error) {
	var errs []error
	var walk func(dir string)
	walk = func(dir string) {
		names, err := subdirectories(dir)
		if err != nil && !errors.Is(err, fs.ErrPermission) {
			errs = append(errs, err)
		}
		for _, name := range names {
			path := filepath.Join(dir, name)
			if name == basePrefix+t.id {
				bases = append(bases, path)
			}
			walk(path)
		}
	}
	walk(h.mount)
	return bases, errors.Join(errs...)
}

// childless is how many links the directory of a group has with no other below it.
const childless = 2

// subdirectories lists them; a directory that is gone has none. The kernel
// counts them in the links of a group's directory, so that most are not read.
func subdirectories(dir string) ([]string, error) {
	var stat unix.Stat_t
	if err := unix.Lstat(dir, &stat); err == nil && stat.Nlink == childless {
		return nil, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// Tidy removes the groups in which nothing lives and which keep refuses, and
// the bases that are empty then. Groups between Make and Release stay.
func (t *Tree) Tidy(keep func(child string, incarnation uint64) bool) {
	leaves, bases, err := t.leaves()
	if err != nil {
		t.log.Warn("cgroups not listed", "error", err)
	}
	for _, l := range leaves {
		if keep(l.Run()) {
			continue
		}
		if empty, err := l.Empty(); err != nil || !empty || t.isLaunching(l.name) {
			continue
		}
		if err := l.Remove(); err != nil {
			t.log.Debug("cgroup not removed", "error", err)
		}
	}
	for _, base := range bases {
		removeBase(base)
	}
}

func (t *Tree) isLaunching(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.launching[name] != nil
}

// removeBase removes a base directory, unless there is something in it: a run,
// or the server itself.
func removeBase(base string) {
	_ = unix.Rmdir(filepath.Join(base, supervisor))
	_ = unix.Rmdir(base)
}
