package metrics

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"kita/spec"
)

// Options is what Metrics reads at every scrape. A nil field leaves its metrics
// out.
type Options struct {
	Version, Revision, GoVersion string

	// Processes and Outputs are of Children, and read only with them.
	Children  Children
	Processes Processes
	Outputs   Outputs
	// QueueDepth is the number of children that wait for a pass.
	QueueDepth func() int
	// ConfigErrors is the number of configuration files that are not valid now.
	ConfigErrors func() int
	// StoreErr is why the last write of state failed, or nil.
	StoreErr func() error
	// EventsLost counts the events of the history that could not be written.
	EventsLost func() uint64
	// Keeper tells whether the process that restarts the server lives.
	Keeper func() bool
	// Connections tells of the clients.
	Connections func() Connections
}

// Connections are those that are open now, and how many were refused since the
// start: at a cap, for a newer one while they had not said what they want, and
// because no key of theirs is admitted.
type Connections struct {
	Open                        int
	Full, Displaced, Unadmitted uint64
}

// unknown stands for a label value outside of its closed set.
const unknown = "unknown"

// Results of a command and a hook.
const (
	Success = "success"
	Refused = "refused"
	Failed  = "failed"
)

// Metrics counts what happens. Its methods may be called from any goroutine.
type Metrics struct {
	o        Options
	families []*family
	readers  chan struct{} // a slot per read of usage, over all scrapes

	passes   durations
	counts   childCounts
	hooks    pairs
	commands pairs
}

// New makes the metrics of o.
func New(o Options) *Metrics {
	m := &Metrics{
		o: o, readers: make(chan struct{}, usageReaders),
		counts: childCounts{of: map[string]*counted{}},
		hooks:  newPairs(hookKinds, []string{Success, Failed}),
		// What is in a closed set exists before the first event, as rate() cannot
		// see a counter that begins at 1.
		commands: newPairs(verbs, results),
	}
	m.families = slices.Concat(m.eventFamilies(), m.serverFamilies(), childFamilies(o), goFamilies(), processFamilies())
	slices.SortFunc(m.families, func(a, b *family) int { return strings.Compare(a.name, b.name) })
	return m
}

// Names are those of all metrics, also of those without a series yet.
func (m *Metrics) Names() []string {
	var names []string
	for _, f := range m.families {
		names = append(names, f.name)
	}
	return names
}

// PassDone counts a pass of the reconcile loop that took d.
func (m *Metrics) PassDone(d time.Duration) { m.passes.observe(d.Seconds()) }

// StaleFact counts a fact about a former process.
func (m *Metrics) StaleFact() { m.counts.staleFact() }

// Started notes a start of child. The cause is a spec.Cause.
func (m *Metrics) Started(child, cause string) { m.counts.started(spec.LabelValue(child), cause) }

// Exited counts the end of a process of child, adopted ones included; success
// says what it was by the child's own exit classes.
func (m *Metrics) Exited(child string, e spec.Exit, success bool) {
	code, signal := unknown, ""
	switch {
	case e.Known && e.Signal != 0:
		code, signal = "", e.Signal.String()
	case e.Known:
		code = strconv.Itoa(e.Code)
	}
	m.counts.exited(spec.LabelValue(child), exit{code, signal}, success, e.OOMKilled)
}

var hookKinds = []string{"posthook", "prehook"}

// HookDone counts a hook of kind prehook or posthook.
func (m *Metrics) HookDone(kind string, ok bool) {
	result := Success
	if !ok {
		result = Failed
	}
	m.hooks.inc(known(kind, hookKinds), result)
}

var (
	verbs = []string{string(spec.VerbStart), string(spec.VerbStop), string(spec.VerbRestart), string(spec.VerbTrystart),
		string(spec.VerbCheck), string(spec.VerbInfo), string(spec.VerbKill), string(spec.VerbHelp), "logs", "rotate"}
	results = []string{Success, Refused, Failed}
)

// Command counts an answered command: verb in any spelling of spec.ParseVerb,
// logs or rotate, result Success, Refused or Failed.
func (m *Metrics) Command(verb, result string) {
	if v, ok := spec.ParseVerb(verb); ok {
		verb = string(v)
	}
	m.commands.inc(known(verb, verbs), known(result, results))
}

// known is value where it is one of the set.
func known(value string, set []string) string {
	if slices.Contains(set, value) {
		return value
	}
	return unknown
}

// Forgotten removes the series of a child that exists no more.
func (m *Metrics) Forgotten(child string) { m.counts.forget(spec.LabelValue(child)) }
