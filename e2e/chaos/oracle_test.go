package chaos

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"syscall"

	"kita/spec"
)

// rules are what a fault allows.
type rules struct {
	// final: every child is stopped, so each run has ended. Before that only
	// the runs are judged that a later one of the child has followed.
	final bool
	// mayUnknown: exits that could not be learned are no fault, since nobody
	// was there to learn them. Nor is a number that is used again, of a run that
	// nobody could write down and nobody saw.
	mayUnknown bool
	// mayCrash: a child may fail as Go programs do that get no thread, with
	// status 2, which is no status of Code.
	mayCrash bool
	// signalled tells whether a run may have ended by a signal of a command, or
	// by one of the harness.
	signalled func(run) bool
	// lives tells whether a child must never have had a second run.
	lives func(child string) bool
}

func (r rules) crash(e spec.Exit) bool {
	return r.mayCrash && e.Known && e.Signal == 0 && e.Code == 2
}

// findings are the faults of kita.
type findings struct {
	starts, doubles, lost, wrong, unknown, deaths int
	// unseen are exits that the harness did not ask for in time. They are no
	// fault of kita's, but few, or nothing would be judged.
	unseen int
	// details are one line each.
	details []string
}

func (f *findings) bad(r rules) bool {
	return f.doubles+f.lost+f.wrong+f.deaths > 0 || f.unseen*10 > f.starts || f.unknown > 0 && !r.mayUnknown
}

func (f *findings) note(format string, args ...any) {
	if len(f.details) < 30 {
		f.details = append(f.details, fmt.Sprintf(format, args...))
	}
}

// judge holds what kita says against what the children wrote. The ledger must
// have been read after the latest answer in h was given.
func judge(l *ledger, h *history, allowed rules) *findings {
	f := &findings{starts: len(l.starts)}
	for _, r := range l.doubles {
		f.doubles++
		f.note("%v found another process of its child alive", r)
	}
	for _, text := range h.wrong {
		f.wrong++
		f.note("%s", text)
	}
	for _, r := range sorted(l.starts) {
		// One after the other, or the second would have found the first.
		switch n := len(l.starts[r]); {
		case n > 1 && allowed.mayUnknown:
			f.unknown += n - 1
		case n > 1:
			f.wrong++
			f.note("%v was started %d times, as PIDs %v", r, n, l.starts[r])
		}
		if r.incarnation > 1 && allowed.lives(r.child) {
			f.deaths++
			f.note("%v: the run before it was to live for ever", r)
		}
		f.judgeRun(l, h, r, allowed)
	}
	for _, r := range sorted(h.exits) {
		e := h.exits[r]
		if len(l.starts[r]) == 0 && !allowed.crash(e) && !(e.Signal != 0 && allowed.signalled(r)) && !(!e.Known && allowed.mayUnknown) {
			f.wrong++
			f.note("%v has an exit (%v) and was never started", r, e)
		}
	}
	if allowed.final {
		f.judgeCounts(l, h, allowed)
	}
	return f
}

func (f *findings) judgeRun(l *ledger, h *history, r run, allowed rules) {
	e, recorded := h.exits[r]
	code, ended := l.ends[r]
	if ended && code != Code(r.child, r.incarnation) {
		f.wrong++
		f.note("%v wrote that it ends with %d", r, code)
	}
	switch {
	case !recorded && h.unseen[r]:
		f.unseen++
	case !recorded:
		if allowed.final || r.incarnation < h.views[r.child].latest() {
			f.lost++
			f.note("%v was started and has no exit", r)
		}
	case !e.Known:
		f.unknown++
		if !allowed.mayUnknown {
			f.note("%v has an exit that is not known", r)
		}
	case e.Signal != 0:
		if !allowed.signalled(r) || e.Signal != spec.Signal(syscall.SIGTERM) && e.Signal != spec.Signal(syscall.SIGKILL) {
			f.wrong++
			f.note("%v ended with %v, and nobody sent that", r, e)
		}
	case allowed.crash(e):
	case !ended:
		f.wrong++
		f.note("%v is said to have ended with %v, and has not", r, e)
	case e.Code != Code(r.child, r.incarnation):
		f.wrong++
		f.note("%v ended with %d, kita says %v", r, Code(r.child, r.incarnation), e)
	}
}

// judgeCounts compares the counters with the runs there were. A run that was
// ended by a signal before it could write is known by its exit.
func (f *findings) judgeCounts(l *ledger, h *history, allowed rules) {
	runs := map[string]map[uint64]bool{}
	add := func(r run) {
		if runs[r.child] == nil {
			runs[r.child] = map[uint64]bool{}
		}
		runs[r.child][r.incarnation] = true
	}
	for r := range l.starts {
		add(r)
	}
	for r := range h.exits {
		add(r)
	}
	for _, name := range slices.Sorted(maps.Keys(h.views)) {
		v := h.views[name]
		if v.Status.Starts != uint64(len(runs[name])) {
			f.wrong++
			f.note("%s was started %d times, kita says %d", name, len(runs[name]), v.Status.Starts)
		}
		if v.alive() {
			f.wrong++
			f.note("%s is stopped, and kita says that it is %s with PID %d", name, v.Status.Phase, v.Status.Process.PID)
		}
	}
	for _, child := range slices.Sorted(maps.Keys(l.latest)) {
		if _, known := h.views[child]; !known {
			f.wrong++
			f.note("%s was started, and kita does not know it", child)
		}
	}
}

func sorted[V any](runs map[run]V) []run {
	return slices.SortedFunc(maps.Keys(runs), func(a, b run) int {
		return cmp.Or(cmp.Compare(a.child, b.child), cmp.Compare(a.incarnation, b.incarnation))
	})
}
