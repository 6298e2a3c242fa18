package e2e

import (
	"os"
	"path/filepath"
	"strings"
)

// canLimit tells whether this host lets the tests make control groups that limit
// memory, processors and tasks.
func canLimit() bool {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return false
	}
	found := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) < 3 {
			continue
		}
		if fields[1] == "" {
			for _, controller := range handedDown(filepath.Join("/sys/fs/cgroup", fields[2])) {
				found[controller] = true
			}
			continue
		}
		for controller := range strings.SplitSeq(fields[1], ",") {
			found[controller] = found[controller] || canMake(filepath.Join("/sys/fs/cgroup", controller, fields[2]))
		}
	}
	return found["memory"] && found["cpu"] && found["pids"]
}

// handedDown are the controllers that a group of cgroup2 can give to those below
// it: the root can always switch them on, another only if it has no processes.
func handedDown(dir string) []string {
	file := "cgroup.subtree_control"
	if _, err := os.Stat(filepath.Join(dir, "cgroup.type")); err != nil {
		file = "cgroup.controllers"
	}
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil || !canMake(dir) {
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
