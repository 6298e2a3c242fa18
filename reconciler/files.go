package reconciler

import (
	"maps"
	"time"

	"kita/reconciler/store"
	"kita/spec"
)

// This file has the server remember what the children's files were, so that the next
// one can tell of what became of them while no server lived.

// remembered is what is needed for that.
type remembered struct {
	// changed holds a token when there is something to remember.
	changed chan struct{}
	// away are files that an earlier server saw and that may only be out of reach.
	// Fixed once the start has looked.
	away map[string]store.File
}

func newRemembered() remembered { return remembered{changed: make(chan struct{}, 1)} }

// fileChanged has what is known of the files be saved soon. It does not block.
func (r *Reconciler) fileChanged() {
	select {
	case r.remembered.changed <- struct{}{}:
	default:
	}
}

// compareFiles tells of every file that is not what the server before this one saw,
// and begins to tell of what happens from now on. Nothing is told where no server is
// known to have looked.
func (r *Reconciler) compareFiles() {
	before, known := r.Store.Files(r.Version)
	isAway := r.away(nil)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begun = true
	if !known || r.Store.UnsavedFiles() != nil {
		r.fileChanged()
	}
	if !known {
		return
	}
	for _, e := range r.sorted() {
		was, isOld := before[e.name]
		if isOld == e.gone || !e.gone && was != e.file() {
			r.fileChanged()
		}
		switch {
		case isOld && e.gone && isAway:
			// Its load path cannot be read.
		case isOld || !e.gone:
			r.recordChange(e, fileState{gone: !isOld, err: was.Error, hash: was.Hash}, true)
		}
	}
	r.remembered.away = map[string]store.File{}
	for name, was := range before {
		e := r.children[name]
		switch {
		case e != nil && !e.gone:
		case isAway:
			r.remembered.away[name] = was
		case e == nil:
			r.record(spec.Event{Child: name, Type: spec.EventConfig, Config: spec.ConfigGone, Down: true})
			r.record(spec.Event{Child: name, Type: spec.EventForgotten})
			r.fileChanged()
		}
	}
}

// file is what is remembered of a child's file. mu is held.
func (e *entry) file() store.File {
	state := e.fileState()
	return store.File{Hash: state.hash, Error: state.err}
}

// rememberFiles saves what the files are whenever that has changed, at most once a
// second, and in the end. A disk that does not take it is not tried in a hurry: it is
// all of them that are written.
func (r *Reconciler) rememberFiles() {
	var failed error
	for r.awaitFileChange() {
		err := r.saveFiles()
		switch {
		case err != nil && failed == nil:
			r.Logger.Error("cannot save what the files of the children are, what changes while no server lives may not be told", "err", err)
		case err == nil && failed != nil:
			r.Logger.Info("what the files of the children are is saved again")
		}
		wait := saveAgain
		if failed = err; err != nil && r.ctx.Err() == nil {
			r.fileChanged()
			wait = relist
		}
		select {
		case <-time.After(wait):
		case <-r.ctx.Done():
		}
	}
}

// awaitFileChange is false at the end, once nothing has changed since it was saved.
func (r *Reconciler) awaitFileChange() bool {
	select {
	case <-r.remembered.changed:
		return true
	case <-r.ctx.Done():
	}
	select {
	case <-r.remembered.changed:
		return true
	default:
		return false
	}
}

func (r *Reconciler) saveFiles() error {
	r.mu.Lock()
	files := make(map[string]store.File, len(r.children)+len(r.remembered.away))
	maps.Copy(files, r.remembered.away)
	for name, e := range r.children {
		if !e.gone {
			files[name] = e.file()
		}
	}
	r.mu.Unlock()
	return r.Store.SaveFiles(r.Version, files)
}
