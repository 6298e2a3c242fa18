package cgroup

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// hierarchy is one tree of groups that this process sees.
type hierarchy struct {
	// controllers are those of a v1 hierarchy. v2 has none here.
	controllers []string
	v2          bool
	// mount shows the hierarchy from the directory root on.
	mount, root string
	// own is the directory of this process's group, empty if out of sight.
	own string
}

// held are the controllers of v1 that a Tree has a use for.
var held = []string{"freezer", "pids", "memory", "cpu"}

// machine is what Open works on. A test can take something away from it.
type machine struct {
	hierarchies []hierarchy
	// clone: clone3(2) can put a new process into a group.
	clone bool
	// killFile: cgroup.kill may be there.
	killFile bool
	// write writes to a file of a group.
	write func(dir, file, text string) error
}

// thisMachine returns what there is; why says what could not be read.
func thisMachine() (m machine, why error) {
	m = machine{clone: canCloneInto(), killFile: true, write: writeFile}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return m, err
	}
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return m, err
	}
	m.hierarchies = hierarchies(string(mounts), string(groups))
	return m, nil
}

// hierarchies reads the two files of /proc/self, see proc_pid_mountinfo(5) and
// cgroups(7). Of several mounts of one hierarchy it takes the first that shows
// this process's own group.
func hierarchies(mountinfo, procCgroup string) []hierarchy {
	own := ownPaths(procCgroup)
	var found []hierarchy
	for line := range strings.Lines(mountinfo) {
		h, ok := parseMount(line)
		if !ok {
			continue
		}
		h.own = visible(h, own[strings.Join(h.controllers, ",")])
		same := slices.IndexFunc(found, func(f hierarchy) bool {
			return f.v2 == h.v2 && slices.Equal(f.controllers, h.controllers)
		})
		switch {
		case same < 0:
			found = append(found, h)
		case found[same].own == "":
			found[same] = h
		}
	}
	return found
}

// ownPaths maps the controllers of a hierarchy, sorted, to this process's path.
func ownPaths(procCgroup string) map[string]string {
	own := map[string]string{}
	for line := range strings.Lines(procCgroup) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(fields) < 3 {
			continue
		}
		controllers := strings.Split(fields[1], ",")
		slices.Sort(controllers)
		own[strings.Join(controllers, ",")] = fields[2]
	}
	return own
}

// parseMount reads a line of mountinfo: ID parent major:minor ROOT MOUNT options
// optional... - TYPE source OPTIONS. The options name the controllers of v1.
func parseMount(line string) (h hierarchy, ok bool) {
	front, back, found := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
	fields, kind := strings.Fields(front), strings.Fields(back)
	if !found || len(fields) < 5 || len(kind) < 3 {
		return h, false
	}
	h.root, h.mount = unescapeMount(fields[3]), unescapeMount(fields[4])
	switch kind[0] {
	case "cgroup2":
		h.v2 = true
	case "cgroup":
		options := strings.Split(kind[2], ",")
		if !slices.ContainsFunc(options, func(o string) bool { return slices.Contains(held, o) }) {
			return h, false
		}
		h.controllers = slices.DeleteFunc(options, notAController)
		slices.Sort(h.controllers)
	default:
		return h, false
	}
	// A line of Path is one directory.
	return h, !strings.Contains(h.mount, "\n")
}

// notAController tells the other options of a v1 mount: "rw", "xattr",
// "release_agent=/lib/…" and the like.
func notAController(option string) bool {
	return slices.Contains([]string{"rw", "ro", "xattr", "noprefix", "clone_children", "cpuset_v2_mode", "favordynmods"}, option) ||
		strings.HasPrefix(option, "release_agent=")
}

// visible finds the directory for a path of the hierarchy in a mount that shows
// it from its root on, or nothing: a container may see a path that begins with /..
func visible(h hierarchy, path string) string {
	if path == "" || strings.Contains(path+"/", "/../") || strings.Contains(path, "\n") {
		return ""
	}
	below, err := filepath.Rel(h.root, path)
	if err != nil || below == ".." || strings.HasPrefix(below, "../") {
		return ""
	}
	return filepath.Join(h.mount, below)
}

// unescapeMount undoes the octal escapes of mountinfo, such as \040.
func unescapeMount(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// has tells whether the v1 hierarchy h has the controller.
func (h hierarchy) has(controller string) bool { return slices.Contains(h.controllers, controller) }
