// Package reconciler runs the loop that makes children what they are wanted to
// be.
//
// The queue hands out names, never the same one to two workers. A pass folds
// the child's mailbox of facts, asks plan.For, does its one action with no lock
// held, records the effect, publishes the status and notes when to look again.
// Every source of events only says a name: the watch on the load paths, the
// exits that the Runtime reports, the deadlines, the commands. Losing or
// doubling one changes nothing.
//
// Commands, hooks, repeat actions and startup modes write desired state and
// nothing else does; only a pass starts or stops a process.
//
// Invariants: desired state is on disk before a command is answered; what a
// process is, is on disk before anything else is done to it; no lock is held
// over I/O, a hook or a callback; stopping the Reconciler leaves the children
// alive.
package reconciler
