package why

import (
	"strings"

	"kita/spec"
)

// lastLines are those that the latest failed run wrote, nil where there are none
// or where they say nothing about the present state.
func (q Question) lastLines(leading []spec.Event) *spec.LastLines {
	if l := q.View.Status.LastLines; l != nil {
		return l
	}
	if q.View.Desired.Run == spec.Stopped {
		return nil
	}
	e := latest(leading, func(e spec.Event) bool { return e.Type == spec.EventExited || e.Type == spec.EventCannotStart })
	if e == nil || len(e.LastLines) == 0 || e.Success || e.Asked {
		return nil
	}
	return &spec.LastLines{Incarnation: e.Incarnation, Lines: e.LastLines}
}

// hints are what can be done about it.
func (q Question) hints() []string {
	v := q.View
	s := v.Status
	name := quoted(v.Name)
	var hints []string
	add := func(hint string) { hints = append(hints, hint) }
	if place := filePlace(v.FileError); place != "" {
		add("correct " + place + ", it is read when it is saved")
	}
	hook := HookedChild(v)
	switch {
	case q.IsGone:
		return nil
	case hook != "":
		add("kita why " + quoted(hook) + q.Words)
	case q.cannotStart() && s.Phase == spec.PhaseFailed:
		add("mend that, or correct " + q.file() + ", then: kita start " + name + q.Words)
	case q.cannotStart():
		add("mend that, or correct " + q.file() + "; it is tried again by itself")
	case s.Phase == spec.PhaseBackOff, s.Phase == spec.PhaseFailed, s.Phase == spec.PhaseRunning && q.hasCrashed():
		add(q.outputHint(name))
	}
	if q.ranOutOfMemory() {
		add(q.memoryHint())
	}
	switch {
	case s.Phase == spec.PhaseStopped && v.Desired.Run == spec.Running:
		// The server ends.
	case s.Phase == spec.PhaseStopped && q.refused() != nil:
		add("mend that, then: kita start " + name + q.Words)
	case s.Phase == spec.PhaseStopped && v.Spec != nil && v.FileError == "", s.Phase == spec.PhaseExited:
		add("kita start " + name + q.Words)
	case s.Phase == spec.PhaseFailed && (hook != "" || !q.cannotStart()):
		add("kita start " + name + q.Words + " once that is mended")
	case v.Stale && v.FileError == "":
		add("kita restart " + name + q.Words + " applies its file as it is now")
	}
	return hints
}

// cannotStart: the latest attempt did not even get a process.
func (q Question) cannotStart() bool {
	s := q.View.Status
	if s.Phase != spec.PhaseFailed && s.Phase != spec.PhaseBackOff {
		return false
	}
	if f := s.Failure; f != nil && f.Code == spec.CannotStart && s.FailureIsReason() {
		return true
	}
	e := q.end()
	return e != nil && e.Type == spec.EventCannotStart
}

// file is the child's file.
func (q Question) file() string {
	if c := q.current(); c != nil {
		return c.File
	}
	return "its file"
}

// hasCrashed: the run before this one ended by itself and without success.
func (q Question) hasCrashed() bool {
	e := q.end()
	return q.View.Status.Restarts > 0 && e != nil && IsTrouble(*e)
}

// outputHint is where what the child wrote can be read.
func (q Question) outputHint(name string) string {
	c := q.current()
	if c != nil && c.Stdout == nil && c.Stderr == nil {
		return "its output goes where the server's does; `output: auto` in " + q.file() + " gives it a file"
	}
	return "kita logs " + name + " --tail 50" + q.Words
}

func (q Question) ranOutOfMemory() bool {
	s := q.View.Status
	return s.LastExit != nil && s.LastExit.OOMKilled && s.Phase != spec.PhaseStopped
}

func (q Question) memoryHint() string {
	c := q.current()
	if c == nil || c.Resources.Memory == 0 {
		return "it has no limit of its own: the memory of the machine, or of a group around it, ran out"
	}
	return "it reached limits.memory of " + c.File + ": raise that, or have it take less"
}

// filePlace is the file and the line that the first error of a file begins with.
func filePlace(errors string) string {
	first, _, _ := strings.Cut(errors, "\n")
	place, _, found := strings.Cut(first, ": ")
	if !found || !strings.Contains(place, ":") || strings.ContainsAny(place, " ") {
		return ""
	}
	return place
}

// quoted is a name as a shell takes it.
func quoted(name string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-@+:,", r)
	}
	if name != "" && strings.TrimFunc(name, plain) == "" && !strings.HasPrefix(name, "-") {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}
