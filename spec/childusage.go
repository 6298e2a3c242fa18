package spec

import "time"

// ChildUsage is what the live run of a child uses, all its processes together.
type ChildUsage struct {
	Name        string `json:"name"`
	Incarnation uint64 `json:"incarnation"`
	// CPUSeconds is user and system time since the run began. Without a cgroup it
	// lacks what processes used that have ended and that nobody of the run has
	// waited for, so it can become smaller.
	CPUSeconds float64 `json:"cpu_seconds"`
	// MemoryBytes is what the kernel could not take back at once: of a cgroup all
	// memory without the pages of files that nobody used of late, else the sum of
	// the resident sets, in which shared pages count once for each process.
	MemoryBytes uint64    `json:"memory_bytes"`
	Processes   int       `json:"processes"`
	SampledAt   time.Time `json:"sampled_at"`
}
