package reconciler

import (
	"cmp"
	"errors"
	"maps"
	goruntime "runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"kita/reconciler/plan"
	"kita/spec"
)

// recall restores desired states and facts, and takes over what a former server
// left: the runs that it knew, then those that it started and did not live to
// write down. No worker runs yet.
func (r *Reconciler) recall() error {
	changes := r.restore()
	r.mu.Lock()
	var orphans []*entry
	for _, e := range r.children {
		if e.obs.Process != nil {
			orphans = append(orphans, e)
		}
	}
	r.mu.Unlock()
	for _, e := range r.adoptAll(orphans) {
		r.takeOver(e)
	}
	r.discover(changes)
	r.admitLost()
	if r.allSaved() {
		r.runtime.Tidy()
	}
	r.publishAll()
	if len(changes) == 0 {
		return nil
	}
	return r.Store.SetDesired(r.ctx, changes)
}

// adoptAll adopts the runs that have a leader, several at once, and returns the
// others.
func (r *Reconciler) adoptAll(orphans []*entry) (gone []*entry) {
	var mu sync.Mutex // of gone
	var adopters sync.WaitGroup
	next := make(chan *entry)
	for range goruntime.GOMAXPROCS(0) {
		adopters.Go(func() {
			for e := range next {
				if e.obs.Process.Exit != nil || !r.adopt(e) {
					mu.Lock()
					gone = append(gone, e)
					mu.Unlock()
				}
			}
		})
	}
	for _, e := range orphans {
		next <- e
	}
	close(next)
	adopters.Wait()
	return gone
}

// publishAll shows what is known before there has been a pass.
func (r *Reconciler) publishAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for _, e := range r.children {
		status := plan.For(e.child, e.gone, e.desired, &e.obs, now).Status
		if e.learned {
			r.recordStatus(e, e.status, status)
			e.learned = false
		}
		r.publish(e, status)
	}
}

// allSaved tells whether the next server would know all that this one does.
func (r *Reconciler) allSaved() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.children {
		if e.unsaved || e.unadopted {
			return false
		}
	}
	return true
}

// adopt has the runtime watch the run that a former server left. False: there is
// no leader to be watched. Only the pass, or recall before there are any, may
// call it and what follows.
func (r *Reconciler) adopt(e *entry) bool {
	p := e.obs.Process
	err := r.runtime.Adopt(e.name, p.Launch)
	e.unadopted = err != nil && !errors.Is(err, spec.ErrGone)
	switch {
	case err == nil:
		r.mu.Lock()
		p.Adopted = true
		r.mu.Unlock()
		r.record(spec.Event{Child: e.name, Type: spec.EventAdopted, Incarnation: e.obs.Incarnation, PID: p.Identity.PID})
		r.Logger.Info("adopted", "child", e.name, "incarnation", e.obs.Incarnation, "pid", p.Identity.PID)
	case e.unadopted:
		// It may live: a second one must not be started.
		r.Logger.Error("cannot adopt, trying again", "child", e.name, "incarnation", e.obs.Incarnation, "err", err)
	default:
		return false
	}
	return true
}

// takeOver takes note of the end of a leader, if that is news, and adopts what is
// left after it.
func (r *Reconciler) takeOver(e *entry) {
	p := e.obs.Process
	if p.Exit != nil {
		r.takeOverRest(e)
		return
	}
	r.foldEnd(e, r.runtime.ExitOf(p.Launch))
}

// foldEnd takes note of the end of a leader while no server ran, and of what it
// left.
func (r *Reconciler) foldEnd(e *entry, exit spec.Exit) {
	p := e.obs.Process
	exit.Incarnation = e.obs.Incarnation
	r.mu.Lock()
	p.Adopted = true
	was := e.past()
	e.obs.Exited(exit, false, jitter())
	e.learned = true
	r.noteExit(e.name, e.child, exit, p.Stop != nil)
	r.recordLearned(e.exited(exit, was))
	r.mu.Unlock()
	r.logExit(e.name, exit)
	r.takeOverRest(e)
}

