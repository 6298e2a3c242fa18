package spec

import "fmt"

// Verb is what a command does.
type Verb string

const (
	VerbStart    Verb = "start"
	VerbStop     Verb = "stop"
	VerbRestart  Verb = "restart"
	VerbTrystart Verb = "trystart"
	VerbCheck    Verb = "check"
	VerbInfo     Verb = "info"
	VerbKill     Verb = "kill"
	VerbHelp     Verb = "help"
)

// All is the name that means every child; it is reserved.
const All = "all"

// ParseVerb maps a word to its verb, in each spelling that supervisor-rs
// accepts (SUPERVISOR_RS.md, "Commands") and no other.
func ParseVerb(word string) (Verb, bool) {
	switch word {
	case "start", "Start":
		return VerbStart, true
	case "restart", "Restart":
		return VerbRestart, true
	case "stop", "Stop":
		return VerbStop, true
	case "check", "Check":
		return VerbCheck, true
	case "kill", "Kill":
		return VerbKill, true
	case "trystart", "Trystart", "TryStart":
		return VerbTrystart, true
	case "info", "Info", "INFO", "InFo":
		return VerbInfo, true
	case "help", "Help", "-h":
		return VerbHelp, true
	}
	return "", false
}

// Changes tells whether the verb writes a child's desired state: start, stop,
// restart and trystart do. These are also the verbs of hooks and repeat.
func (v Verb) Changes() bool {
	switch v {
	case VerbStart, VerbStop, VerbRestart, VerbTrystart:
		return true
	}
	return false
}

// Reserved tells whether name cannot be a child's: "all", "on" and every
// command word in every spelling.
func Reserved(name string) bool {
	if name == All || name == "on" {
		return true
	}
	_, isVerb := ParseVerb(name)
	return isVerb
}

// Command is a request to change a child's desired state.
type Command struct {
	// Verb is one that Changes.
	Verb Verb
	// Child is a name, or All where Verb is stop.
	Child string
	// NoWait returns as soon as the desired state is written.
	NoWait bool
	// IfChanged, of trystart: a child is left alone that runs with what its file says
	// now, or has run so to its successful end; of all also one that was stopped.
	IfChanged bool
	// LeaveDown, of stop: a child that has failed, and so does not run, is to stay
	// down; without it that is refused, as it was by supervisor-rs.
	LeaveDown bool
	// By says who asks, for people and logs: "unix:0", "tcp:10.0.0.7".
	By string
	// Cause is CauseCommand where it is empty.
	Cause Cause
}

// Outcome is what a successful Command did.
type Outcome struct {
	Verb  Verb   `json:"verb"`
	Child string `json:"child"`
	// Generation is the desired generation written, or the one in force where it is
	// Unchanged; 0, and left out, for all children.
	Generation uint64 `json:"generation,omitempty"`
	// Unchanged: with IfChanged, nothing was done; of all children, to none of them.
	Unchanged bool `json:"unchanged,omitempty"`
	// Children are those that a command for all was for, sorted by name.
	Children []Part `json:"children,omitempty"`
	// LeftStopped are those that it was not for, with IfChanged, as they had been
	// stopped before; sorted.
	LeftStopped []string `json:"left_stopped,omitempty"`
	// LeftRunning are those that it could not be for, as they run and have no file any
	// more that they could be started with; sorted.
	LeftRunning []string `json:"left_running,omitempty"`
	// WasRunning: the child ran, so trystart stopped it first.
	WasRunning bool `json:"was_running,omitempty"`
	// Prehook and Posthook are the hooks that ran, or were satisfied, as part
	// of the command.
	Prehook  *Hook `json:"prehook,omitempty"`
	Posthook *Hook `json:"posthook,omitempty"`
	// Repeat is the repeat armed by the start.
	Repeat *Repeat `json:"repeat,omitempty"`
	// Note says what else the user should know, in one line: who had to be
	// killed, say.
	Note string `json:"note,omitempty"`
	// Status is the child's status once the command was observed, or when it
	// was written if nobody waited; zero for all children.
	Status Status `json:"status,omitzero"`
}

// Part is what a command for all children did to one of them.
type Part struct {
	Child string `json:"child"`
	// Generation is as in Outcome.
	Generation uint64 `json:"generation"`
	// Unchanged: nothing was done, because the process of this incarnation runs with
	// what the file says now, or has run so to its successful end.
	Unchanged   bool   `json:"unchanged,omitempty"`
	Incarnation uint64 `json:"incarnation,omitempty"`
}

// Code classes a Refusal, so that each wire can put it in its own words.
type Code string

const (
	// AlreadyRunning: start of a child that runs.
	AlreadyRunning Code = "already-running"
	// NotRunning: stop or restart of a child that does not run.
	NotRunning Code = "not-running"
	// NotFound: no such file in the load paths.
	NotFound Code = "not-found"
	// Ambiguous: more than one file has the name.
	Ambiguous Code = "ambiguous"
	// InvalidFile: the child's file, or server.yml, does not parse.
	InvalidFile Code = "invalid-file"
	// BadHook: the hooks go in a circle, or name a child that has no file.
	BadHook Code = "bad-hook"
	// HookFailed: a prehook or posthook failed.
	HookFailed Code = "hook-failed"
	// ChildFailed: the process was launched, and has not come to what was waited
	// for: it ended, or ended otherwise. Only clients that wait say so.
	ChildFailed Code = "child-failed"
	// CannotStart: the process could not be launched.
	CannotStart Code = "cannot-start"
	// NotStopped: processes are left although SIGKILL was sent.
	NotStopped Code = "not-stopped"
	// Superseded: another command changed the child before this one was done.
	Superseded Code = "superseded"
	// BadRequest: the request itself makes no sense.
	BadRequest Code = "bad-request"
	// Forbidden: whoever asks may not do this.
	Forbidden Code = "forbidden"
	// Unavailable: the server is going down or cannot save the change.
	Unavailable Code = "unavailable"
	// TimedOut: the change is written but was not observed in time.
	TimedOut Code = "timed-out"
)

// Refusal is the error of a Command that was refused or failed.
type Refusal struct {
	Code    Code
	Verb    Verb
	Child   string
	Message string
	// WasRunning: the child ran when the command came, so a trystart may have
	// stopped it before it failed.
	WasRunning bool
	// LastLines are those of the child's latest run, where it failed; nil else.
	LastLines *LastLines
}

func (r *Refusal) Error() string { return r.Message }

// Refuse makes a Refusal with a formatted message.
func Refuse(code Code, verb Verb, child, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Verb: verb, Child: child, Message: fmt.Sprintf(format, args...)}
}
