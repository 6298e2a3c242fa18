package spec

import "errors"

// ErrHandover is the cause with which a context ends when the server is about
// to be replaced by a new version of itself, and what waits is to be carried
// on by that.
var ErrHandover = errors.New("the server is being upgraded")

// Pending is a command that is written and not observed yet. It is all that
// another server on the same state needs to go on waiting for it.
type Pending struct {
	Command Command `json:"command"`
	// Generation is the desired generation that was written.
	Generation uint64 `json:"generation,omitempty"`
	// Incarnation is the run that was alive when it was written; 0 for none.
	Incarnation uint64 `json:"incarnation,omitempty"`
	WasRunning  bool   `json:"was_running,omitempty"`
	Note        string `json:"note,omitempty"`
	// All has a part for each child of a command for all of them, and Failed why
	// it was refused for others; FailedCode is that of the worst of their refusals.
	// Parts is Outcome.Children, LeftStopped and LeftRunning are those of Outcome.
	All         []Pending `json:"all,omitempty"`
	Failed      []string  `json:"failed,omitempty"`
	FailedCode  Code      `json:"failed_code,omitempty"`
	Parts       []Part    `json:"parts,omitempty"`
	LeftStopped []string  `json:"left_stopped,omitempty"`
	LeftRunning []string  `json:"left_running,omitempty"`
}

// PendingError is the error of a command whose waiting was ended by ErrHandover.
type PendingError struct{ Pending Pending }

func (e *PendingError) Error() string {
	return string(e.Pending.Command.Verb) + " " + e.Pending.Command.Child + ": it is written, and waited for by the next server"
}

func (e *PendingError) Unwrap() error { return ErrHandover }

// BadBinary is the code of an upgrade that is refused because of the new
// version: it cannot be executed, or cannot take over.
const BadBinary Code = "bad-binary"

// Upgraded is what a successful upgrade did.
type Upgraded struct {
	// From and To are the versions before and after it, which may be the same.
	From string `json:"from"`
	To   string `json:"to"`
	// Binary is the path of the file that was executed.
	Binary string `json:"binary"`
	// PID is the server's, the same as before.
	PID int `json:"pid"`
}
