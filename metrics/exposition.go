package metrics

import (
	"io"
	"strconv"
	"strings"

	"kita/spec"
)

// kind is the type of a family.
type kind string

const (
	counter   kind = "counter"
	gauge     kind = "gauge"
	histogram kind = "histogram"
	summary   kind = "summary"
)

// family is a metric with its series. The names of counters end in _total.
type family struct {
	name string
	kind kind
	help string
	// write says the series, in the order of their labels.
	write func(*page, *reading)
}

// page writes the text format 0.0.4 of Prometheus, or OpenMetrics 1.0:
// https://prometheus.io/docs/instrumenting/exposition_formats/ and
// https://prometheus.io/docs/specs/om/open_metrics_spec/. It writes in pieces, so
// that ten thousand children do not stand in memory as text.
type page struct {
	w    io.Writer
	open bool // OpenMetrics
	b    []byte
	// family is the one that is being said; begun once it has a series.
	family *family
	begun  bool
	err    error
}

// pieces is the size from which on a page is written out.
const pieces = 32 << 10

func newPage(w io.Writer, open bool) *page {
	return &page{w: w, open: open, b: make([]byte, 0, pieces+4096)}
}

// add says a family; one without a series is left out.
func (p *page) add(f *family, s *reading) {
	p.family, p.begun = f, false
	f.write(p, s)
}

// end completes the page. The error is that of the first write that failed.
func (p *page) end() error {
	if p.open {
		p.b = append(p.b, "# EOF\n"...)
	}
	p.flush()
	return p.err
}

func (p *page) flush() {
	if p.err == nil {
		_, p.err = p.w.Write(p.b)
	}
	p.b = p.b[:0]
}

// value says a series. The labels are as label makes them, with commas between.
func (p *page) value(v float64, labels ...string) { p.part("", v, labels...) }

// part is value for a series whose name has a suffix.
func (p *page) part(suffix string, v float64, labels ...string) {
	p.name(suffix, labels)
	p.b = append(p.appendFloat(p.b, v), '\n')
	p.flushFull()
}

// count is part for the buckets and the count of a histogram or summary, which
// are whole in OpenMetrics too.
func (p *page) count(suffix string, n uint64, labels ...string) {
	p.name(suffix, labels)
	p.b = append(strconv.AppendUint(p.b, n, 10), '\n')
	p.flushFull()
}

func (p *page) flushFull() {
	if len(p.b) >= pieces {
		p.flush()
	}
}

func (p *page) name(suffix string, labels []string) {
	if !p.begun {
		p.begun = true
		p.head()
	}
	p.b = append(append(p.b, p.family.name...), suffix...)
	if len(labels) > 0 {
		p.b = append(p.b, '{')
		for _, l := range labels {
			p.b = append(p.b, l...)
		}
		p.b = append(p.b, '}')
	}
	p.b = append(p.b, ' ')
}

// head is what stands before the series. In OpenMetrics the family of a counter
// has no _total.
func (p *page) head() {
	name := p.family.name
	if p.open && p.family.kind == counter {
		name = strings.TrimSuffix(name, "_total")
	}
	for _, part := range []string{"# HELP ", name, " ", p.family.help, "\n# TYPE ", name, " ", string(p.family.kind), "\n"} {
		p.b = append(p.b, part...)
	}
}

// appendFloat is v as the format has it: the shortest text that reads back as v,
// in OpenMetrics never without a point.
func (p *page) appendFloat(b []byte, v float64) []byte {
	// Nearly all values are small and whole, and those are quicker as such.
	if whole := int64(v); v >= 0 && v < 1e6 && float64(whole) == v {
		b = strconv.AppendInt(b, whole, 10)
		if p.open {
			b = append(b, ".0"...)
		}
		return b
	}
	begin := len(b)
	b = strconv.AppendFloat(b, v, 'g', -1, 64)
	if p.open && !strings.ContainsAny(string(b[begin:]), ".eIN") {
		b = append(b, ".0"...)
	}
	return b
}

// bound is the value of the label le or quantile.
func (p *page) bound(name string, v float64) string {
	return name + `="` + string(p.appendFloat(nil, v)) + `"`
}

var escaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// label is a label with its value, escaped.
func label(name, value string) string {
	return name + `="` + escaper.Replace(spec.LabelValue(value)) + `"`
}
