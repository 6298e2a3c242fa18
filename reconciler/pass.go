package reconciler

import (
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"kita/reconciler/plan"
	"kita/spec"
)

// step is one pass over one child, with copies of all it looks at.
type step struct {
	e       *entry
	child   *spec.Child
	desired spec.Desired
	obs     plan.Observed
	now     time.Time
	dirty   bool // obs has news that the next server must know
}

// pass looks at one child and does at most one thing about it.
func (r *Reconciler) pass(name string) {
	if !r.adoptedBy(name) {
		r.queue.AddAt(name, time.Now().Add(saveAgain))
		return
	}
	s, p, ok := r.decide(name, nil)
	if !ok {
		return
	}
	if s.child != nil && s.child != s.e.configured {
		s.e.configured = s.child
		r.runtime.Configure(s.child)
	}
	if _, forget := p.Action.(plan.Forget); forget {
		r.forget(s)
		return
	}
	if p.Action != nil {
		if r.Logger.Enabled(r.ctx, slog.LevelDebug) {
			r.Logger.Debug("pass", "child", name, "action", p.Action.String())
		}
		s.dirty = true
		r.act(s, p.Action)
		r.saveNews(s)
		// What the action settled is shown without another turn in the queue.
		// If there is more to be done that has to wait for its turn.
		if s, p, ok = r.decide(name, &s.obs); !ok {
			return
		}
	}
	r.saveNews(s)
	if p.Action != nil {
		r.queue.Add(name)
		return
	}
	r.queue.AddAt(name, p.WakeAt)
}

// saveNews saves what the next server must know, and tries again what could not
// be saved.
func (r *Reconciler) saveNews(s *step) {
	if !s.dirty && !s.e.unsaved {
		return
	}
	r.save(s.e, &s.obs)
	s.dirty = false
	r.mu.Lock()
	s.e.obs.Unsaved = s.obs.Unsaved
	r.mu.Unlock()
}

// decide folds the mailbox, plans, and publishes the status. done, if not nil, is
// the observed state after the action of the same pass.
func (r *Reconciler) decide(name string, done *plan.Observed) (*step, plan.Plan, bool) {
	r.mu.Lock()
	e := r.children[name]
	if e == nil {
		r.mu.Unlock()
		return nil, plan.Plan{}, false
	}
	if done != nil {
		e.obs = *done
	}
	s := &step{e: e, child: e.child, desired: e.desired, now: time.Now()}
	if r.ending {
		s.desired.Run, s.desired.Posthook = spec.Stopped, 0
	}
	var facts []fact
	if e.mailbox != nil {
		facts = *e.mailbox
	}
	taken := facts[:0]
	for _, f := range facts {
		was := e.past()
		if !f.fold(&e.obs, s.desired, s.now) {
			r.Observer.StaleFact()
			r.Logger.Debug("stale fact dropped", "child", name, "fact", f)
			continue
		}
		s.dirty = true
		taken = append(taken, f)
		r.observe(name, s.child, f, was.asked)
		r.recordFact(e, f, was, s.desired)
	}
	e.mailbox = nil
	p := plan.For(s.child, e.gone, s.desired, &e.obs, s.now)
	e.obs.Published(p.Status)
	s.obs = e.obs
	if p.Action != nil {
		s.obs = e.obs.Clone() // the action changes it, and others look at e
	}
	r.recordStatus(e, e.status, p.Status)
	r.publish(e, p.Status)
	_, forget := p.Action.(plan.Forget)
	r.rest(e, p.Status, p.Action == nil || forget)
	r.endWith(e, p)
	r.mu.Unlock()
	for _, f := range taken {
		r.logFact(name, f)
	}
	return s, p, true
}

// observe tells metrics of a fact that was taken. asked: the process had been
// told to end, so that however it did is no failure. mu is held.
func (r *Reconciler) observe(name string, child *spec.Child, f fact, asked bool) {
	switch f := f.(type) {
	case exitedFact:
		r.noteExit(name, child, f.exit, asked)
	case hookFact:
		r.Observer.HookDone(string(f.kind), f.message == "")
	}
}

func (r *Reconciler) noteExit(name string, child *spec.Child, exit spec.Exit, asked bool) {
	r.Observer.Exited(name, exit, asked || child != nil && child.Restart.IsSuccess(exit))
}

// logFact tells the log of a fact that was taken.
func (r *Reconciler) logFact(name string, f fact) {
	switch f := f.(type) {
	case exitedFact:
		r.logExit(name, f.exit)
	case outputFaultFact:
		for _, line := range f.lines {
			r.Logger.Warn("output file", "child", name, "incarnation", f.incarnation, "problem", line)
		}
	case hookFact:
		if f.message != "" {
			r.Logger.Warn("hook failed", "child", name, "kind", f.kind, "err", f.message)
		}
	}
}

