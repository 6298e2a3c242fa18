package why

import (
	"strings"
	"time"

	"kita/spec"
)

// Question is a child, and all that is known of it.
type Question struct {
	// View is how the child is now. Only its Name is set where IsGone.
	View   spec.View
	IsGone bool
	// Events are those of the child that are kept, in the order of their Seq.
	Events []spec.Event
	// EventsUnknown is why there are none to know, in one line.
	EventsUnknown string
	// Files are its output files.
	Files []spec.OutputFile
	// Mode is the startup mode of the server, empty where that is not known.
	Mode spec.Mode
	// Hooked is what is known of the child that HookedChild names, nil for
	// nothing; HookedUnknown is why, in one line.
	Hooked        *Question
	HookedUnknown string
	// Host names the host of the server, empty is the one on which this is read;
	// Words are those that a command there ends with, " on h1".
	Host, Words string
	// Now is in the zone in which times are shown.
	Now time.Time
}

// Answer is why a child is as it is.
type Answer struct {
	Child string     `json:"child"`
	Phase spec.Phase `json:"phase,omitempty"`
	Since time.Time  `json:"since,omitzero"`
	// Summary answers in one sentence.
	Summary string `json:"summary"`
	// Warnings are what is wrong besides.
	Warnings []string `json:"warnings,omitempty"`
	// Chain is what led here, oldest first.
	Chain []Step `json:"chain"`
	// Notes say what is not known.
	Notes []string `json:"notes,omitempty"`
	// LastLines are those of the latest run that failed.
	LastLines *spec.LastLines `json:"last_lines,omitempty"`
	// Hints are what can be done, one command or sentence each.
	Hints []string `json:"hints,omitempty"`
}

// Step is an event of the chain, or several of a kind.
type Step struct {
	// Time is that of the latest, Event the latest itself.
	Time  time.Time  `json:"time"`
	Text  string     `json:"text"`
	Event spec.Event `json:"event"`
	// Times is how many were like this, 0 for one alone; First is when the first
	// of them was.
	Times int       `json:"times,omitempty"`
	First time.Time `json:"first,omitzero"`
}

// Of answers q.
func Of(q Question) Answer {
	q.Events = joined(q.Events)
	v := q.View
	a := Answer{Child: v.Name, Phase: v.Status.Phase, Since: v.Status.Since, Chain: []Step{}}
	a.Summary = v.Name + " " + q.headline()
	a.Warnings = q.warnings()
	leading, isWhole := q.leading()
	a.Chain = append(a.Chain, q.steps(leading)...)
	a.Notes = q.notes(leading, isWhole)
	a.LastLines = q.lastLines(leading)
	a.Hints = q.hints()
	return a
}

// joined has what a run wrote at last with its end: it may have been learned after
// that.
func joined(events []spec.Event) []spec.Event {
	var whole []spec.Event
	ends := map[uint64]int{}
	for _, e := range events {
		at, hasEnded := ends[e.Incarnation]
		switch e.Type {
		case spec.EventExited:
			ends[e.Incarnation] = len(whole)
		case spec.EventOutput:
			if hasEnded {
				whole[at].LastLines = e.LastLines
			}
			continue
		default:
		}
		whole = append(whole, e)
	}
	return whole
}

// latest is the last event that is wanted, nil where there is none.
func latest(events []spec.Event, wanted func(spec.Event) bool) *spec.Event {
	for i := len(events) - 1; i >= 0; i-- {
		if wanted(events[i]) {
			return &events[i]
		}
	}
	return nil
}

func ofType(t spec.EventType) func(spec.Event) bool {
	return func(e spec.Event) bool { return e.Type == t }
}

// start is the event of the launch of an incarnation.
func (q Question) start(incarnation uint64) *spec.Event {
	return latest(q.Events, func(e spec.Event) bool { return e.Type == spec.EventStarted && e.Incarnation == incarnation })
}

// end is that of the end of the latest run, or of the attempt at one.
func (q Question) end() *spec.Event {
	return latest(q.Events, func(e spec.Event) bool { return e.Type == spec.EventExited || e.Type == spec.EventCannotStart })
}

// warnings are those of the status and of the output files.
func (q Question) warnings() []string {
	var all []string
	said := map[string]bool{}
	say := func(text string) {
		if text != "" && !said[text] {
			said[text] = true
			all = append(all, text)
		}
	}
	for _, w := range q.View.Status.Warnings {
		say(w)
	}
	for _, f := range q.Files {
		say(f.Fault)
	}
	return all
}

// HookedChild is the child whose state is a part of the answer, because of a hook
// of v that runs or has failed; empty for none.
func HookedChild(v spec.View) string {
	if h, _ := hookOf(v); h != nil {
		return h.Child
	}
	return ""
}

// hookOf is the hook of v that runs, or that has failed, with its kind.
func hookOf(v spec.View) (hook *spec.Hook, kind string) {
	if v.Spec == nil {
		return nil, ""
	}
	text := v.Status.Reason
	if f := v.Status.Failure; f != nil && f.Code == spec.HookFailed {
		text += "\n" + f.Message
	}
	for _, h := range []struct {
		kind string
		hook *spec.Hook
	}{{"prehook", v.Spec.Prehook}, {"posthook", v.Spec.Posthook}} {
		// The reconciler puts it so, in its status and its failures.
		if h.hook != nil && strings.Contains("\n"+text, "\n"+hookTitle(h.kind, *h.hook)) {
			return h.hook, h.kind
		}
	}
	return nil, ""
}

func hookTitle(kind string, h spec.Hook) string { return kind + ` "` + h.String() + `"` }
