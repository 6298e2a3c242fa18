package spec

import "time"

// Run is whether a child is wanted to run. The zero value is no wish: nobody
// asked since the boot, or the server was ended by the command kill while it
// ran. The next startup mode decides then; what was stopped by hand stays so.
type Run string

const (
	Stopped Run = "stopped"
	Running Run = "running"
)

// Desired is what is wanted of a child. Only commands, hooks, repeat actions
// and startup modes write it, and every write makes Generation larger.
type Desired struct {
	Run        Run    `json:"run"`
	Generation uint64 `json:"generation"`
	// RestartGeneration counts the restarts asked for. A process started
	// under a smaller one is to be replaced.
	RestartGeneration uint64 `json:"restart_generation"`
	// Posthook is the generation whose stop owes a posthook; 0 when none does.
	Posthook uint64 `json:"posthook,omitempty"`
	// Cause classes what wrote it; By says who asked, for people: "unix:0",
	// "mode full", "prehook of web".
	Cause Cause     `json:"cause,omitempty"`
	By    string    `json:"by,omitempty"`
	At    time.Time `json:"at,omitzero"`
}

// Cause classes what made a child start or stop.
type Cause string

const (
	CauseCommand Cause = "command"
	CausePolicy  Cause = "policy"
	CauseRepeat  Cause = "repeat"
	CauseHook    Cause = "hook"
	CauseMode    Cause = "mode"
)

// Phase is a child's state in one word.
type Phase string

const (
	// PhaseStopped: not wanted and not alive, or never started.
	PhaseStopped Phase = "stopped"
	// PhaseStarting: prehooks run, or the process is younger than the minimum
	// time alive (1 s).
	PhaseStarting Phase = "starting"
	// PhaseRunning: alive, and for longer than the minimum time.
	PhaseRunning Phase = "running"
	// PhaseStopping: asked to end, not all of its group has.
	PhaseStopping Phase = "stopping"
	// PhaseBackOff: ended or could not be launched, and waits for its next start.
	PhaseBackOff Phase = "backoff"
	// PhaseExited: ended by itself with success, and is not started again.
	PhaseExited Phase = "exited"
	// PhaseFailed: ended by itself without success, could not be launched, or
	// reached its start limit, and is not started again.
	PhaseFailed Phase = "failed"
)

// Phases lists every phase, in the order of a life.
func Phases() []Phase {
	return []Phase{PhaseStopped, PhaseStarting, PhaseRunning, PhaseStopping, PhaseBackOff, PhaseExited, PhaseFailed}
}

// Identity says which process is meant, so that a PID used again by the kernel
// is not mistaken for it.
type Identity struct {
	PID int `json:"pid"`
	// Inode is that of the pidfd (unique per boot where the kernel has pidfs,
	// Linux 6.9), else 0.
	Inode uint64 `json:"inode,omitempty"`
	// StartTicks is field 22 of /proc/PID/stat: clock ticks since boot.
	StartTicks uint64 `json:"start_ticks"`
	// BootID is the content of /proc/sys/kernel/random/boot_id.
	// In another PID namespace than the first, what tells this one's start
	// from that of others is appended.
	BootID string `json:"boot_id"`
	// Incarnation counts the runs of the child, from 1.
	Incarnation uint64 `json:"incarnation"`
}

// Process is a child's live process, as shown.
type Process struct {
	PID         int       `json:"pid"`
	Incarnation uint64    `json:"incarnation"`
	StartedAt   time.Time `json:"started_at"`
	// Adopted: a former server started it.
	Adopted bool `json:"adopted,omitempty"`
	// Config is what the process was started with.
	Config *Child `json:"config,omitempty"`
}

// Failure is why the last change of a child's desired state did not succeed.
type Failure struct {
	// Generation is the desired generation that failed.
	Generation uint64 `json:"generation"`
	Code       Code   `json:"code"`
	Message    string `json:"message"`
}

// IsOfFile: the startup mode did not start the child, because its file or its hooks
// are wrong. A command is refused then, and leaves no Failure.
func (f *Failure) IsOfFile() bool {
	return f != nil && (f.Code == InvalidFile || f.Code == Ambiguous || f.Code == BadHook)
}

