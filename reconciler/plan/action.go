package plan

import (
	"fmt"

	"kita/spec"
)

// Action is what a pass does to the world; nil means nothing.
type Action interface {
	fmt.Stringer
	action()
}

type (
	// Start launches the process of incarnation Incarnation.
	Start struct{ Incarnation uint64 }
	// Signal asks the group of Incarnation to end: its stop signal, then CONT.
	Signal struct {
		Incarnation uint64
		Signal      spec.Signal
	}
	// Kill sends SIGKILL to what is left of the group of Incarnation.
	Kill struct{ Incarnation uint64 }
	// RunHook begins a hook; its end comes back as a fact.
	RunHook struct {
		Kind HookKind
		Hook spec.Hook
		For  Ticket
	}
	// CancelHook tells the hook in flight to give up.
	CancelHook struct{ Kind HookKind }
	// SkipPosthook notes that Generation owes a posthook and the child has none.
	SkipPosthook struct{ Generation uint64 }
	// Trigger carries out the repeat action of Incarnation.
	Trigger struct {
		Incarnation uint64
		Verb        spec.Verb
	}
	// Forget drops the child: its file is gone and nothing of it is alive.
	Forget struct{}
)

func (Start) action()        {}
func (Signal) action()       {}
func (Kill) action()         {}
func (RunHook) action()      {}
func (CancelHook) action()   {}
func (SkipPosthook) action() {}
func (Trigger) action()      {}
func (Forget) action()       {}

func (a Start) String() string        { return fmt.Sprintf("start #%d", a.Incarnation) }
func (a Signal) String() string       { return fmt.Sprintf("%v #%d", a.Signal, a.Incarnation) }
func (a Kill) String() string         { return fmt.Sprintf("kill #%d", a.Incarnation) }
func (a RunHook) String() string      { return fmt.Sprintf("%s %q", a.Kind, a.Hook) }
func (a CancelHook) String() string   { return fmt.Sprintf("cancel %s", a.Kind) }
func (a SkipPosthook) String() string { return "skip posthook" }
func (a Trigger) String() string      { return fmt.Sprintf("repeat %s #%d", a.Verb, a.Incarnation) }
func (a Forget) String() string       { return "forget" }
