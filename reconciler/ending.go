package reconciler

import "kita/spec"

// Kill stops every child and then closes Ended. Desired state is not changed,
// but noted as a session that was ended: the next server goes by its startup
// mode. It returns at once.
func (r *Reconciler) Kill(by string) {
	r.mu.Lock()
	if r.ending {
		r.mu.Unlock()
		return
	}
	r.ending = true
	var all []*entry
	for _, e := range r.children {
		all = append(all, e)
		if e.cancelHook != nil {
			e.cancelHook()
		}
	}
	r.mu.Unlock()
	r.Logger.Info("ending: all children are stopped", "by", by)
	if err := r.Store.MarkEnded(); err != nil {
		r.Logger.Error("cannot save that the session was ended", "err", err)
	}
	for _, e := range all {
		r.queue.Add(e.name)
	}
	r.running.Go(func() {
		for _, e := range all {
			if !r.awaitEnd(e) {
				return
			}
		}
		close(r.ended)
	})
}

// awaitEnd waits until nothing of a child is alive, or nothing more can be done
// about it.
func (r *Reconciler) awaitEnd(e *entry) bool {
	for {
		r.mu.Lock()
		done, changed := e.atRest || e.removed, e.changed
		r.mu.Unlock()
		if done {
			return true
		}
		select {
		case <-changed:
		case <-r.ctx.Done():
			return false
		}
	}
}

// rest notes, while the server ends, that a child is dead and stays so. mu is
// held.
func (r *Reconciler) rest(e *entry, s spec.Status, idle bool) {
	unkillable := s.Failure != nil && s.Failure.Code == spec.NotStopped
	if r.ending && !e.atRest && (idle && e.obs.Process == nil || unkillable) {
		e.atRest = true
		r.touch(e)
	}
}
