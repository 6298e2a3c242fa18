package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"kita/spec"
)

// status completes a decision to what is shown. Nothing else makes a
// spec.Status.
func (d decision) status(child *spec.Child, desired spec.Desired, o *Observed, now time.Time) spec.Status {
	s := spec.Status{
		Phase:              d.phase,
		Since:              now,
		ObservedGeneration: o.Settled,
		Starts:             o.Starts,
		Restarts:           o.Restarts,
		LastExit:           o.LastExit,
		History:            o.History,
		Reason:             spec.FirstLine(d.reason),
		NextStart:          d.next,
		Failure:            o.Failure,
		LastLines:          o.lastLines(child),
	}
	switch {
	case d.phase == o.Phase && !o.Since.IsZero():
		s.Since = o.Since
	case d.phase == spec.PhaseRunning && o.Phase == spec.PhaseStarting:
		// Not when it was looked at: a server that follows says the same.
		if since := o.Process.StartedAt.Add(MinAlive); since.Before(now) {
			s.Since = since
		}
	}
	if d.settled {
		s.ObservedGeneration = desired.Generation
	}
	if d.failure != nil {
		s.Failure = d.failure
	}
	if p := o.Process; p != nil && p.Exit == nil {
		s.Process = &spec.Process{PID: p.Identity.PID, Incarnation: o.Incarnation, StartedAt: p.StartedAt,
			Adopted: p.Adopted, Config: p.Config}
		s.Warnings = slices.Clone(p.Warnings)
	}
	s.Warnings = append(s.Warnings, o.OutputFaults...)
	if o.Unsaved != "" {
		s.Warnings = append(s.Warnings, "its state is not saved, a server that follows this one may not know it: "+o.Unsaved)
	}
	if o.Repeat != nil && desired.Run == spec.Running && desired.RestartGeneration == o.Attempted {
		at := o.Repeat.At
		s.RepeatAt = &at
	}
	if s.Reason == "" && s.Failure != nil && s.Failure.Generation == desired.Generation {
		s.Reason = spec.FirstLine(s.Failure.Message)
	}
	return s
}

// lastLines are those of the latest run, nil unless it ended by itself and was no
// success. Where a launch or a hook failed after it, they are not the reason.
func (o *Observed) lastLines(child *spec.Child) *spec.LastLines {
	l, end, exit := o.LastLines, o.End, o.LastExit
	if l == nil || end == nil || end.Asked || end.LaunchError != "" || exit == nil || exit.Incarnation != l.Incarnation {
		return nil
	}
	var restart spec.Restart
	if child != nil {
		restart = child.Restart
	}
	if restart.IsSuccess(*exit) {
		return nil
	}
	return l
}

// pids lists PIDs for people: "PID 7", "PIDs 7, 8".
func pids(list []int) string {
	words := make([]string, len(list))
	for i, pid := range list {
		words[i] = fmt.Sprint(pid)
	}
	if len(words) == 1 {
		return "PID " + words[0]
	}
	return "PIDs " + strings.Join(words, ", ")
}

// KilledNote says who of an incarnation outlived its grace period and was
// killed, and who may have outlived even that; or "".
func (o *Observed) KilledNote(incarnation uint64) string {
	note := ""
	if k := o.Killed; k != nil && k.Incarnation == incarnation && len(k.PIDs) > 0 {
		note = "still alive after its grace period, killed: " + pids(k.PIDs)
	}
	if strays := o.strayNote(incarnation); strays != "" {
		return strings.TrimPrefix(note+"; "+strays, "; ")
	}
	return note
}

// strayNote says which processes may be left of an incarnation; or "".
func (o *Observed) strayNote(incarnation uint64) string {
	s := o.Strays
	if s == nil || s.Incarnation != incarnation || len(s.PIDs) == 0 {
		return ""
	}
	if s.Suspected {
		return pids(s.PIDs) + " may be left of it: orphans outside its process group and with another environment"
	}
	return "not fully killed: " + pids(s.PIDs) +
		" may be of it or of another child, having left its process group and cleared its environment"
}