// takeOverRest adopts what is left of a run after its leader.
func (r *Reconciler) takeOverRest(e *entry) {
	err := r.runtime.AdoptRest(e.name, e.obs.Process.Launch)
	e.unadopted = err != nil && !errors.Is(err, spec.ErrGone)
	switch {
	case err == nil:
		r.Logger.Warn("the leader is gone, other processes of the run are left", "child", e.name, "incarnation", e.obs.Incarnation)
	case e.unadopted:
		r.Logger.Error("cannot adopt, trying again", "child", e.name, "incarnation", e.obs.Incarnation, "err", err)
	default:
		r.mu.Lock()
		e.obs.Emptied(e.obs.Incarnation)
		r.mu.Unlock()
	}
	r.saveEntry(e)
}

// saveEntry saves what is known of a child outside of a pass.
func (r *Reconciler) saveEntry(e *entry) {
	r.mu.Lock()
	obs := e.obs.Clone()
	r.mu.Unlock()
	r.save(e, &obs)
	r.mu.Lock()
	defer r.mu.Unlock()
	e.obs.Unsaved = obs.Unsaved
}

// adoptedBy tries again what could not be found out at the start; false if it
// still cannot.
func (r *Reconciler) adoptedBy(name string) bool {
	r.mu.Lock()
	e := r.children[name]
	r.mu.Unlock()
	if e == nil || !e.unadopted {
		return true
	}
	if e.obs.Process.Exit != nil || !r.adopt(e) {
		r.takeOver(e)
	}
	return !e.unadopted
}

// discover takes over the runs that a former server started and did not live to
// write down: it died between the fork and the save, or its disk was full.
func (r *Reconciler) discover(changes map[string]spec.Desired) {
	live := r.findLive()
	// Read after the look at who lives: one that ended in between would be in
	// neither, and be started twice.
	ends, err := r.runtime.Ended()
	if err != nil {
		r.Logger.Warn("some exits on record cannot be read", "err", err)
	}
	for _, f := range leaders(append(live, ends...)) {
		switch e := r.children[f.Child]; {
		case e == nil && f.Exit != nil:
			// Of a child that was forgotten.
		case e == nil, isNews(f, e):
			r.takeUp(f, changes)
		case e.obs.Process == nil || e.obs.Incarnation != f.Launch.Identity.Incarnation:
			r.discard(f, live)
		}
	}
}

// admitLost takes note of the launches that the former server had begun and of
// which there is no trace, where a process could have gone without one.
func (r *Reconciler) admitLost() {
	if r.runtime.Witnessed() {
		return
	}
	for _, e := range r.children {
		if e.obs.Process != nil || e.obs.Reserved <= e.obs.Incarnation {
			continue
		}
		r.mu.Lock()
		e.obs.LaunchLost(jitter(), time.Now())
		e.learned = true
		r.noteExit(e.name, e.child, *e.obs.LastExit, false)
		r.recordLearned(e.exited(*e.obs.LastExit, past{}))
		r.mu.Unlock()
		r.logExit(e.name, *e.obs.LastExit)
		r.saveEntry(e)
	}
}

// findLive looks for what lives and is not known. A look that fails is tried
// again for a while: a run that is overlooked is started twice.
func (r *Reconciler) findLive() []spec.Found {
	for try := 1; ; try++ {
		live, err := r.runtime.Found()
		if err == nil {
			return live
		}
		r.Logger.Error("cannot look for the processes of a former server", "err", err, "try", try)
		if try == findTries {
			return live
		}
		select {
		case <-time.After(saveAgain):
		case <-r.ctx.Done():
			return live
		}
	}
}

// findTries is how often the runs of a former server are looked for, once a
// second: the keeper does not wait much longer for a new version.
const findTries = 3

// leaders are the runs of which a child and an incarnation are known, the oldest
// first, each by its leader: of all that lead process groups in a run that is the
// one that began first. A process that is found both alive and dead has died.
func leaders(all []spec.Found) []spec.Found {
	type run struct {
		child       string
		incarnation uint64
	}
	first := map[run]spec.Found{}
	for _, f := range all {
		r := run{f.Child, f.Launch.Identity.Incarnation}
		if r.child == "" || r.incarnation == 0 {
			continue
		}
		if known, ok := first[r]; !ok || beganBefore(f, known) {
			first[r] = f
		}
	}
	return slices.SortedFunc(maps.Values(first), func(a, b spec.Found) int {
		return cmp.Compare(a.Launch.Identity.Incarnation, b.Launch.Identity.Incarnation)
	})
}

