package pump

import (
	"testing"
	"time"

	"kita/spec"
)

func TestTheTimeSpoilsNothingBesideIt(t *testing.T) {
	now := time.Date(2026, 11, 21, 13, 17, 41, 123456789, time.FixedZone("", 3600))
	tests := []struct {
		style
		want string
	}{
		{style{format: spec.Text, timestamps: true}, "2026-11-21T12:17:41.123456Z x\n"},
		{style{format: spec.Text, timestamps: true, child: "web", stream: spec.Err}, "2026-11-21T12:17:41.123456Z web err: x\n"},
		{style{format: spec.JSON, timestamps: true, child: "web", stream: spec.Err}, `{"time":"2026-11-21T12:17:41.123456Z","child":"web","stream":"err","line":"x"}` + "\n"},
	}
	for _, tc := range tests {
		f := newFormatter(tc.style)
		f.stamp(now)
		if got := string(f.appendPiece(nil, []byte("x"), whole)); got != tc.want {
			t.Errorf("got %q, want %q", got, tc.want)
		}
	}
}
