package metrics

import (
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"kita/spec"
)

// Registry is where the metrics are registered and gathered; a
// *prometheus.Registry is one.
type Registry interface {
	prometheus.Registerer
	prometheus.Gatherer
}

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
	registry Registry

	passes     prometheus.Histogram
	staleFacts prometheus.Counter
	exits      *prometheus.CounterVec
	failures   *prometheus.CounterVec
	oomKills   *prometheus.CounterVec
	restarts   *prometheus.CounterVec
	hooks      *prometheus.CounterVec
	commands   *prometheus.CounterVec

	mu  sync.Mutex
	ran map[string]bool // mu: children that had a process under this server
}

// New registers everything with reg. It panics if that has been done before.
func New(reg Registry, o Options) *Metrics {
	m := &Metrics{registry: reg, ran: map[string]bool{}}
	m.passes = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "kita_reconcile_duration_seconds",
		Help:    "How long a pass over one child took, its action included.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
	})
	m.staleFacts = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "kita_stale_facts_total",
		Help: "Facts dropped because they were about a former process of their child.",
	})
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		reg.MustRegister(v)
		return v
	}
	m.exits = counter("kita_child_exits_total",
		"Processes of the child that ended; the code is empty when a signal ended it, and unknown when nobody could learn the status.",
		"child", "code", "signal")
	m.failures = counter("kita_child_failures_total",
		"Processes of the child whose end did not count as success.", "child")
	m.oomKills = counter("kita_child_oom_kills_total",
		"Processes of the child that ended because memory ran out.", "child")
	m.restarts = counter("kita_child_restarts_total",
		"Starts of the child after it had run under this server, by what caused them.", "child", "cause")
	m.hooks = counter("kita_hooks_total", "Hooks that ran, by kind and result.", "kind", "result")
	m.commands = counter("kita_commands_total", "Commands answered, by verb and result.", "verb", "result")
	m.showZeros()
	reg.MustRegister(m.passes, m.staleFacts,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	registerGauges(reg, o)
	if o.Connections != nil {
		registerConnections(reg, o.Connections)
	}
	if o.Children != nil {
		reg.MustRegister(newChildCollector(o))
	}
	if o.Outputs != nil {
		registerBudget(reg, o.Outputs)
	}
	return m
}

// showZeros makes the series of closed sets exist before the first event, as
// rate() cannot see a counter that begins at 1.
func (m *Metrics) showZeros() {
	for _, kind := range hookKinds {
		m.hooks.WithLabelValues(kind, Success)
		m.hooks.WithLabelValues(kind, Failed)
	}
	for _, verb := range verbs {
		for _, result := range results {
			m.commands.WithLabelValues(string(verb), result)
		}
	}
}

func registerGauges(reg Registry, o Options) {
	gauge := func(name, help string, labels prometheus.Labels, value func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, value))
	}
	gauge("kita_build_info", "Always 1; the labels say which kita this is.", prometheus.Labels{
		"version": labelValue(o.Version), "revision": labelValue(o.Revision), "goversion": labelValue(o.GoVersion),
	}, func() float64 { return 1 })
	if o.QueueDepth != nil {
		gauge("kita_queue_depth", "Children that wait for a pass.", nil, func() float64 { return float64(o.QueueDepth()) })
	}
	if o.ConfigErrors != nil {
		gauge("kita_config_errors", "Configuration files that are not valid now.", nil, func() float64 { return float64(o.ConfigErrors()) })
	}
	if o.StoreErr != nil {
		gauge("kita_state_write_error", "1 when the last write of state failed, 0 otherwise.", nil, func() float64 { return boolean(o.StoreErr() != nil) })
	}
	if o.Keeper != nil {
		gauge("kita_keeper_up", "1 while the process that restarts the server lives, 0 otherwise.", nil, func() float64 { return boolean(o.Keeper()) })
	}
}

