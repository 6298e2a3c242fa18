package reconciler

import (
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"

	"kita/spec"
)

const (
	// settle is how long the load paths must be quiet before they are listed
	// again, so that a copy of many files costs one listing; at most settleMax.
	settle    = 50 * time.Millisecond
	settleMax = 500 * time.Millisecond
	// relist is how often they are listed without being told to, for file
	// systems that do not notify (NFS) and for events that were lost.
	relist = 30 * time.Second
	// firstRelist is when that is done first: a file may have changed between the
	// first listing and the watch.
	firstRelist = 2 * time.Second
	// trusted is how many times in a row that is left out where the watch tells
	// of every change.
	trusted = 20
)

// apply makes what the catalogue found the child's configuration. It takes the
// latest of that name: somebody else may have looked at the disk since.
func (r *Reconciler) apply(found spec.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	found = r.Catalogue.Lookup(found.Name)
	if found.Missing && r.children[found.Name] == nil {
		return
	}
	e := r.entry(found.Name)
	before, file := e.view(), e.fileState()
	e.gone, e.fileErr = found.Missing, found.Err
	if found.Child != nil {
		e.asFile = e.asFile && e.child != nil && !spec.Stale(e.child, found.Child)
		e.child = found.Child
	}
	r.recordFile(e, file)
	if after := e.view(); before.Spec != after.Spec || before.FileError != after.FileError {
		r.touch(e)
	}
}

// refreshSettings takes over a changed server.yml.
func (r *Reconciler) refreshSettings() {
	if !r.Settings.Refresh() {
		return
	}
	if err := r.Settings.Problem(); err != nil {
		r.Logger.Error("server.yml is illegal, the last good one stays in force", "err", err)
		return
	}
	server := r.Settings.Server()
	r.Catalogue.SetPaths(inFull(server.LoadPaths), server.Defaults)
	r.Logger.Info("server.yml read again", "file", server.File)
	r.refreshCatalogue()
}

// inFull are load paths as whoever asks from elsewhere has to know them: relative ones
// are those of the server's working directory.
func inFull(paths []string) []string {
	full := slices.Clone(paths)
	for i, path := range full {
		if filepath.IsAbs(path) {
			continue
		}
		if abs, err := filepath.Abs(path); err == nil {
			full[i] = abs
		}
	}
	return full
}

func (r *Reconciler) refreshCatalogue() {
	changed, _ := r.Catalogue.Refresh()
	for _, name := range changed {
		found := r.Catalogue.Lookup(name)
		if found.Err != nil {
			r.Logger.Warn("child file is illegal, an earlier version stays in force", "child", name, "err", found.Err)
		}
		r.apply(found)
		r.queue.Add(name)
	}
	r.reviewGone()
}

// away tells whether the file of a child may only be out of reach: its load path
// cannot be listed now, a mount that is not there for instance. Of a child that
// only an earlier server knew (nil) that may be any of them.
func (r *Reconciler) away(c *spec.Child) bool {
	return slices.ContainsFunc(r.Catalogue.Problems(), func(p spec.Problem) bool {
		isPath := p.Child == ""
		return isPath && (c == nil || c.LoadPath == p.Path)
	})
}

// reviewGone asks for a pass over each child without a file, for those that
// were not forgotten while a load path was away.
func (r *Reconciler) reviewGone() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, e := range r.children {
		if e.gone {
			r.queue.Add(name)
		}
	}
}

// Refresh looks at server.yml and the load paths now.
func (r *Reconciler) Refresh() {
	r.refreshSettings()
	r.refreshCatalogue()
}

// watchSources begins to watch server.yml and the load paths. Where there is
// nothing left to watch with, they are listed every now and then only.
func (r *Reconciler) watchSources() {
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		r.Logger.Warn("cannot watch the load paths, they are listed every 30 s instead", "err", err)
		r.running.Go(func() { r.watchLoop(nil) })
		return
	}
	r.watchPaths(notify)
	r.running.Go(func() {
		defer func() { _ = notify.Close() }()
		r.watchLoop(notify)
	})
}

// watchPaths adds the directories that exist to the watch, and tells whether all
// do. Adding one twice is harmless; one that is gone leaves by itself.
func (r *Reconciler) watchPaths(notify *fsnotify.Watcher) (all bool) {
	all = true
	for _, dir := range r.watchedDirs() {
		err := notify.Add(dir)
		all = all && err == nil
		if err != nil && !os.IsNotExist(err) {
			r.Logger.Debug("cannot watch, it is listed every 30 s instead", "dir", dir, "err", err)
		}
	}
	return all
}

// isNoise tells whether only the content of a file has changed that nothing is
// read from: a log beside server.yml, say, which would have all files looked at
// for each of its lines. Nothing is noise where a link may lead to it.
func (r *Reconciler) isNoise(event fsnotify.Event) bool {
	if event.Op&^(fsnotify.Write|fsnotify.Chmod) != 0 {
		return false
	}
	ext, server := filepath.Ext(event.Name), r.Settings.Server().File
	if ext == ".yml" || ext == ".yaml" || slices.Contains(r.watchedDirs(), event.Name) || r.Catalogue.Linked() {
		return false
	}
	if filepath.Dir(event.Name) != filepath.Dir(server) {
		return true
	}
	st, err := os.Lstat(server)
	return err == nil && st.Mode().IsRegular() && filepath.Base(event.Name) != filepath.Base(server)
}

// watchedDirs are the load paths and the directory of server.yml.
func (r *Reconciler) watchedDirs() []string {
	dirs := r.Catalogue.Paths()
	if file := r.Settings.Server().File; file != "" {
		dirs = append(dirs, filepath.Dir(file))
	}
	return dirs
}

// watchLoop lists the load paths again once events have come to rest. What the
// event said does not matter, unless it is noise.
func (r *Reconciler) watchLoop(notify *fsnotify.Watcher) {
	quiet := time.NewTimer(firstRelist)
	defer quiet.Stop()
	var first time.Time // of the events not yet acted on
	watched, left := false, 0
	// Without a watch these are channels that never tell anything.
	var events chan fsnotify.Event
	var failures chan error
	if notify != nil {
		events, failures = notify.Events, notify.Errors
	}
	for {
		select {
		case <-r.ctx.Done():
			return
		case event, ok := <-events:
			if !ok {
				return
			}
			if r.isNoise(event) {
				continue
			}
			now := time.Now()
			if first.IsZero() {
				first = now
			}
			quiet.Reset(min(settle, max(0, first.Add(settleMax).Sub(now))))
		case err := <-failures:
			r.Logger.Warn("watch of the load paths", "err", err)
			left = 0
			quiet.Reset(0)
		case <-quiet.C:
			quiet.Reset(relist)
			if r.Glance != nil {
				r.Glance()
			}
			if first.IsZero() && watched && left > 0 && r.Catalogue.Watchable() {
				left--
				r.refreshSettings()
				// A directory that was unmounted meanwhile is watched no more, and
				// nobody says so.
				watched = r.watchPaths(notify)
				continue
			}
			first, left = time.Time{}, trusted
			r.Refresh()
			if notify != nil {
				watched = r.watchPaths(notify)
			}
		}
	}
}