func beganBefore(a, b spec.Found) bool {
	x, y := a.Launch.Identity, b.Launch.Identity
	switch {
	case x.StartTicks != y.StartTicks:
		return x.StartTicks < y.StartTicks
	case x.PID != y.PID:
		// Within one tick numbers are given out in order.
		return x.PID < y.PID
	}
	return a.Exit != nil
}

// isNews tells whether a run is later than the latest that is known of a child.
// An end on record may be of a child of the same name that was forgotten since:
// one counts only if it follows a run that is known, or if a start was asked for
// before it and nothing is known to have come of that.
func isNews(f spec.Found, e *entry) bool {
	id := f.Launch.Identity
	switch {
	case id.Incarnation <= e.obs.Incarnation || id.StartTicks < e.obs.StartTicks || e.obs.Process != nil:
		return false
	case f.Exit == nil || e.obs.StartTicks != 0:
		return true
	}
	return e.startPending() && !f.StartedAt.Before(e.desired.At.Add(-startedExactly))
}

// startedExactly is how exactly it is known when a process began.
const startedExactly = 100 * time.Millisecond

// takeUp makes a run known that facts do not tell of.
func (r *Reconciler) takeUp(f spec.Found, changes map[string]spec.Desired) {
	r.mu.Lock()
	e := r.entry(f.Child)
	if e.child == nil {
		// Nothing is known of it but its name: it is stopped as the defaults say.
		e.child = &spec.Child{Name: f.Child, Stop: spec.Stop{Signal: spec.Signal(unix.SIGTERM), Grace: spec.Duration(10 * time.Second)}}
	}
	e.obs.Launched(f.Launch, e.child, e.desired, f.StartedAt)
	e.obs.Process.Adopted = true
	if f.Exit == nil {
		r.recoverWish(e, changes)
	}
	r.recordLearned(spec.Event{Child: f.Child, Type: spec.EventStarted, At: f.StartedAt, Incarnation: e.obs.Incarnation,
		PID: f.Launch.Identity.PID, Message: "found: the server that started it had not written it down"})
	r.mu.Unlock()
	r.Observer.Started(f.Child, string(spec.CausePolicy))
	r.Logger.Warn("found a run that the former server had not written down", "child", f.Child,
		"incarnation", e.obs.Incarnation, "pid", f.Launch.Identity.PID)
	if f.Exit != nil {
		r.foldEnd(e, *f.Exit)
		return
	}
	r.saveEntry(e)
	if !r.adopt(e) {
		r.takeOver(e)
	}
}

// discard ends what was found alive of a run that is history. Its leader, f, may
// have ended, between the look and now too.
func (r *Reconciler) discard(f spec.Found, live []spec.Found) {
	incarnation := f.Launch.Identity.Incarnation
	i := slices.IndexFunc(live, func(l spec.Found) bool {
		return l.Child == f.Child && l.Launch.Identity.Incarnation == incarnation
	})
	if i < 0 {
		return
	}
	f = live[i]
	r.Logger.Warn("processes of a former run are left, they are killed", "child", f.Child,
		"incarnation", incarnation, "pid", f.Launch.Identity.PID)
	err := r.runtime.Adopt(f.Child, f.Launch)
	if errors.Is(err, spec.ErrGone) {
		err = r.runtime.AdoptRest(f.Child, f.Launch)
	}
	switch {
	case err == nil:
		r.signal(f.Child, incarnation, spec.Signal(unix.SIGKILL))
		r.record(spec.Event{Child: f.Child, Type: spec.EventKilled, Incarnation: incarnation, PID: f.Launch.Identity.PID,
			Signal: spec.Signal(unix.SIGKILL), Message: "left of a former run"})
	case !errors.Is(err, spec.ErrGone):
		r.Logger.Error("cannot kill them", "child", f.Child, "incarnation", incarnation, "err", err)
	}
}
