package reconciler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kita/reconciler/plan"
	"kita/spec"
)

// runHook begins a hook. A hook is a command to another child, so it runs
// beside the loop: its end comes back as a fact, exactly once.
func (r *Reconciler) runHook(s *step, a plan.RunHook) {
	name := s.e.name
	ctx, cancel := context.WithCancel(r.ctx)
	s.obs.HookStarted(plan.HookRun{Kind: a.Kind, Hook: a.Hook, For: a.For, Deadline: time.Now().Add(plan.HookTimeout)})
	r.mu.Lock()
	r.hooks[name] = cancel
	if r.ending {
		cancel()
	}
	r.mu.Unlock()
	r.Logger.Info("hook", "child", name, "kind", a.Kind, "hook", a.Hook.String())
	r.running.Go(func() {
		defer cancel()
		message := ""
		if err := r.hook(ctx, name, a); err != nil {
			message = fmt.Sprintf("%s %q: %v", a.Kind, a.Hook, err)
		}
		// Before the fact, after which there may be another one.
		r.mu.Lock()
		delete(r.hooks, name)
		r.mu.Unlock()
		if r.ctx.Err() != nil {
			return // this server stops, the next one runs the hook again
		}
		r.post(name, hookFact{a.Kind, a.For, message})
	})
}

// hook carries out a hook's command. It is satisfied when its target already
// is what the verb asks for.
func (r *Reconciler) hook(ctx context.Context, name string, a plan.RunHook) error {
	c := spec.Command{Verb: a.Hook.Verb, Child: a.Hook.Child, By: fmt.Sprintf("%s of %s", a.Kind, name), Cause: spec.CauseHook}
	_, err := r.Do(ctx, c)
	var refusal *spec.Refusal
	switch {
	case ctx.Err() != nil && r.ctx.Err() == nil:
		return errors.New("given up before it was done")
	case !errors.As(err, &refusal):
		return err
	case refusal.Code == spec.AlreadyRunning && a.Hook.Verb == spec.VerbStart:
		return r.settled(ctx, c)
	case refusal.Code == spec.NotRunning && a.Hook.Verb == spec.VerbStop:
		return nil
	}
	return err
}

// settled waits until a start that somebody else asked for is done.
func (r *Reconciler) settled(ctx context.Context, c spec.Command) error {
	r.mu.Lock()
	e := r.children[c.Child]
	if e == nil {
		r.mu.Unlock()
		return fmt.Errorf("%s is gone", c.Child)
	}
	w := written{e: e, generation: e.desired.Generation}
	r.mu.Unlock()
	_, err := r.await(ctx, w, c)
	return err
}
