package plan

import (
	"time"

	"kita/spec"
)

// Observed is what is known of a child beside its configuration and desired
// state. It is plain data: it is saved as JSON after each change and read back
// by the next server. The zero value is a child that never ran.
type Observed struct {
	// Incarnation is that of the latest process launched.
	Incarnation uint64 `json:"incarnation"`
	// Reserved is the incarnation of a launch under way; 0 when none is. After
	// a crash in its midst the number is not used again.
	Reserved uint64 `json:"reserved,omitempty"`
	// StartTicks is when that was, in clock ticks since the boot: it tells a
	// later run from an older one of a child that was forgotten since.
	StartTicks uint64 `json:"start_ticks,omitempty"`
	// Process is the latest process while anything of its group is left.
	Process *Process `json:"process,omitempty"`
	// LastExit is how the latest process ended; nil while none has.
	LastExit *spec.Exit `json:"last_exit,omitempty"`
	// History has the latest exits, oldest first.
	History []spec.Exit `json:"history,omitempty"`
	// End is how the latest attempt to run ended; nil before the first end
	// and while a process lives.
	End *End `json:"end,omitempty"`

	// Attempted is the restart generation of the latest attempt to start,
	// whether it launched, failed to, or was given up because of a prehook.
	Attempted uint64 `json:"attempted"`
	// Settled is the latest generation of which nothing is left to do.
	Settled uint64 `json:"settled"`
	// Posthooked is the latest generation whose posthook has been run.
	Posthooked uint64 `json:"posthooked,omitempty"`
	// Prehooked is what the prehook has been run for.
	Prehooked Ticket `json:"prehooked,omitzero"`
	// Failure is why the generation it names did not succeed.
	Failure *spec.Failure `json:"failure,omitempty"`

	// Failures counts the ends in a row that came before the back-off reset.
	Failures int `json:"failures,omitempty"`
	// Window holds the times of the starts that the start limit looks at,
	// oldest first, at most as many as the limit.
	Window []time.Time `json:"window,omitempty"`
	// Starts counts the launches; Restarts those by policy since a command.
	Starts   uint64 `json:"starts,omitempty"`
	Restarts uint64 `json:"restarts,omitempty"`

	// Repeat is the pending repeat action of the latest process.
	Repeat *Repeat `json:"repeat,omitempty"`
	// Hook is the hook in flight. It does not outlive the server: the next one
	// runs it again.
	Hook *HookRun `json:"-"`
	// Killed says who outlived the grace period of the latest stop that had to
	// use SIGKILL; nil before one had to.
	Killed *Members `json:"killed,omitempty"`
	// Strays are processes that may be of the latest run and live on; nil where
	// there were none. Neither is changed in place: copies share them.
	Strays *Strays `json:"strays,omitempty"`

	// LastLines are the last that the latest run wrote; nil before it failed.
	LastLines *spec.LastLines `json:"last_lines,omitempty"`
	// OutputFaults are what is wrong with the output files of Process, one line
	// each. The next runtime tells it anew.
	OutputFaults []string `json:"-"`

	// Unsaved is why the state of the child is not on disk; empty while it is.
	Unsaved string `json:"-"`

	// Phase and Since are those of the latest status.
	Phase spec.Phase `json:"phase,omitempty"`
	Since time.Time  `json:"since,omitzero"`
}

// Process is a launched process of which something is left.
type Process struct {
	spec.Launch
	Config    *spec.Child `json:"config"`
	StartedAt time.Time   `json:"started_at"`
	Adopted   bool        `json:"adopted,omitempty"`
	// Exit is set once the leader has ended; the group has then still members.
	Exit *spec.Exit `json:"exit,omitempty"`
	// Stop is set once it has been asked to end; that is never taken back.
	Stop *Stop `json:"stop,omitempty"`
}

// Stop is how far the end of a process has come.
type Stop struct {
	SignalledAt time.Time `json:"signalled_at"`
	// KillAt is when SIGKILL is due, for the first time or again.
	KillAt time.Time `json:"kill_at"`
	// Kills counts the SIGKILLs sent.
	Kills int `json:"kills,omitempty"`
}

// End is how an attempt to run ended: by the exit of the process (LaunchError
// empty, see LastExit), or without one.
type End struct {
	At time.Time `json:"at"`
	// LaunchError is why there was no process.
	LaunchError string `json:"launch_error,omitempty"`
	// Asked: it had been told to end.
	Asked bool `json:"asked,omitempty"`
	// Hash is that of the configuration of the process; empty without one.
	Hash string `json:"hash,omitempty"`
	// Jitter, 0 to 1, spreads the back-off; drawn by the caller.
	Jitter float64 `json:"jitter,omitempty"`
}

// Ticket names one start: the incarnation it is to make, and the generation
// that asked for it.
type Ticket struct {
	Incarnation uint64 `json:"incarnation,omitempty"`
	Generation  uint64 `json:"generation,omitempty"`
}

// Repeat is a pending repeat action.
type Repeat struct {
	Action spec.Verb `json:"action"`
	At     time.Time `json:"at"`
	// Every is how far ahead At was set; 0 where that is not known.
	Every spec.Duration `json:"every,omitempty"`
}

// Members are some processes of one incarnation.
type Members struct {
	Incarnation uint64 `json:"incarnation"`
	PIDs        []int  `json:"pids"`
}

// Strays are processes that may be of one incarnation.
type Strays struct {
	Members
	// Suspected: they may also be of no child at all.
	Suspected bool `json:"suspected,omitempty"`
}

// HookKind tells prehooks from posthooks.
type HookKind string

const (
	Prehook  HookKind = "prehook"
	Posthook HookKind = "posthook"
)

// HookRun is a hook in flight.
type HookRun struct {
	Kind HookKind
	Hook spec.Hook
	// For is the start a prehook is run for; a posthook has only a Generation.
	For      Ticket
	Deadline time.Time
	// Cancelled: told to give up, and not done yet.
	Cancelled bool
}

// Alive tells whether the child's leader lives.
func (o *Observed) Alive() bool { return o.Process != nil && o.Process.Exit == nil }

// Done tells whether the latest run has come to an end that leaves nothing to be
// done as long as child is what it was started with: a success, which the policy
// does not follow with a new start.
func (o *Observed) Done(child *spec.Child) bool {
	return o.Process == nil && o.End != nil && o.End.Hash != "" && o.End.Hash == child.Hash && o.LastExit != nil &&
		child.Restart.Policy != spec.Always && child.Restart.IsSuccess(*o.LastExit)
}

// next is the start that would be made now under generation.
func (o *Observed) next(generation uint64) Ticket {
	return Ticket{Incarnation: max(o.Incarnation, o.Reserved) + 1, Generation: generation}
}

// Clone returns a copy that shares nothing that either may change.
func (o *Observed) Clone() Observed {
	c := *o
	if o.Process != nil {
		p := *o.Process
		c.Process = &p
		if p.Stop != nil {
			s := *p.Stop
			p.Stop = &s
		}
	}
	c.Hook = clone(o.Hook)
	c.End = clone(o.End)
	c.Repeat = clone(o.Repeat)
	return c
}

func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
