package reconciler

import (
	"testing"

	"kita/spec"
)

func TestWhoSupersededACommandIsSaidInWords(t *testing.T) {
	for by, want := range map[string]string{
		"unix:0":           "cannot start web: a later command changed it: stopped by root on the host of the server",
		"ssh:ops@10.0.0.7": "cannot start web: a later command changed it: stopped by key ops from 10.0.0.7",
		"prehook of db":    "cannot start web: a later command changed it: stopped by the prehook of db",
	} {
		refusal := superseded(spec.Command{Verb: spec.VerbStart, Child: "web"}, spec.Desired{Run: spec.Stopped, By: by})
		if refusal.Code != spec.Superseded || refusal.Message != want {
			t.Errorf("%s: %s %q, want %q", by, refusal.Code, refusal.Message, want)
		}
	}
}