func (r *Reconciler) logExit(name string, exit spec.Exit) {
	r.Logger.Info("exited", "child", name, "incarnation", exit.Incarnation, "exit", exit.String())
}

// act does one action with no lock held and records its effect in s.obs.
func (r *Reconciler) act(s *step, action plan.Action) {
	name, o := s.e.name, &s.obs
	switch a := action.(type) {
	case plan.Start:
		r.start(s, a)
	case plan.Signal:
		began := time.Now()
		r.signal(name, a.Incarnation, a.Signal, spec.Signal(unix.SIGCONT))
		o.Signalled(s.grace(), time.Now())
		r.recordStopping(s, a, began)
		r.Logger.Info("stopping", "child", name, "incarnation", a.Incarnation, "signal", a.Signal.String())
	case plan.Kill:
		var pids []int
		if o.Process.Stop == nil || o.Process.Stop.Kills == 0 {
			pids = r.runtime.Survivors(name, a.Incarnation)
		} else if o.Killed != nil {
			pids = o.Killed.PIDs
		}
		began := time.Now()
		r.signal(name, a.Incarnation, spec.Signal(unix.SIGKILL))
		o.KillSent(pids, time.Now())
		if o.Process.Stop.Kills == 1 {
			r.recordKilled(s, a, began)
		}
		r.Logger.Warn("killing", "child", name, "incarnation", a.Incarnation, "pids", pids)
	case plan.RunHook:
		r.runHook(s, a)
	case plan.CancelHook:
		r.mu.Lock()
		cancel := r.hooks[name]
		r.mu.Unlock()
		if cancel != nil { // else it is done, and its fact on the way
			cancel()
		}
		o.HookCancelled()
	case plan.SkipPosthook:
		o.PosthookSkipped(a.Generation)
	case plan.Trigger:
		repeat := *o.Repeat
		o.RepeatTaken()
		r.trigger(name, a.Incarnation, repeat)
	}
}

// start launches the child's process. The identity is saved before anything
// else, so that a server that dies here cannot lose the process.
func (r *Reconciler) start(s *step, a plan.Start) {
	name := s.e.name
	cause := spec.CausePolicy
	if s.desired.RestartGeneration > s.obs.Attempted {
		cause = s.desired.Cause
	}
	// So that a server that dies between the fork and the save costs no number
	// twice: what it started may be seen by nobody.
	s.obs.Launching(a.Incarnation)
	r.save(s.e, &s.obs)
	l, err := r.runtime.Start(s.child, a.Incarnation)
	if err != nil {
		s.obs.LaunchFailed(err.Error(), s.child, s.desired, jitter(), time.Now())
		r.recordLaunchFailed(s, err.Error())
		r.Logger.Warn("cannot start", "child", name, "incarnation", a.Incarnation, "err", err)
		return
	}
	s.obs.Launched(l, s.child, s.desired, time.Now())
	r.save(s.e, &s.obs)
	s.dirty = false
	r.recordStart(s, a.Incarnation, l, cause)
	r.Observer.Started(name, string(cause))
	r.Logger.Info("started", "child", name, "incarnation", a.Incarnation, "pid", l.Identity.PID, "cause", cause)
	for _, warning := range l.Warnings {
		r.Logger.Warn("the machine cannot give what the file asks for", "child", name, "problem", warning)
	}
}

func (r *Reconciler) signal(name string, incarnation uint64, sigs ...spec.Signal) {
	if err := r.runtime.Signal(name, incarnation, sigs...); err != nil {
		r.Logger.Error("cannot signal", "child", name, "incarnation", incarnation, "signal", sigs[0].String(), "err", err)
	}
}

// grace is that of the last good file, or of the process where there is none.
func (s *step) grace() time.Duration {
	if s.child != nil {
		return s.child.Stop.Grace.D()
	}
	return s.obs.Process.Config.Stop.Grace.D()
}

// forget drops a child whose file is gone and of which nothing is alive, unless
// something about it changed meanwhile.
func (r *Reconciler) forget(s *step) {
	name := s.e.name
	if r.away(s.child) {
		return
	}
	r.mu.Lock()
	stale := !s.e.gone || s.e.mailbox != nil || s.e.desired != s.desired && !r.ending
	if !stale {
		delete(r.children, name)
		r.byName = nil
		s.e.removed = true
		// Before anybody can see that it is gone: its series go with it.
		r.Observer.Forgotten(name)
		r.record(spec.Event{Child: name, Type: spec.EventForgotten})
		r.touch(s.e)
	}
	r.mu.Unlock()
	if stale {
		r.queue.Add(name)
		return
	}
	r.Catalogue.Forget(name)
	if err := errors.Join(r.Store.Forget(name), r.Store.RemoveFacts(name)); err != nil {
		r.Logger.Error("cannot forget a child on disk", "child", name, "err", err)
	}
	r.Logger.Info("forgotten, its file is gone", "child", name)
}
