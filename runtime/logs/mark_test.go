package logs

import (
	"encoding/json"
	"testing"
	"time"

	"kita/spec"
)

func TestMark(t *testing.T) {
	second := noon.Add(1500 * time.Millisecond)
	const stamp = "2026-11-21T12:00:01.5Z"
	tests := []struct {
		name               string
		format             spec.Format
		timestamps, prefix bool
		line               string
		want               mark
	}{
		{"not pumped", "", false, false, stamp + " web out: x", mark{}},
		{"text, no marks", spec.Text, false, false, stamp + " web out: x", mark{}},
		{"text, time", spec.Text, true, false, stamp + " web out: x", mark{at: second}},
		{"text, prefix", spec.Text, false, true, "web out: x", mark{stream: spec.Out}},
		{"text, both", spec.Text, true, true, stamp + " web err: x", mark{at: second, stream: spec.Err}},
		{"text, time without a prefix", spec.Text, true, true, stamp + " x", mark{at: second}},
		{"text, prefix without a time", spec.Text, true, true, "web err: x", mark{stream: spec.Err}},
		{"text, another child", spec.Text, true, true, stamp + " db out: x", mark{at: second, foreign: true}},
		{"text, a name that no child has", spec.Text, false, true, "a.b out: x", mark{}},
		{"text, no stream", spec.Text, false, true, "web in: x", mark{}},
		{"text, another zone", spec.Text, true, false, "2026-11-21T13:00:01.5+01:00 x", mark{at: second}},
		{"text, no time", spec.Text, true, false, "2026-11-21 12:00:01 x", mark{}},
		{"text, a time of another year in UTC", spec.Text, true, false, "9999-12-31T23:59:59-01:00 x", mark{}},
		{"json, both", spec.JSON, true, true, `{"time":"` + stamp + `","child":"web","stream":"err","line":"x"}`, mark{at: second, stream: spec.Err}},
		{"json, time", spec.JSON, true, false, `{"time":"` + stamp + `","line":"x"}`, mark{at: second}},
		{"json, prefix", spec.JSON, false, true, `{"child":"web","stream":"out","line":"x"}`, mark{stream: spec.Out}},
		{"json, another order", spec.JSON, true, true, `{"stream":"out", "line":"x", "child":"web", "time":"` + stamp + `"}`, mark{at: second, stream: spec.Out}},
		{"json, another child", spec.JSON, true, true, `{"time":"` + stamp + `","child":"db","stream":"out","line":"x"}`, mark{at: second, foreign: true}},
		{"json, the beginning of an object", spec.JSON, true, true, `{"time":"` + stamp + `","child":"web","stream":"err","line":"xx`, mark{at: second, stream: spec.Err}},
		{"json, lines that were dropped", spec.JSON, true, true, `{"time":"` + stamp + `","dropped":3}`, mark{at: second}},
		{"json, not an object", spec.JSON, true, true, `"time"`, mark{}},
		{"json, an empty line", spec.JSON, true, true, ``, mark{}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			n := Named{Child: "web", Streams: both, Format: tc.format, Timestamps: tc.timestamps, Prefix: tc.prefix}
			if got := n.mark([]byte(tc.line + "\n")); got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

// FuzzMark: any line has a mark that can be written again, and one that a pump
// wrote has that of the pump.
func FuzzMark(f *testing.F) {
	f.Add([]byte(`{"time":"2026-11-21T12:00:01.5Z","child":"web","stream":"err","line":"x"}`), int64(0))
	f.Add([]byte("2026-11-21T12:00:01.5Z web out: x"), int64(1e18))
	f.Add([]byte("9999-12-31T23:59:59-01:00 \xff"), int64(-1e18))
	f.Fuzz(func(t *testing.T, line []byte, nanos int64) {
		for _, format := range []spec.Format{spec.Text, spec.JSON} {
			n := Named{Child: "web", Streams: both, Format: format, Timestamps: true, Prefix: true}
			m := n.mark(line)
			if _, err := json.Marshal(m.at); err != nil {
				t.Errorf("the time of %q cannot be written: %v", line, err)
			}
			want := mark{at: time.Unix(0, nanos).UTC(), stream: spec.Err}
			stamp := want.at.Format(time.RFC3339Nano)
			written := []byte(stamp + " web err: ")
			if format == spec.JSON {
				written = []byte(`{"time":"` + stamp + `","child":"web","stream":"err","line":`)
			}
			if got := n.mark(append(written, line...)); got != want {
				t.Errorf("%v: got %+v, want %+v", format, got, want)
			}
		}
	})
}
