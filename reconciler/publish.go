package reconciler

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"strings"

	"kita/spec"
)

// publish makes a status visible and wakes whoever waits for it. mu is held.
func (r *Reconciler) publish(e *entry, s spec.Status) {
	same := s.Phase == e.status.Phase && s.ObservedGeneration == e.status.ObservedGeneration
	if same && reflect.DeepEqual(e.status, s) {
		return
	}
	e.status = s
	r.touch(e)
}

// onChange is closed at the next change of e. mu is held.
func (e *entry) onChange() <-chan struct{} {
	if e.changed == nil {
		e.changed = make(chan struct{})
	}
	return e.changed
}

// touch wakes whoever waits for a change of e. mu is held.
func (r *Reconciler) touch(e *entry) {
	if e.changed != nil {
		close(e.changed)
		e.changed = nil
	}
	for w := range r.watchers {
		w.add(e.name)
	}
}

// view is e as a client sees it. mu is held.
func (e *entry) view() spec.View {
	v := spec.View{Name: e.name, Spec: e.child, Desired: e.desired, Status: e.status}
	switch {
	case e.fileErr != nil:
		v.FileError = e.fileErr.Error()
	case e.gone:
		v.FileError = "its file is gone"
	}
	if p := e.status.Process; p != nil && p.Config != nil && e.child != nil {
		v.Stale = spec.Stale(p.Config, e.child)
	}
	return v
}

// List returns every child, sorted by name, of server.yml as it is now.
func (r *Reconciler) List() []spec.View {
	r.refreshSettings()
	r.mu.Lock()
	views := make([]spec.View, 0, len(r.children))
	for _, e := range r.sorted() {
		views = append(views, e.view())
	}
	r.mu.Unlock()
	return views
}

// sorted has every child, by name. mu is held.
func (r *Reconciler) sorted() []*entry {
	if r.byName == nil {
		r.byName = slices.SortedFunc(maps.Values(r.children), func(a, b *entry) int { return strings.Compare(a.name, b.name) })
	}
	return r.byName
}

// Get returns one child; false when there is none of that name.
func (r *Reconciler) Get(name string) (spec.View, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.children[name]
	if e == nil {
		return spec.View{}, false
	}
	return e.view(), true
}

// watcher collects the names that changed since its reader last looked, so
// that a slow reader costs a set of names and nothing else.
type watcher struct {
	pending map[string]struct{} // guarded by Reconciler.mu; nil where nobody asks which
	wake    chan struct{}       // holds one token
}

// add is called with Reconciler.mu held.
func (w *watcher) add(name string) {
	if w.pending != nil {
		w.pending[name] = struct{}{}
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Watch sends every child, a Synced, then every change until ctx ends, the
// Reconciler stops, or all was sent after Ended, then closes the channel. Changes
// that the reader is too slow for are folded into the latest.
func (r *Reconciler) Watch(ctx context.Context) <-chan spec.Change {
	out := make(chan spec.Change)
	w := &watcher{pending: map[string]struct{}{}, wake: make(chan struct{}, 1)}
	r.mu.Lock()
	for name := range r.children {
		w.add(name)
	}
	r.watchers[w] = struct{}{}
	r.running.Add(1)
	r.mu.Unlock()
	go func() {
		defer r.running.Done()
		defer close(out)
		defer func() {
			r.mu.Lock()
			delete(r.watchers, w)
			r.mu.Unlock()
		}()
		send := func(c spec.Change) bool {
			select {
			case out <- c:
				return true
			case <-ctx.Done():
			case <-r.ctx.Done():
			}
			return false
		}
		if !r.sendPending(w, send) || !send(spec.Change{Type: spec.Synced}) {
			return
		}
		for {
			select {
			case <-w.wake:
				if !r.sendPending(w, send) {
					return
				}
			case <-r.ended:
				r.sendPending(w, send)
				return
			case <-ctx.Done():
				return
			case <-r.ctx.Done():
				return
			}
		}
	}()
	return out
}

// sendPending sends the present state of each name that changed.
func (r *Reconciler) sendPending(w *watcher, send func(spec.Change) bool) bool {
	r.mu.Lock()
	names := slices.Sorted(maps.Keys(w.pending))
	clear(w.pending)
	r.mu.Unlock()
	for _, name := range names {
		change := spec.Change{Type: spec.Removed, View: spec.View{Name: name}}
		if v, ok := r.Get(name); ok {
			change = spec.Change{Type: spec.Present, View: v}
		}
		if !send(change) {
			return false
		}
	}
	return true
}
