package metrics

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"kita/spec"
)

// Children gives what is known of every child now.
type Children interface {
	List() []spec.View
}

// Processes gives what a live process has used so far. An error means that
// there is no such process any more.
type Processes interface {
	Usage(pid int) (spec.Usage, error)
}

// usageReaders bounds the reads of /proc that go on at once, over all scrapes:
// enough to hide what a read waits for, too few to be felt by the children.
const usageReaders = 4

// childCollector makes the metrics of the children out of their views.
type childCollector struct {
	children  Children
	processes Processes
	outputs   *outputMetrics // nil leaves them out
	readers   chan struct{}  // a slot per read of usage

	up, phase, starts, lastStart, stale, invalid, stuck, warnings *prometheus.Desc
	cpu, memory, files                                            *prometheus.Desc
}

func newChildCollector(o Options) *childCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("kita_child_"+name, help, append([]string{"child"}, labels...), nil)
	}
	c := &childCollector{
		children: o.Children, processes: o.Processes, readers: make(chan struct{}, usageReaders),
		up:        desc("up", "1 when a process of the child is alive, 0 otherwise."),
		phase:     desc("phase", "1 for the phase the child is in, 0 for the others.", "phase"),
		starts:    desc("starts_total", "Processes of the child that were launched, as its status counts them."),
		lastStart: desc("last_start_timestamp_seconds", "When the live process of the child was started, since the epoch."),
		stale:     desc("config_stale", "1 when the live process was started with another configuration than the file has now."),
		invalid:   desc("file_invalid", "1 when the file of the child is not valid now, 0 otherwise."),
		stuck:     desc("stop_failed", "1 when processes of the child are left although they were killed, 0 otherwise."),
		warnings:  desc("warnings", "Warnings in the status of the child: what it asked for and the machine cannot give, what is wrong with its output files, and what could not be saved."),
		cpu:       desc("cpu_seconds_total", "User and system time of the live process."),
		memory:    desc("resident_memory_bytes", "Resident memory of the live process."),
		files:     desc("open_fds", "Open file descriptors of the live process."),
	}
	if o.Outputs != nil {
		c.outputs = newOutputMetrics(o.Outputs)
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *childCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.up, c.phase, c.starts, c.lastStart, c.stale, c.invalid, c.stuck, c.warnings, c.cpu, c.memory, c.files} {
		out <- d
	}
	if c.outputs != nil {
		c.outputs.describe(out)
	}
}

// Collect implements prometheus.Collector.
func (c *childCollector) Collect(out chan<- prometheus.Metric) {
	views := c.children.List()
	usage := c.readUsage(views)
	seen := make(map[string]bool, len(views))
	for i, view := range views {
		name := labelValue(view.Name)
		if seen[name] {
			// Two names that are not text and look alike: the registry would
			// refuse both.
			continue
		}
		seen[name] = true
		c.collectView(out, name, view)
		if c.outputs != nil {
			c.outputs.collect(out, name, view.Name)
		}
		if u := usage[i]; u != nil {
			out <- prometheus.MustNewConstMetric(c.cpu, prometheus.CounterValue, u.CPUSeconds, name)
			out <- prometheus.MustNewConstMetric(c.memory, prometheus.GaugeValue, float64(u.ResidentBytes), name)
			out <- prometheus.MustNewConstMetric(c.files, prometheus.GaugeValue, float64(u.OpenFiles), name)
		}
	}
}

func (c *childCollector) collectView(out chan<- prometheus.Metric, name string, view spec.View) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, append([]string{name}, labels...)...)
	}
	gauge(c.up, boolean(view.Status.Alive()))
	for _, phase := range spec.Phases() {
		gauge(c.phase, boolean(view.Status.Phase == phase), string(phase))
	}
	out <- prometheus.MustNewConstMetric(c.starts, prometheus.CounterValue, float64(view.Status.Starts), name)
	if p := view.Status.Process; p != nil && !p.StartedAt.IsZero() {
		gauge(c.lastStart, seconds(p.StartedAt))
	}
	gauge(c.stale, boolean(view.Stale))
	gauge(c.invalid, boolean(view.FileError != ""))
	f := view.Status.Failure
	gauge(c.stuck, boolean(f != nil && f.Code == spec.NotStopped))
	gauge(c.warnings, float64(len(view.Status.Warnings)))
}

// readUsage returns the usage of each view's process, nil where there is none.
func (c *childCollector) readUsage(views []spec.View) []*spec.Usage {
	usage := make([]*spec.Usage, len(views))
	if c.processes == nil {
		return usage
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(usageReaders, len(views)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(views); i = int(next.Add(1)) - 1 {
				usage[i] = c.usageOf(views[i].Status.Process)
			}
		})
	}
	wg.Wait()
	return usage
}

func (c *childCollector) usageOf(p *spec.Process) *spec.Usage {
	if p == nil || p.PID <= 0 {
		return nil
	}
	c.readers <- struct{}{}
	defer func() { <-c.readers }()
	u, err := c.processes.Usage(p.PID)
	if err != nil {
		return nil // it ended since the view was taken
	}
	return &u
}

// labelValue is name as Prometheus accepts it: valid UTF-8. Other bytes are
// written as \xNN.
func labelValue(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	var b strings.Builder
	for i := 0; i < len(name); {
		r, size := utf8.DecodeRuneInString(name[i:])
		if r == utf8.RuneError && size == 1 {
			fmt.Fprintf(&b, `\x%02x`, name[i])
		} else {
			b.WriteString(name[i : i+size])
		}
		i += size
	}
	return b.String()
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
