package spec

// DiffState is how the file of a child and its process stand.
type DiffState string

const (
	// DiffUnchanged: it runs with what its file says, but for what is DiffLive, or has
	// run so to its successful end.
	DiffUnchanged DiffState = "unchanged"
	// DiffChanged: a new start would apply something.
	DiffChanged DiffState = "changed"
	// DiffNotRunning: it does not run, and would be started with Command.
	DiffNotRunning DiffState = "not-running"
	// DiffNew: the same of a child that was never started.
	DiffNew DiffState = "new"
	// DiffBroken: its file cannot be used, or its hooks cannot be followed.
	DiffBroken DiffState = "broken"
	// DiffGone: it runs, and its file is gone.
	DiffGone DiffState = "gone"
)

// ChildDiff is what the file of a child says now against what its process was
// started with. It has no secrets.
type ChildDiff struct {
	Child string    `json:"child"`
	State DiffState `json:"state"`
	Phase Phase     `json:"phase"`
	// PID is 0 when no process is alive.
	PID int `json:"pid,omitempty"`
	// Error is what is wrong with the file, a line for each error.
	Error string `json:"error,omitempty"`
	// Command is what a child is to be started with that does not run.
	Command string `json:"command,omitempty"`
	// Differences are there where it runs and has a good file.
	Differences []Difference `json:"differences"`
}
