package cgroup

import "time"

// Usage is what the processes of a group have used.
type Usage struct {
	// CPU is user and system time, that of processes that have ended included.
	CPU time.Duration
	// Memory is in bytes, without the pages of files that are not in use.
	Memory uint64
	// KnowsCPU and KnowsMemory tell whether the kernel counts it for this group.
	KnowsCPU, KnowsMemory bool
}

// Usage reads what the kernel counts for l, with the groups that the child made
// below it. On cgroup2 the time is always there, and memory where some run has a
// limit of it; on v1 memory of a run that has such a limit itself.
func (l *Leaf) Usage() Usage {
	var u Usage
	for _, d := range l.dirs {
		if !u.KnowsCPU && d.v2 {
			us, err := readKey(d.path, "cpu.stat", "usage_usec")
			u.CPU, u.KnowsCPU = time.Duration(us)*time.Microsecond, err == nil
		}
		if !u.KnowsMemory {
			u.Memory, u.KnowsMemory = d.memory()
		}
	}
	return u
}

// memory is what a directory's group uses of it. The pages that the kernel would
// take back first are left out: else whatever has written much looks as if it
// were large. cgroup-v2.rst, "memory.stat", and cgroup-v1/memory.rst, 5.2.
func (d dir) memory() (bytes uint64, known bool) {
	current, inactive := "memory.current", "inactive_file"
	if !d.v2 {
		if !d.has("memory") {
			return 0, false
		}
		current, inactive = "memory.usage_in_bytes", "total_inactive_file"
	}
	bytes, err := readNumber(d.path, current)
	if err != nil {
		return 0, false
	}
	idle, err := readKey(d.path, "memory.stat", inactive)
	if err != nil || idle > bytes {
		return bytes, true
	}
	return bytes - idle, true
}
