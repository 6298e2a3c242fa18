package spec

import "strings"

// Metrics is where a child serves metrics of its own, in the format of Prometheus:
// http://HOST:Port/Path with the address of the host that kita runs on.
type Metrics struct {
	Port int `json:"port"`
	// Path begins with a slash. Default /metrics.
	Path string `json:"path"`
}

const defaultMetricsPath = "/metrics"

func metricsRules() []rule[Metrics] {
	return []rule[Metrics]{
		{Key{Name: "port", Forms: []Form{Scalar}, Kind: KindInteger, Example: "port: 9100", Required: true, Min: 1, Max: 65535,
			Doc: "the TCP port"},
			func(v value, m *Metrics) { readInteger(v, &m.Port) }},
		{Key{Name: "path", Forms: []Form{Scalar}, Kind: KindURLPath, Example: "path: /metrics", Default: "`" + defaultMetricsPath + "`",
			Doc: "the path on it, which begins with `/`"}, readMetricsPath},
	}
}

func readMetrics(v value, d *draft) {
	m, before := Metrics{Path: defaultMetricsPath}, len(v.doc.errs)
	readMapping(v, metricsRules(), &m)
	if m.Port == 0 && len(v.doc.errs) == before {
		v.under("port", v.line).failf("is missing, write port: 9100")
	}
	d.Metrics = &m
}

func readMetricsPath(v value, m *Metrics) {
	text, ok := v.filledText()
	switch {
	case !ok:
	case !strings.HasPrefix(text, "/"):
		v.failf("%s does not begin with a slash, write %s", quoted(text), v.rule.Example)
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == '?' || r == '#' || r == 0x7f }):
		v.failf("%s is no path of a URL, leave out blanks, ? and #, as in %s", quoted(text), v.rule.Example)
	default:
		m.Path = text
	}
}
