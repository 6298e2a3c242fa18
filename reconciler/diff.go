package reconciler

import (
	"slices"

	"kita/spec"
)

// Diff compares the files of children, or of all of them for spec.All alone, as
// they are now with what the processes were started with. The error is a
// *spec.Refusal with spec.NotFound.
func (r *Reconciler) Diff(names []string) ([]spec.ChildDiff, error) {
	all := slices.Equal(names, []string{spec.All})
	r.Refresh()
	if all {
		names = nil
		r.mu.Lock()
		for _, e := range r.sorted() {
			names = append(names, e.name)
		}
		r.mu.Unlock()
	}
	diffs := []spec.ChildDiff{}
	for _, name := range names {
		found := r.Catalogue.Lookup(name)
		d, there := r.diff(name, found)
		switch {
		case there:
			diffs = append(diffs, d)
		case !all:
			return nil, spec.Refuse(spec.NotFound, "", name, "%s: no file %s.yml or %s.yaml in the load paths, and it does not run", name, name, name)
		}
	}
	return diffs, nil
}

// diff is that of one child, of which found is the file; false where there is
// neither a file nor a process.
func (r *Reconciler) diff(name string, found spec.Entry) (d spec.ChildDiff, there bool) {
	d = spec.ChildDiff{Child: name, Phase: spec.PhaseStopped, State: spec.DiffNew, Differences: []spec.Difference{}}
	var process *spec.Process
	done := false
	r.mu.Lock()
	if e := r.children[name]; e != nil {
		d.Phase, process = e.status.Phase, e.status.Process
		if e.obs.Starts > 0 || e.desired.Generation > 0 {
			d.State = spec.DiffNotRunning
		}
		done = e.desired.Run == spec.Running && !e.startPending() && found.Child != nil && e.obs.Done(found.Child)
	}
	r.mu.Unlock()
	if process != nil {
		d.PID = process.PID
	}
	switch err := spec.CheckHooks(name, r.Catalogue.Child); {
	case found.Missing && process == nil:
		return d, false
	case found.Missing:
		d.State = spec.DiffGone
	case found.Err != nil:
		d.State, d.Error = spec.DiffBroken, found.Err.Error()
	case err != nil:
		d.State, d.Error = spec.DiffBroken, err.Error()
	case process == nil && done:
		d.State = spec.DiffUnchanged
	case process == nil:
		d.Command = found.Child.MaskedCommand()
	case process.Config == nil:
		// Nobody knows what it was started with.
		d.State = spec.DiffChanged
	default:
		d.State = spec.DiffUnchanged
		if spec.Stale(process.Config, found.Child) {
			d.State = spec.DiffChanged
		}
		d.Differences = append(d.Differences, spec.Diff(process.Config, found.Child)...)
	}
	return d, true
}
