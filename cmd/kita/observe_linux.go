package main

import (
	goruntime "runtime"

	"kita/metrics"
	"kita/reconciler/store"
	"kita/spec"
)

// observed lets the metrics read a server that is made after them: the
// reconciler needs them as its observer. Nothing is read before it is complete.
type observed struct{ s *server }

func (o observed) List() []spec.View                 { return o.s.reconciler.List() }
func (o observed) Usage(pid int) (spec.Usage, error) { return o.s.host.Usage(pid) }
func (o observed) Output(of spec.View) []spec.OutputFile {
	return o.s.host.Outputs(of.Name, of.Spec)
}
func (o observed) Used() uint64   { return o.s.host.OutputUsed() }
func (o observed) Budget() uint64 { return o.s.diskBudget() }
func (o observed) connections() metrics.Connections {
	stats := o.s.control.Stats()
	return metrics.Connections{Open: stats.Open, Full: stats.Refused, Displaced: stats.Displaced, Unadmitted: stats.Unadmitted}
}
func (o observed) queueDepth() int   { return o.s.reconciler.QueueDepth() }
func (o observed) configErrors() int { return o.s.reconciler.ConfigErrors() }

func newMetrics(s *server, st *store.Store) *metrics.Metrics {
	o := observed{s}
	return metrics.New(metrics.Options{
		Version: version, Revision: revision(), GoVersion: goruntime.Version(),
		Children: o, Processes: o, Outputs: o, QueueDepth: o.queueDepth, ConfigErrors: o.configErrors, StoreErr: st.Err,
		Keeper: s.link.Alive, Connections: o.connections, EventsLost: s.history.Lost,
	})
}

// resultClass maps the result of a command, "ok" or the code of its refusal, to
// the three that the metrics count: refused is what was never begun.
func resultClass(result string) string {
	switch spec.Code(result) {
	case "ok":
		return metrics.Success
	case spec.AlreadyRunning, spec.NotRunning, spec.NotFound, spec.Ambiguous, spec.InvalidFile, spec.BadHook, spec.BadRequest, spec.Forbidden:
		return metrics.Refused
	}
	return metrics.Failed
}
