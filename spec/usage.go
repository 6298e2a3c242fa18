package spec

// Usage is what a live process has used, read from /proc.
type Usage struct {
	// CPUSeconds is user and system time since the process began.
	CPUSeconds float64
	// ResidentBytes is its resident set.
	ResidentBytes uint64
	// OpenFiles is the number of its open descriptors.
	OpenFiles int
}
