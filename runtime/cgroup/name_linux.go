package cgroup

// ParsePath finds the run in the text of /proc/PID/cgroup.
func ParsePath(procCgroup string) (id, child string, incarnation uint64, ok bool) {
	return "", "", 0, false
}
