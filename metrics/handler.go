package metrics

import (
	"compress/gzip"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// The two formats; see page.
const (
	textType = "text/plain; version=0.0.4; charset=utf-8"
	openType = "application/openmetrics-text; version=1.0.0; charset=utf-8"
)

// Handler serves the metrics, in the format and encoding that are asked for.
func (m *Metrics) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		open := wantsOpenMetrics(r.Header.Get("Accept"))
		w.Header().Set("Content-Type", textType)
		if open {
			w.Header().Set("Content-Type", openType)
		}
		w.Header().Set("Vary", "Accept, Accept-Encoding")
		var to io.Writer = w
		if takesGzip(r.Header.Get("Accept-Encoding")) {
			w.Header().Set("Content-Encoding", "gzip")
			// It is a sixteenth at the quickest level, a twentieth at the usual one.
			zip, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
			defer zip.Close()
			to = zip
		}
		// An error means that the client is gone; there is nobody to tell.
		_ = m.writeTo(to, open)
	})
}

// writeTo writes all metrics as they are now.
func (m *Metrics) writeTo(w io.Writer, open bool) error {
	s, p := m.read(), newPage(w, open)
	for _, f := range m.families {
		p.add(f, s)
	}
	return p.end()
}

// wantsOpenMetrics tells whether OpenMetrics is liked no less than plain text.
func wantsOpenMetrics(accept string) bool {
	var open, text float64
	for one := range strings.SplitSeq(accept, ",") {
		media, params, err := mime.ParseMediaType(one)
		if err != nil {
			continue
		}
		switch weight := weightOf(params["q"]); media {
		case "application/openmetrics-text":
			if v := params["version"]; v == "" || v == "1.0.0" {
				open = max(open, weight)
			}
		case "text/plain", "text/*", "*/*":
			text = max(text, weight)
		}
	}
	return open > 0 && open >= text
}

func takesGzip(acceptEncoding string) bool {
	for one := range strings.SplitSeq(acceptEncoding, ",") {
		name, weight, _ := strings.Cut(one, ";")
		if strings.TrimSpace(name) == "gzip" && weightOf(strings.TrimPrefix(strings.TrimSpace(weight), "q=")) > 0 {
			return true
		}
	}
	return false
}

// weightOf is a quality value of RFC 9110, 12.4.2.
func weightOf(q string) float64 {
	if q == "" {
		return 1
	}
	weight, err := strconv.ParseFloat(q, 64)
	if err != nil {
		return 0
	}
	return weight
}
