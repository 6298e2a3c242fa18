package control

import (
	"context"

	"kita/spec"
)

// Service is what the wire needs from the reconciler. Its methods are called
// from many goroutines at once.
type Service interface {
	// Do carries out a command and waits for it, unless c.NoWait. The error is
	// a *spec.Refusal, or ctx.Err() when the caller went away: then only the
	// waiting ends, what was written stays written. Where ctx ended with the
	// cause spec.ErrHandover, it is a *spec.PendingError.
	Do(ctx context.Context, c spec.Command) (spec.Outcome, error)
	// Resume waits for what an earlier server left pending, with the answers of
	// Do.
	Resume(ctx context.Context, p spec.Pending) (spec.Outcome, error)
	// List returns every child, sorted by name.
	List() []spec.View
	// Get returns one child; false when there is none of that name.
	Get(name string) (spec.View, bool)
	Info() spec.Info
	// Watch sends every child that exists, a Synced, then every change. It
	// coalesces for a slow reader and never blocks the reconciler. The channel
	// is closed when ctx ends.
	Watch(ctx context.Context) <-chan spec.Change
	// Validate reads every file of the load paths again. problems has one line
	// for each thing that is wrong.
	Validate() (checked int, problems []string)
	// Ready is nil once the startup mode has been carried out.
	Ready() error
	// Kill begins to stop all children and then to end the server, and returns
	// at once. It is called after the answer was written.
	Kill(by string)
}
