package why

import (
	"fmt"
	"strings"

	"kita/spec"
)

// besides is what is true as well: a broken file, another configuration, a
// command that failed.
func (q Question) besides() string {
	v := q.View
	var parts []string
	if f := v.Status.Failure; f != nil && f.Generation == v.Desired.Generation && (!v.Status.FailureIsReason() || v.Status.Phase == spec.PhaseRunning) {
		parts = append(parts, "what was asked for last failed: "+spec.FirstLine(f.Message))
	}
	switch {
	case v.FileError == "" && v.Stale:
		parts = append(parts, "its file has changed since, a restart applies that")
	case v.FileError == "":
	case v.Spec != nil:
		parts = append(parts, q.brokenFile()+"; "+q.whileBroken())
	}
	if e := q.refused(); e != nil {
		parts = append(parts, fmt.Sprintf("the last %s was refused: %s", e.Verb, spec.FirstLine(e.Message)))
	}
	if len(parts) == 0 {
		return ""
	}
	return "; " + strings.Join(parts, "; ")
}

// refused is the latest command that was, because of what the child is configured
// to be; nil where something has happened since, or where the file says so itself.
func (q Question) refused() *spec.Event {
	if q.View.FileError != "" || len(q.Events) == 0 {
		return nil
	}
	e := q.Events[len(q.Events)-1]
	switch e.Code {
	case spec.InvalidFile, spec.BadHook, spec.Ambiguous:
		if e.Type == spec.EventRefused {
			return &e
		}
	default:
	}
	return nil
}

// whileBroken is what a broken file means: commands that start a child refuse it,
// its restart policy takes the last good version.
func (q Question) whileBroken() string {
	v := q.View
	switch {
	case v.Status.Alive() && v.Stale:
		return "an earlier version runs, and a restart is refused until the file is good"
	case v.Status.Alive():
		return "the last good version runs"
	case v.Status.Phase == spec.PhaseBackOff, v.Status.Phase == spec.PhaseStarting:
		return "it is started with the last good version"
	}
	return "a start is refused until the file is good"
}

// brokenFile is what is wrong with the file.
func (q Question) brokenFile() string {
	text := spec.FirstLine(q.View.FileError)
	if strings.HasPrefix(text, "its file") {
		return text
	}
	return "its file is broken: " + text
}