func registerConnections(reg Registry, read func() Connections) {
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kita_connections", Help: "Connections of clients that are open.",
	}, func() float64 { return float64(read().Open) }))
	for reason, value := range map[string]func(Connections) uint64{
		"full":      func(c Connections) uint64 { return c.Full },
		"displaced": func(c Connections) uint64 { return c.Displaced },
		"key":       func(c Connections) uint64 { return c.Unadmitted },
	} {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name:        "kita_connections_refused_total",
			Help:        "Connections refused at a cap (full), for a newer one while they said nothing (displaced), without an admitted key (key).",
			ConstLabels: prometheus.Labels{"reason": reason},
		}, func() float64 { return float64(value(read())) }))
	}
}

// Handler serves the metrics. A metric that cannot be gathered is left out,
// counted in promhttp_metric_handler_errors_total, and costs no other its place.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling:     promhttp.ContinueOnError,
		Registry:          m.registry,
		EnableOpenMetrics: true,
	})
}

// PassDone counts a pass of the reconcile loop that took d.
func (m *Metrics) PassDone(d time.Duration) { m.passes.Observe(d.Seconds()) }

// StaleFact counts a fact about a former process.
func (m *Metrics) StaleFact() { m.staleFacts.Inc() }

var causes = []spec.Cause{spec.CauseCommand, spec.CausePolicy, spec.CauseRepeat, spec.CauseHook, spec.CauseMode}

// Started notes a start of child. The cause is a spec.Cause.
func (m *Metrics) Started(child, cause string) {
	m.mu.Lock()
	again := m.ran[child]
	m.ran[child] = true
	m.mu.Unlock()
	name := labelValue(child)
	if !again {
		// What alerts look at exists before it happens, as in showZeros.
		m.failures.WithLabelValues(name)
		m.oomKills.WithLabelValues(name)
		m.restarts.WithLabelValues(name, string(spec.CausePolicy))
		return
	}
	if !slices.Contains(causes, spec.Cause(cause)) {
		cause = unknown
	}
	m.restarts.WithLabelValues(name, cause).Inc()
}

// Exited counts the end of a process of child, adopted ones included; success
// says what it was by the child's own exit classes.
func (m *Metrics) Exited(child string, e spec.Exit, success bool) {
	m.mu.Lock()
	m.ran[child] = true
	m.mu.Unlock()
	name := labelValue(child)
	code, signal := unknown, ""
	switch {
	case e.Known && e.Signal != 0:
		code, signal = "", e.Signal.String()
	case e.Known:
		code = strconv.Itoa(e.Code)
	}
	m.exits.WithLabelValues(name, code, signal).Inc()
	if !success {
		m.failures.WithLabelValues(name).Inc()
	}
	if e.OOMKilled {
		m.oomKills.WithLabelValues(name).Inc()
	}
}

var hookKinds = []string{"prehook", "posthook"}

// HookDone counts a hook of kind prehook or posthook.
func (m *Metrics) HookDone(kind string, ok bool) {
	if !slices.Contains(hookKinds, kind) {
		kind = unknown
	}
	result := Success
	if !ok {
		result = Failed
	}
	m.hooks.WithLabelValues(kind, result).Inc()
}

var (
	verbs = []spec.Verb{spec.VerbStart, spec.VerbStop, spec.VerbRestart, spec.VerbTrystart,
		spec.VerbCheck, spec.VerbInfo, spec.VerbKill, spec.VerbHelp, "logs", "rotate"}
	results = []string{Success, Refused, Failed}
)

// Command counts an answered command: verb in any spelling of spec.ParseVerb,
// logs or rotate, result Success, Refused or Failed.
func (m *Metrics) Command(verb, result string) {
	v, ok := spec.ParseVerb(verb)
	if !ok {
		v = spec.Verb(verb)
	}
	if !slices.Contains(verbs, v) {
		v = unknown
	}
	if !slices.Contains(results, result) {
		result = unknown
	}
	m.commands.WithLabelValues(string(v), result).Inc()
}

// Forgotten removes the series of a child that exists no more.
func (m *Metrics) Forgotten(child string) {
	m.mu.Lock()
	delete(m.ran, child)
	m.mu.Unlock()
	series := prometheus.Labels{"child": labelValue(child)}
	m.exits.DeletePartialMatch(series)
	m.failures.DeletePartialMatch(series)
	m.oomKills.DeletePartialMatch(series)
	m.restarts.DeletePartialMatch(series)
}
