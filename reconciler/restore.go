package reconciler

import (
	goruntime "runtime"
	"sync"
	"time"

	"kita/reconciler/plan"
	"kita/reconciler/store"
	"kita/spec"
)

// restore reads what is saved. It returns the desired states that are not those
// on disk.
func (r *Reconciler) restore() map[string]spec.Desired {
	facts, broken := r.Store.Facts()
	for _, err := range broken {
		r.Logger.Warn("saved states are not whole", "err", err)
	}
	changes := map[string]spec.Desired{}
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, d := range r.Store.Desired() {
		if !r.Store.SameBoot() || r.Store.Ended() && d.Run == spec.Running {
			d.Run, d.Posthook = "", 0
			changes[name] = d
		}
		r.entry(name).desired = d
	}
	r.restoreFacts(facts)
	for _, e := range r.children {
		r.recoverWish(e, changes)
	}
	return changes
}

// restoreFacts reads what was last seen of each child, on all processors. mu is
// held.
func (r *Reconciler) restoreFacts(facts map[string]store.Facts) {
	type saved struct {
		e    *entry
		data []byte
	}
	next := make(chan saved, 64)
	var readers sync.WaitGroup
	for range goruntime.GOMAXPROCS(0) {
		readers.Go(func() {
			for s := range next {
				r.restoreEntry(s.e, s.data)
			}
		})
	}
	for name, f := range facts {
		next <- saved{r.entry(name), f.Data}
	}
	close(next)
	readers.Wait()
}

// restoreEntry reads what was last seen of one child. Where its process has the
// configuration that its file has, it is kept once. mu is held by the caller of
// restoreFacts.
func (r *Reconciler) restoreEntry(e *entry, data []byte) {
	if err := e.obs.ReadJSON(data, e.child); err != nil {
		r.Logger.Warn("saved state of a child is unusable", "child", e.name, "err", err)
		e.obs = plan.Observed{}
	}
	e.obs.Restored()
	if p := e.obs.Process; p != nil && e.child == nil {
		e.child = p.Config
	}
}

// recoverWish wants a child to run whose process was wanted and whose desired
// state was lost with its disk. mu is held.
func (r *Reconciler) recoverWish(e *entry, changes map[string]spec.Desired) {
	p := e.obs.Process
	lost := e.desired.Run == "" || e.desired.Run == spec.Stopped && e.desired.RestartGeneration < e.obs.Attempted
	if p == nil || !lost || p.Stop != nil || r.Store.Ended() {
		return
	}
	e.desired = spec.Desired{Run: spec.Running, Generation: max(e.desired.Generation, e.obs.Settled),
		RestartGeneration: e.obs.Attempted, Cause: spec.CausePolicy, By: "recovered", At: time.Now()}
	changes[e.name] = e.desired
	r.recordWritten(e.name, spec.VerbStart, e.desired)
}
