package reconciler

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"kita/spec"
)

// debts are what is in force and could not be written to disk. It is tried until
// it can be.
type debts struct {
	// Guarded by Reconciler.mu.
	desired      map[string]spec.Desired
	began, ended bool
	// wake holds one token.
	wake chan struct{}
}

func newDebts() debts {
	return debts{desired: map[string]spec.Desired{}, wake: make(chan struct{}, 1)}
}

// owe notes desired states that are in force, or about to be, and not on disk.
func (r *Reconciler) owe(desired map[string]spec.Desired) {
	r.oweThis(func(d *debts) { maps.Copy(d.desired, desired) })
}

// oweThis notes any debt.
func (r *Reconciler) oweThis(note func(*debts)) {
	r.mu.Lock()
	note(&r.debts)
	r.mu.Unlock()
	select {
	case r.debts.wake <- struct{}{}:
	default:
	}
}

// unsavedNote tells who asked for something that it is not remembered yet.
func unsavedNote(err error) string {
	return fmt.Sprintf("a restart of the server will forget this, unless it can be saved before: %v", err)
}

// payDebts tries again and again to save what is owed, until the Reconciler
// stops.
func (r *Reconciler) payDebts() {
	for {
		select {
		case <-r.debts.wake:
		case <-r.ctx.Done():
			return
		}
		for paid := false; !paid; {
			select {
			case <-time.After(saveAgain):
			case <-r.ctx.Done():
				return
			}
			paid = r.pay()
		}
	}
}

// pay tells whether nothing is owed any more. What a later command has written
// over is not owed: the store keeps the later of two generations.
func (r *Reconciler) pay() bool {
	r.mu.Lock()
	began, ended := r.debts.began, r.debts.ended
	wishes := map[string]spec.Desired{}
	for name, wish := range r.debts.desired {
		if e := r.children[name]; e == nil || e.desired.Generation > wish.Generation {
			delete(r.debts.desired, name)
			continue
		}
		wishes[name] = wish
	}
	r.mu.Unlock()
	var errs []error
	if began {
		errs = append(errs, r.Store.Begin())
	}
	if ended {
		errs = append(errs, r.Store.MarkEnded())
	}
	errs = append(errs, r.Store.SetDesired(r.ctx, wishes))
	if errors.Join(errs...) != nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if began {
		r.debts.began = false
	}
	if ended {
		r.debts.ended = false
	}
	for name, wish := range wishes {
		if r.debts.desired[name] == wish {
			delete(r.debts.desired, name)
		}
	}
	return len(r.debts.desired) == 0 && !r.debts.began && !r.debts.ended
}

// notSaved handles a desired state that could not be written to disk: it is
// taken back, but for a stop, which must work on a full disk too. What is in
// force then is owed.
func (r *Reconciler) notSaved(w *written, q request, before spec.Desired, err error) error {
	r.Logger.Error("cannot save a desired state", "child", q.Child, "err", err)
	stop := q.Verb == spec.VerbStop
	owed := map[string]spec.Desired{}
	r.mu.Lock()
	switch {
	case !stop:
		r.takeBack(*w, before, owed)
	case w.e.desired.Generation == w.generation:
		owed[q.Child] = w.e.desired
	}
	r.mu.Unlock()
	r.owe(owed)
	if stop {
		w.note = strings.TrimPrefix(w.note+"; "+unsavedNote(err), "; ")
		return nil
	}
	r.queue.Add(q.Child)
	return notKept(q, err)
}

// takeBack undoes in memory what was written, unless a later request has a write
// of its own, and adds to owed what is in force then. mu is held.
func (r *Reconciler) takeBack(w written, before spec.Desired, owed map[string]spec.Desired) {
	if w.e.desired.Generation != w.generation {
		return
	}
	// A higher generation with the old wish, so that nobody who waits for this one
	// takes it for done.
	w.e.desired = before
	w.e.desired.Generation = w.generation + 1
	owed[w.e.name] = w.e.desired
	r.touch(w.e)
}

func notKept(q request, err error) *spec.Refusal {
	return spec.Refuse(spec.Unavailable, q.Verb, q.Child, "cannot %s %s: cannot save it: %v", q.Verb, q.Child, err)
}
