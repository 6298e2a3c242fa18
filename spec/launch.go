package spec

import (
	"errors"
	"time"
)

// ErrGone is what a Runtime's Adopt returns when the process meant is not
// alive. Any other error leaves open whether it is.
var ErrGone = errors.New("the process is gone")

// Launch is what a start made.
type Launch struct {
	Identity Identity `json:"identity"`
	// Cgroup names the control groups that hold the run, in the runtime's own
	// notation; empty where there are none.
	Cgroup string `json:"cgroup,omitempty"`
	// Warnings say what the child asked for and the machine cannot give, one
	// line each.
	Warnings []string `json:"warnings,omitempty"`
	// Outputs are the files that its streams go to; a stream that is not in it
	// is the server's own.
	Outputs []Output `json:"outputs,omitempty"`
}

// Found is a run that left traces on this machine: a live process, or the
// record of an end that nobody has taken note of yet.
type Found struct {
	// Child and the incarnation in Launch.Identity may be empty and 0 in the
	// record of an end that was seen by its PID alone.
	Child  string
	Launch Launch
	// StartedAt is when its leader began, to a hundredth of a second.
	StartedAt time.Time
	// Exit is nil while the process lives.
	Exit *Exit
}

// Resources are limits on everything that a child runs together. The zero
// value of each is no limit.
type Resources struct {
	// Memory is the most bytes of memory; beyond it processes are killed.
	Memory uint64 `json:"memory,omitempty"`
	// MilliCPU is the most processor time, in thousandths of one processor.
	MilliCPU uint64 `json:"milli_cpu,omitempty"`
	// Tasks is the most processes and threads.
	Tasks uint64 `json:"tasks,omitempty"`
}
