package spec

import (
	"encoding/json"
	"time"
)

// Child is one configured program, parsed from its file, defaulted, validated
// and frozen: whoever holds one may share it, nobody may change it.
type Child struct {
	// Name is the file's name up to its first dot.
	Name string `json:"name"`
	// File is the path of the file, a load path joined with the file's name.
	File string `json:"file"`
	// LoadPath is the directory of File as the Catalogue has been told it.
	LoadPath string `json:"load_path"`

	// CommandLine is the command as the file has it, for display.
	CommandLine string `json:"command_line"`
	// Command is the program and its arguments, split, `args` appended.
	// It has at least one element.
	Command []string `json:"command"`
	// Dir is the working directory, absolute. Default: the directory of File.
	Dir string `json:"dir"`

	// Env is added to the server's environment, in order; a later NAME wins.
	Env []EnvVar `json:"env,omitempty"`
	// EnvFile is a file of NAME=VALUE lines read at every start, before Env.
	// A relative path is relative to the directory of File.
	EnvFile string `json:"env_file,omitempty"`

	// Stdout and Stderr say where the streams go; nil inherits the server's.
	Stdout *Stream `json:"stdout,omitempty"`
	Stderr *Stream `json:"stderr,omitempty"`

	// User and Group are names or numbers; empty means the server's own.
	User  string `json:"user,omitempty"`
	Group string `json:"group,omitempty"`
	// Umask is the file mode creation mask, 0 to 0o777; nil inherits.
	Umask *uint32 `json:"umask,omitempty"`
	// Nice is the scheduling priority, -20 to 19; nil inherits.
	Nice *int `json:"nice,omitempty"`
	// Limits are the resource limits of setrlimit(2), sorted by name.
	Limits []Limit `json:"limits,omitempty"`
	// Resources are limits on all of its processes together, kept by cgroups.
	Resources Resources `json:"resources,omitzero"`

	Stop    Stop    `json:"stop"`
	Restart Restart `json:"restart"`
	Repeat  *Repeat `json:"repeat,omitempty"`
	// Prehook runs before the child is started, Posthook after a command
	// stopped it; nil means none.
	Prehook  *Hook `json:"prehook,omitempty"`
	Posthook *Hook `json:"posthook,omitempty"`

	// Metrics is where the child serves metrics of its own; nil means nowhere.
	Metrics *Metrics `json:"metrics,omitempty"`

	// Hash identifies the effective configuration: two children with the same
	// Hash start the same process in the same way. File, rotation and Metrics are
	// not part of it.
	Hash string `json:"hash"`
}

// EnvVar is one variable of a child's environment.
type EnvVar struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// OpenMode says what happens to an output file that exists already.
type OpenMode string

const (
	// Create truncates the file at every start. It is the default.
	Create OpenMode = "create"
	// Append keeps what is there.
	Append OpenMode = "append"
)

// Stream is where one of a child's output streams goes.
type Stream struct {
	// Path as written; a relative one is relative to the server's working
	// directory, as in supervisor-rs.
	Path string   `json:"path"`
	Mode OpenMode `json:"mode"`
	// Rotate is nil where the file is not rotated.
	Rotate *Rotate `json:"rotate,omitempty"`
	// Format has the stream go through a pump; empty means that the process
	// writes to the file itself, and the fields below say nothing then.
	Format Format `json:"format,omitempty"`
	// Timestamps puts the time before each line, Prefix the name of the child
	// and the stream; in JSON they are fields.
	Timestamps bool   `json:"timestamps,omitempty"`
	Prefix     bool   `json:"prefix,omitempty"`
	OnFull     OnFull `json:"on_full,omitempty"`
}

// Stream is where a stream goes; nil where that is the server's own.
func (c *Child) Stream(name StreamName) *Stream {
	if name == Out {
		return c.Stdout
	}
	return c.Stderr
}

// Unlimited is the value of a limit that is switched off (RLIM_INFINITY).
const Unlimited = ^uint64(0)

// Limit is one resource limit of setrlimit(2).
type Limit struct {
	// Name is the lower-case name without RLIMIT_: nofile, nproc, core, as, …;
	// RLIMIT_CPU is cpu_time.
	Name string `json:"name"`
	// Soft and Hard are in the unit of setrlimit(2): bytes, seconds or a count.
	Soft uint64 `json:"soft"`
	Hard uint64 `json:"hard"`
}

// Stop says how a child is asked to end.
type Stop struct {
	// Signal is sent first, to the whole process group. Default SIGTERM.
	Signal Signal `json:"signal"`
	// Grace is how long the group has before SIGKILL. Default 10 s.
	Grace Duration `json:"grace"`
}

// Policy says which ends of a process are followed by a new start.
type Policy string

const (
	// Never leaves a child that ended as it is. It is the default.
	Never Policy = "never"
	// OnFailure starts it again unless its exit was a success.
	OnFailure Policy = "on-failure"
	// Always starts it again whatever its exit was.
	Always Policy = "always"
)

// Restart says when and how fast a child that ended by itself is started again.
type Restart struct {
	Policy  Policy  `json:"policy"`
	Backoff Backoff `json:"backoff"`
	// Limit is the start limit; Limit.Starts 0 means none.
	Limit StartLimit `json:"limit"`
	// Success lists the exits, besides code 0, that count as success. It
	// applies wherever kita tells success from failure.
	Success []ExitClass `json:"success,omitempty"`
}

// Backoff is the wait before a start that follows an end.
type Backoff struct {
	// Initial is the first wait, default 500 ms; Max the longest, default
	// 30 s; Factor multiplies from one to the next, default 2. The wait starts
	// over at Initial once a process has lived for Max without a break.
	Initial Duration `json:"initial"`
	Max     Duration `json:"max"`
	Factor  float64  `json:"factor"`
}

// StartLimit ends the restarts of a child that starts too often: at most
// Starts starts in any window of length Within, then it is Failed until a
// command starts it.
type StartLimit struct {
	Starts int      `json:"starts"`
	Within Duration `json:"within"`
}

// ExitClass is one way to end: an exit code, or a signal where Signal is set.
type ExitClass struct {
	Code   int    `json:"code,omitempty"`
	Signal Signal `json:"signal,omitempty"`
}

// MarshalJSON has one of both.
func (c ExitClass) MarshalJSON() ([]byte, error) {
	if c.Signal != 0 {
		return json.Marshal(map[string]Signal{"signal": c.Signal})
	}
	return json.Marshal(map[string]int{"code": c.Code})
}

// IsSuccess tells whether e counts as success for this child.
func (r Restart) IsSuccess(e Exit) bool {
	if !e.Known {
		return false
	}
	if e.Signal == 0 && e.Code == 0 {
		return true
	}
	for _, c := range r.Success {
		if c.Signal == e.Signal && (c.Signal != 0 || c.Code == e.Code) {
			return true
		}
	}
	return false
}

// Repeat is an action that runs once, Every after a start, if the child is
// still the same run.
type Repeat struct {
	Action Verb     `json:"action"`
	Every  Duration `json:"every"`
}

// Hook is a command to another child.
type Hook struct {
	Verb  Verb   `json:"verb"`
	Child string `json:"child"`
}

func (h Hook) String() string { return string(h.Verb) + " " + h.Child }

// Duration is a time.Duration that is text ("10s") in files and on the wire.
type Duration time.Duration

// D returns d as a time.Duration.
func (d Duration) D() time.Duration { return time.Duration(d) }

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; the text needs a unit.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}
