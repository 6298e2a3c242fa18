package main

import (
	"context"
	"errors"
	"time"

	"kita/control"
	"kita/spec"
)

// The waits between the attempts to watch a server that is gone: one that is
// upgraded is back in milliseconds.
const (
	firstRewatch = 50 * time.Millisecond
	lastRewatch  = time.Second
)

// watcher waits until children have come to what is expected of them. It goes on
// over restarts and upgrades of the server, as long as there is time.
type watcher struct {
	client *control.Client
	// open are those that are waited for, by name, closed those that have come; all
	// has both, in their order.
	open, closed map[string]*expectation
	all          []*expectation
	// due is when an expectation is fulfilled if nothing changes.
	due map[string]time.Time
	// timeout is what is said to have been waited.
	timeout time.Duration
	// once: a stream that breaks is not asked for again, its server is this one.
	once bool
	// answered: the server has been there. One that never was is not waited for.
	answered bool
}

func newWatcher(c *control.Client, timeout time.Duration, expected []*expectation) *watcher {
	w := &watcher{client: c, open: map[string]*expectation{}, closed: map[string]*expectation{}, all: expected, due: map[string]time.Time{}, timeout: timeout}
	for _, e := range expected {
		w.open[e.child] = e
	}
	return w
}

// await returns nil once all expectations are fulfilled, and an error as soon as
// one cannot be.
func (w *watcher) await(ctx context.Context) error {
	wait := firstRewatch
	for len(w.open) > 0 {
		synced, err := w.watchOnce(ctx)
		var unreachable *control.Unreachable
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return w.overdue(ctx, synced, err)
		case w.once || !w.answered || !errors.As(err, &unreachable) && !isCode(err, spec.Unavailable):
			return err
		}
		if synced {
			wait = firstRewatch
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return w.overdue(ctx, false, err)
		}
		wait = min(2*wait, lastRewatch)
	}
	return nil
}

// overdue is why the wait ended with ctx. A server that was not there in the end
// could not say how its children stand.
func (w *watcher) overdue(ctx context.Context, synced bool, last error) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return w.cutShort(context.Cause(ctx))
	}
	var unreachable *control.Unreachable
	if !synced && errors.As(last, &unreachable) && !errors.Is(last, context.DeadlineExceeded) {
		return last
	}
	if err := answers(ctx, w.client); err != nil {
		return err
	}
	for _, e := range w.all {
		if !e.done {
			return e.late(w.timeout)
		}
	}
	return ctx.Err()
}

// cutShort is what is said where the wait is ended by cause.
func (w *watcher) cutShort(cause error) error {
	for _, e := range w.all {
		if !e.done {
			return e.cutShort(cause)
		}
	}
	return cause
}

func isCode(err error, code spec.Code) bool {
	var refusal *spec.Refusal
	return errors.As(err, &refusal) && refusal.Code == code
}

// item is what a watch yields.
type item struct {
	change spec.Change
	err    error
}

// watchOnce watches until the stream ends, or there is nothing more to wait for.
// synced: the server has told of every child.
func (w *watcher) watchOnce(ctx context.Context) (synced bool, err error) {
	watching, cancel := context.WithCancel(ctx)
	items, ended := make(chan item), make(chan struct{})
	only := ""
	if len(w.all) == 1 {
		only = w.all[0].child
	}
	go func() {
		defer close(ended)
		for change, err := range w.client.WatchChild(watching, only) {
			select {
			case items <- item{change, err}:
			case <-watching.Done():
				return
			}
		}
	}()
	defer func() { cancel(); <-ended }()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	// before has what there is when the watch begins. How old it is comes last.
	before := map[string]spec.View{}
	for {
		if len(w.open) == 0 {
			return synced, nil
		}
		if synced {
			timer.Reset(w.nextDue())
		}
		select {
		case i := <-items:
			w.answered = w.answered || i.err == nil
			switch {
			case i.err != nil:
				return synced, i.err
			case i.change.Type == spec.Synced:
				synced = true
				err = w.begin(ctx, before, i.change.Now)
			default:
				if !synced {
					before[i.change.View.Name] = i.change.View
				}
				err = w.change(i.change)
			}
		case <-timer.C:
			if synced {
				err = w.confirm(ctx)
			}
		case <-ended:
			// It ended without an error, with its context.
			return synced, context.Cause(watching)
		case <-ctx.Done():
			return synced, ctx.Err()
		}
		if err != nil {
			return synced, err
		}
	}
}

