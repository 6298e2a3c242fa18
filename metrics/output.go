package metrics

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"kita/spec"
)

// Outputs tells of the output files of children. It is asked at every scrape,
// once for each child, so Output should read no directory. An fstat a file is
// little beside what its series take: about a microsecond, and with two files
// each, 10,000 children make a scrape less than twice as long as without (see
// BenchmarkScrape).
type Outputs interface {
	// Output returns the files that a child writes to; their archives are not
	// looked at.
	Output(child string) []spec.OutputFile
	// Used is what all output files and archives take on disk, in bytes, and Budget
	// the most they may; 0 means that there is no limit.
	Used() uint64
	Budget() uint64
}

// outputMetrics makes the metrics of output files.
type outputMetrics struct {
	outputs Outputs

	written, rotations, dropped, fault *prometheus.Desc
}

func newOutputMetrics(outputs Outputs) *outputMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("kita_output_"+name, help, append([]string{"child"}, labels...), nil)
	}
	return &outputMetrics{
		outputs:   outputs,
		written:   desc("written_bytes_total", "Bytes that the child has written to its output files; the stream is out, err, or out+err where both share a file.", "stream"),
		rotations: desc("rotations_total", "Archives that were made of the child's output files.", "stream"),
		dropped:   desc("dropped_lines_total", "Lines that a pump had to leave out, because the disk was too slow or full.", "stream"),
		fault:     desc("fault", "1 when an output file of the child is missing, cannot be rotated or cannot be written, 0 otherwise."),
	}
}

func registerBudget(reg Registry, outputs Outputs) {
	for name, gauge := range map[string]struct {
		help string
		read func() uint64
	}{
		"kita_output_disk_used_bytes":   {"What all output files and their archives take on disk.", outputs.Used},
		"kita_output_disk_budget_bytes": {"The most they may take (disk_budget), 0 for no limit.", outputs.Budget},
	} {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: gauge.help}, func() float64 { return float64(gauge.read()) }))
	}
}

func (m *outputMetrics) describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.written, m.rotations, m.dropped, m.fault} {
		out <- d
	}
}

// collect makes the metrics of a child; name is its label. A child without
// output files has none.
func (m *outputMetrics) collect(out chan<- prometheus.Metric, name, child string) {
	files := byStreams(m.outputs.Output(child))
	isFaulty := false
	for streams, f := range files {
		counter := func(d *prometheus.Desc, value uint64) {
			out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), name, streams)
		}
		counter(m.written, f.Written)
		counter(m.rotations, f.Rotations)
		counter(m.dropped, f.Dropped)
		isFaulty = isFaulty || f.Fault != ""
	}
	if len(files) > 0 {
		out <- prometheus.MustNewConstMetric(m.fault, prometheus.GaugeValue, boolean(isFaulty), name)
	}
}

// byStreams adds up the files of the same streams: there are two when the file of
// the child names another path than its live process has.
func byStreams(files []spec.OutputFile) map[string]spec.OutputFile {
	sums := make(map[string]spec.OutputFile, len(files))
	for _, f := range files {
		var names []string
		for _, stream := range f.Streams {
			names = append(names, string(stream))
		}
		streams := strings.Join(names, "+")
		sum := sums[streams]
		sum.Written += f.Written
		sum.Rotations += f.Rotations
		sum.Dropped += f.Dropped
		if sum.Fault == "" {
			sum.Fault = f.Fault
		}
		sums[streams] = sum
	}
	return sums
}
