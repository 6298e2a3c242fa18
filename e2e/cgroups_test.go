package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// group is the test's own control group in one hierarchy of this host.
type group struct {
	// controllers is empty for cgroup2.
	controllers []string
	dir         string
}

func ownGroups() []group {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	var groups []group
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(fields) < 3:
		case fields[1] == "":
			// The second is where a hybrid host has it.
			for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
				groups = append(groups, group{nil, filepath.Join(mount, fields[2])})
			}
		default:
			for controller := range strings.SplitSeq(fields[1], ",") {
				groups = append(groups, group{[]string{controller}, filepath.Join("/sys/fs/cgroup", controller, fields[2])})
			}
		}
	}
	return groups
}

// canLimit tells whether this host lets the tests make control groups that limit
// memory, processors and tasks.
func canLimit() bool {
	found := map[string]bool{}
	for _, g := range ownGroups() {
		controllers := g.controllers
		if controllers == nil {
			controllers = handedDown(g.dir)
		}
		if !canMake(g.dir) {
			continue
		}
		for _, controller := range controllers {
			found[controller] = true
		}
	}
	return found["memory"] && found["cpu"] && found["pids"]
}

var basePattern = regexp.MustCompile(`/kita-[0-9a-f]+`)

// removeGroups removes the control groups of a server that ended before its
// children did, when nobody is left to do it, and returns them. containment is
// what info said.
func removeGroups(containment string) (removed []string, err error) {
	base := basePattern.FindString(containment)
	if base == "" {
		return nil, nil
	}
	var errs []error
	for _, g := range ownGroups() {
		var dirs []string
		entries, _ := os.ReadDir(g.dir + base)
		for _, e := range entries {
			if e.IsDir() {
				dirs = append(dirs, filepath.Join(g.dir+base, e.Name()))
			}
		}
		for _, dir := range append(dirs, g.dir+base) {
			switch err := os.Remove(dir); {
			case err == nil:
				removed = append(removed, dir)
			case !os.IsNotExist(err):
				errs = append(errs, err)
			}
		}
	}
	return removed, errors.Join(errs...)
}

// handedDown are the controllers that a group of cgroup2 can give to those below
// it: the root can always switch them on, another only if it has no processes.
func handedDown(dir string) []string {
	file := "cgroup.subtree_control"
	if _, err := os.Stat(filepath.Join(dir, "cgroup.type")); err != nil {
		file = "cgroup.controllers"
	}
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return nil
	}
	return strings.Fields(string(text))
}

func canMake(dir string) bool {
	probe, err := os.MkdirTemp(dir, "e2e")
	if err != nil {
		return false
	}
	return os.Remove(probe) == nil
}