// Status is what is known of a child. It is computed in one place, plan.For,
// and written only by the reconciler.
type Status struct {
	Phase Phase `json:"phase"`
	// Since is when the phase began.
	Since time.Time `json:"since"`
	// ObservedGeneration is the desired generation this status has settled:
	// everything it asked for has been done or has failed.
	ObservedGeneration uint64 `json:"observed_generation"`
	// Process is nil when none is alive.
	Process *Process `json:"process,omitempty"`
	// Starts counts the processes launched; Restarts those that kita's restart
	// policy launched again since the last command that started the child.
	Starts   uint64 `json:"starts"`
	Restarts uint64 `json:"restarts"`
	LastExit *Exit  `json:"last_exit,omitempty"`
	// History has the latest exits, the last one included, oldest first.
	History []Exit `json:"history,omitempty"`
	// Reason is one line for people when something is wrong or awaited.
	Reason string `json:"reason,omitempty"`
	// NextStart is when a child in back-off starts; RepeatAt when its repeat
	// action runs.
	NextStart *time.Time `json:"next_start,omitempty"`
	RepeatAt  *time.Time `json:"repeat_at,omitempty"`
	Failure   *Failure   `json:"failure,omitempty"`
	// LastLines are those of the latest run, where it failed.
	LastLines *LastLines `json:"last_lines,omitempty"`
	// Warnings say what the live process was to have and the machine cannot
	// give, what is wrong with its output files, and what of its state could not
	// be saved; one line each.
	Warnings []string `json:"warnings,omitempty"`
}

// FailureIsReason tells whether the reason is that of what failed last; a failure
// may have more lines.
func (s Status) FailureIsReason() bool {
	return s.Failure != nil && FirstLine(s.Failure.Message) == s.Reason
}

// Alive tells whether a process of the child lives.
func (s Status) Alive() bool { return s.Process != nil }

// View is a child as a client sees it.
type View struct {
	Name string `json:"name"`
	// Spec is the last good version of its file; nil when there was none.
	Spec    *Child  `json:"spec,omitempty"`
	Desired Desired `json:"desired"`
	Status  Status  `json:"status"`
	// FileError is what is wrong with the file now, one line per error.
	FileError string `json:"file_error,omitempty"`
	// Stale: the file has by now what only a new start puts in force, see func
	// Stale.
	Stale bool `json:"stale,omitempty"`
}

// ChangeType says what a Change is about.
type ChangeType string

const (
	// Present: the child is new, or changed to View.
	Present ChangeType = "present"
	// Removed: the child is forgotten; only View.Name is set.
	Removed ChangeType = "removed"
	// Synced: every child that existed when the watch began has been sent.
	Synced ChangeType = "synced"
)

// Change is one element of a watch.
type Change struct {
	Type ChangeType `json:"type"`
	View View       `json:"view,omitzero"`
	// Now, of Synced, is the clock of the server, which the times in View are of.
	Now time.Time `json:"now,omitzero"`
}

// Info is what `info` shows of a server.
type Info struct {
	ConfigFile string    `json:"config_file"`
	Version    string    `json:"version"`
	PID        int       `json:"pid"`
	StartedAt  time.Time `json:"started_at"`
	LoadPaths  []string  `json:"load_paths"`
	Mode       Mode      `json:"mode"`
	Encrypt    bool      `json:"encrypt"`
	// Keeper is the PID of the process that restarts the server; 0 without one.
	Keeper int `json:"keeper,omitempty"`
	// Containment says what holds the processes of a child together, and why
	// it is no better: "cgroup2 /sys/fs/cgroup/kita-1f2e", "process groups: …".
	Containment string `json:"containment,omitempty"`
	// Listeners are the addresses served, "unix:/run/kita/kita.sock" or
	// "tcp:0.0.0.0:33889".
	Listeners []string `json:"listeners"`
	// Activated are those of Listeners that a service manager listens on (socket
	// activation), as they are there.
	Activated []string `json:"activated,omitempty"`
	// HostKey is the fingerprint of the key that the server proves itself with
	// over SSH, "SHA256:…"; empty where it has none.
	HostKey  string `json:"host_key,omitempty"`
	StateDir string `json:"state_dir"`
	RunDir   string `json:"run_dir"`
	// Running are the names of the children that are alive, sorted.
	Running []string `json:"running"`
	// Problems are one line each: a broken server.yml, a missing load path, an
	// invalid child file, an open listener.
	Problems []string `json:"problems,omitempty"`
}
