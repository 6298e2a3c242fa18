package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"

	"kita/reconciler"
	"kita/spec"
)

// crashOnly is the reconciler as the wire sees it. The wire keeps a panic to the
// connection that brought it about; one that comes out of the reconciler may have
// left a lock held or a state half changed, and ends the server instead. The
// children live on, and the keeper starts another.
type crashOnly struct {
	reconciler *reconciler.Reconciler
	logger     *slog.Logger
}

// crash is deferred by every call that enters the reconciler.
func (s crashOnly) crash() {
	if v := recover(); v != nil {
		s.logger.Error("the reconciler panicked, the server ends", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		os.Exit(exitPanic)
	}
}

// exitPanic is the status of a Go program that panics.
const exitPanic = 2

func (s crashOnly) Do(ctx context.Context, c spec.Command) (spec.Outcome, error) {
	defer s.crash()
	return s.reconciler.Do(ctx, c)
}

func (s crashOnly) Resume(ctx context.Context, p spec.Pending) (spec.Outcome, error) {
	defer s.crash()
	return s.reconciler.Resume(ctx, p)
}

func (s crashOnly) List() []spec.View {
	defer s.crash()
	return s.reconciler.List()
}

func (s crashOnly) Get(name string) (spec.View, bool) {
	defer s.crash()
	return s.reconciler.Get(name)
}

func (s crashOnly) Info() spec.Info {
	defer s.crash()
	return s.reconciler.Info()
}

func (s crashOnly) Watch(ctx context.Context) <-chan spec.Change {
	defer s.crash()
	return s.reconciler.Watch(ctx)
}

func (s crashOnly) Validate() (checked int, problems []string) {
	defer s.crash()
	return s.reconciler.Validate()
}

func (s crashOnly) Diff(names []string) ([]spec.ChildDiff, error) {
	defer s.crash()
	return s.reconciler.Diff(names)
}

func (s crashOnly) Ready() error {
	defer s.crash()
	return s.reconciler.Ready()
}

func (s crashOnly) Ended() <-chan struct{} {
	defer s.crash()
	return s.reconciler.Ended()
}

func (s crashOnly) Kill(by string) {
	defer s.crash()
	s.reconciler.Kill(by)
}
