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
	// is closed when ctx ends, and, after the last change, when Ended is closed.
	Watch(ctx context.Context) <-chan spec.Change
	// Validate reads every file of the load paths again. problems has one line
	// for each thing that is wrong.
	Validate() (checked int, problems []string)
	// Diff compares the files of children, or of all of them for spec.All alone, as
	// they are now with what the processes were started with. The error is a
	// *spec.Refusal with spec.NotFound.
	Diff(names []string) ([]spec.ChildDiff, error)
	// Logs sends pieces of the output of the children of r: what there is, oldest
	// first, a chunk with CaughtUp, and with r.Follow what comes, until ctx ends or
	// send fails, whose error it returns. send may block for long, for a reader that
	// is slow; it is never called twice at once. r is sound: its children exist, and
	// its expression compiles. readable is what the asker may read now; a child that
	// it may not is left out of All. An error before the first chunk is answered, a
	// *spec.Refusal as it is.
	Logs(ctx context.Context, r spec.LogRequest, readable func(child string) bool, send func(spec.LogChunk) error) error
	// Events sends the events that r asks for, as Logs does with output: what there
	// is, oldest first, then one of the type EventCaughtUp, and with r.Follow what
	// comes. readable is also asked of the child "", for the server's own. The error
	// is a *spec.Refusal with spec.NotFound where a child that r names does not exist
	// and has left no event.
	Events(ctx context.Context, r spec.EventRequest, readable func(child string) bool, send func([]spec.Event) error) error
	// Output returns the output files of a child: those of its live or last run, and
	// those that its next one would open besides. There are none where both streams
	// are the server's own. The error is a *spec.Refusal with spec.NotFound.
	Output(name string) ([]spec.OutputFile, error)
	// Rotate makes an archive now of what each output file of a child holds, or of
	// every child's for spec.All, and returns those that were made. The error says
	// which files could not be rotated; a *spec.Refusal says that there is no such
	// child.
	Rotate(ctx context.Context, name string) ([]spec.Archive, error)
	// Usage tells what the children of these names use now, or all of them for nil,
	// sorted by name; of those alone that run. It may be asked every second.
	Usage(names []string) []spec.ChildUsage
	// Ready is nil once the startup mode has been carried out.
	Ready() error
	// Ended is closed when all children have been stopped because the server ends.
	Ended() <-chan struct{}
	// Kill begins to stop all children and then to end the server, and returns
	// at once. It is called after the answer was written.
	Kill(by string)
}
