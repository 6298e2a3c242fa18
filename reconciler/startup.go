package reconciler

import (
	"errors"
	"fmt"
	"strings"

	"kita/spec"
)

// Start takes back what a former server of this boot left, begins the loop, and
// carries out the startup mode. It returns when the mode's wishes are on disk, or
// cannot be; Ready tells when they have been carried out. Mode full is refused, with
// nothing started, when a file is illegal and the mode is to decide.
func (r *Reconciler) Start(runtime Runtime) error {
	r.runtime = runtime
	server := r.Settings.Server()
	r.Catalogue.SetPaths(inFull(server.LoadPaths), server.Defaults)
	_, problems := r.Catalogue.Refresh()
	resumed := r.Store.SameBoot() && !r.Store.Ended()
	if err := refuse(server.Mode, resumed, problems); err != nil {
		return err
	}
	for _, p := range problems {
		r.Logger.Warn("load path", "problem", p.Message)
	}
	for _, found := range r.Catalogue.Entries() {
		r.apply(found)
	}
	// A full disk is no reason not to look after the children: what could not
	// be saved is logged, and Info tells it.
	if err := r.recall(); err != nil {
		r.Logger.Error("cannot save what the server took over", "err", err)
	}
	if err := r.Store.Begin(); err != nil {
		r.Logger.Error("cannot save that the server began", "err", err)
		r.oweThis(func(d *debts) { d.began = true })
	}
	r.running.Go(r.payDebts)
	for range workers {
		r.running.Go(r.work)
	}
	r.compareFiles()
	r.running.Go(r.rememberFiles)
	r.mu.Lock()
	for name := range r.children {
		r.queue.Add(name)
	}
	r.mu.Unlock()
	r.watchSources()
	r.carryOut(server)
	return nil
}

// refuse is mode full's check of every file. It is not made when children of a
// former server are to be taken back: they need a server, whatever the files
// say by now.
func refuse(mode spec.Mode, resumed bool, problems []spec.Problem) error {
	if mode != spec.Full || resumed {
		return nil
	}
	var errs []error
	for _, p := range problems {
		if p.Illegal {
			errs = append(errs, errors.New(p.Message))
		}
	}
	return errors.Join(errs...)
}

// carryOut writes the startup mode's wishes, once, for the children about
// which nobody has decided. Half mode starts in the order of its list, each
// when the one before has been launched or has failed.
func (r *Reconciler) carryOut(server *spec.Server) {
	var names []string
	switch server.Mode {
	case spec.Half:
		names = server.Startup
	case spec.Full:
		names = r.Catalogue.Names()
	}
	var order []string
	changes := map[string]spec.Desired{}
	for _, name := range names {
		if d, ok := r.wish(name, server.Mode); ok {
			order = append(order, name)
			changes[name] = d
		}
	}
	if err := r.Store.SetDesired(r.ctx, changes); err != nil {
		r.Logger.Error("cannot save what the mode starts", "mode", server.Mode, "err", err)
		r.owe(changes)
	}
	r.running.Go(func() {
		var granted []written
		for _, name := range order {
			w, ok := r.grant(name, changes[name])
			switch {
			case ok && server.Mode == spec.Half:
				r.awaitMode(w)
			case ok:
				granted = append(granted, w)
			}
		}
		for _, w := range granted {
			r.awaitMode(w)
		}
		close(r.ready)
	})
}

// awaitMode waits until a child that the mode starts has been launched or has
// failed, or its former process cannot be killed: then it is started once that is
// gone, and holds up no other. Which of them, its status and the log say.
func (r *Reconciler) awaitMode(w written) {
	_, _ = r.await(r.ctx, w, spec.Command{Verb: spec.VerbStart, Child: w.e.name})
}

// wish is the desired state that the mode writes for one child; false if its
// file is bad or a command of this session has decided about it.
func (r *Reconciler) wish(name string, mode spec.Mode) (spec.Desired, bool) {
	q := request{Command: spec.Command{Verb: spec.VerbStart, Child: name, By: "mode " + string(mode), Cause: spec.CauseMode}}
	found := r.Catalogue.Lookup(name)
	if found.Missing {
		r.Logger.Warn("not started", "child", name, "mode", mode, "err", "no such file in the load paths")
		return spec.Desired{}, false
	}
	err := r.checkFile(q, found, r.Catalogue.Child)
	r.mu.Lock()
	e := r.entry(name)
	undecided := e.desired.Run == ""
	if undecided && err == nil {
		defer r.mu.Unlock()
		return e.next(q), true
	}
	generation := e.desired.Generation
	r.mu.Unlock()
	if undecided {
		r.passOver(q, generation, err)
	}
	return spec.Desired{}, false
}

// passOver has a child say why the mode does not start it.
func (r *Reconciler) passOver(q request, generation uint64, err error) {
	r.Logger.Warn("not started", "child", q.Child, "by", q.By, "err", err)
	r.recordRefused(q, err)
	var refusal *spec.Refusal
	if !errors.As(err, &refusal) {
		return
	}
	why := strings.TrimPrefix(refusal.Message, fmt.Sprintf("cannot %s %s: ", q.Verb, q.Child))
	why = strings.ReplaceAll(why, "\n", "; ")
	r.post(q.Child, passedOverFact{spec.Failure{Generation: generation, Code: refusal.Code, Message: q.By + " did not start it: " + why}})
}

// grant puts a wish in force, unless a command came first.
func (r *Reconciler) grant(name string, d spec.Desired) (written, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.children[name]
	if e == nil || e.desired.Generation >= d.Generation {
		return written{}, false
	}
	e.desired = d
	r.recordWritten(name, spec.VerbStart, d)
	r.touch(e)
	r.queue.Add(name)
	return written{e: e, child: e.child, generation: d.Generation, givesUp: true}, true
}