// begin takes in all views of a watch that begins; now is the server's clock.
func (w *watcher) begin(ctx context.Context, views map[string]spec.View, now time.Time) error {
	for _, e := range w.all {
		v, there := views[e.child]
		if e.done && !w.reopen(e, v) {
			continue
		}
		if !there {
			if err := w.missing(ctx, e); err != nil {
				return err
			}
			continue
		}
		if err := w.look(e, v, age(v, now)); err != nil {
			return err
		}
	}
	return nil
}

// age is how old the process of a child is at the time now of its server.
func age(v spec.View, now time.Time) time.Duration {
	if v.Status.Process == nil || now.IsZero() {
		return 0
	}
	return max(0, now.Sub(v.Status.Process.StartedAt))
}

// missing is called for a child that the server does not tell of: the server says
// why, it may be for want of a right.
func (w *watcher) missing(ctx context.Context, e *expectation) error {
	if e.latest.Name == "" {
		v, err := w.client.Get(ctx, e.child)
		if err != nil {
			return err
		}
		return w.look(e, v, 0)
	}
	return w.gone(e)
}

func (w *watcher) gone(e *expectation) error {
	if refusal := e.gone(); refusal != nil {
		return refusal
	}
	w.settle(e, time.Time{})
	return nil
}

func (w *watcher) change(change spec.Change) error {
	e := w.open[change.View.Name]
	if done := w.closed[change.View.Name]; done != nil && w.reopen(done, change.View) {
		e = done
	}
	switch {
	case e == nil:
		return nil
	case change.Type == spec.Removed:
		return w.gone(e)
	}
	return w.look(e, change.View, 0)
}

// reopen waits again for one that had come, where a hook of the same command starts
// it anew.
func (w *watcher) reopen(e *expectation, v spec.View) bool {
	if !e.continues(v.Desired) {
		return false
	}
	e.done = false
	delete(w.closed, e.child)
	w.open[e.child] = e
	return true
}

func (w *watcher) look(e *expectation, v spec.View, age time.Duration) error {
	due, refusal := e.look(v, time.Now(), age)
	if refusal != nil {
		return refusal
	}
	w.settle(e, due)
	return nil
}

func (w *watcher) settle(e *expectation, due time.Time) {
	delete(w.due, e.child)
	if e.done {
		delete(w.open, e.child)
		w.closed[e.child] = e
	} else if !due.IsZero() {
		w.due[e.child] = due
	}
}

// nextDue is how long it is until the first expectation is due.
func (w *watcher) nextDue() time.Duration {
	next := time.Hour
	for _, due := range w.due {
		next = min(next, time.Until(due))
	}
	return max(next, 0)
}

// confirm asks how those stand that are due. That no change has come may also mean
// that nothing comes any more.
func (w *watcher) confirm(ctx context.Context) error {
	now := time.Now()
	var names []string
	for name, due := range w.due {
		if !now.Before(due) {
			names = append(names, name)
		}
	}
	if len(names) == 1 {
		v, err := w.client.Get(ctx, names[0])
		if err != nil {
			return w.lostBy(err, names[0])
		}
		return w.look(w.open[names[0]], v, 0)
	}
	views, err := w.client.List(ctx)
	if err != nil {
		return err
	}
	for _, v := range views {
		if _, due := w.due[v.Name]; due {
			if err := w.look(w.open[v.Name], v, 0); err != nil {
				return err
			}
		}
	}
	for _, name := range names {
		if e := w.open[name]; e != nil && !e.done && !time.Now().Before(w.due[name]) {
			if err := w.gone(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// lostBy is the error of having asked for a child that was there before.
func (w *watcher) lostBy(err error, name string) error {
	if isCode(err, spec.NotFound) {
		return w.gone(w.open[name])
	}
	return err
}
