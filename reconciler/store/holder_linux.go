package store

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// holderOfRemoved returns a process that has locked a file which was removed from
// path; 0 where none is found. /proc/locks names few processes, of these the open
// files are looked at.
func holderOfRemoved(path string) int {
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(dir, filepath.Base(path))
	}
	text, err := os.ReadFile("/proc/locks")
	if err != nil {
		return 0
	}
	seen := map[int]bool{0: true, -1: true, os.Getpid(): true}
	for line := range strings.Lines(string(text)) {
		// 1: FLOCK  ADVISORY  WRITE 708 00:1b:713 0 EOF; one that waits has an
		// arrow behind its number. See proc_locks(5).
		fields := strings.Fields(line)
		if len(fields) < 5 || fields[1] != "FLOCK" || fields[3] != "WRITE" {
			continue
		}
		pid, err := strconv.Atoi(fields[4])
		if err != nil || seen[pid] {
			continue
		}
		seen[pid] = true
		if hasRemoved(pid, path) {
			return pid
		}
	}
	return 0
}

// hasRemoved tells whether a process has the file open that was at path.
func hasRemoved(pid int, path string) bool {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, e := range entries {
		// What the kernel appends, see proc_pid_fd(5).
		if link, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && link == path+" (deleted)" {
			return true
		}
	}
	return false
}
