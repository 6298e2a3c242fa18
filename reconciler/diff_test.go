package reconciler

import (
	"testing"

	"kita/spec"
)

func TestOnlyWhatARestartAppliesMakesAChildStale(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": "command: x\n"})
	w.mustServe()
	w.want(spec.VerbStart, "web", "")
	for text, stale := range map[string]bool{
		"command: x\nstop: {grace: 20s}\n":          false,
		"command: x\nrestart: always\n":             false,
		"command: y\n":                              true,
		"command: x\nhooks: [{prehook: stop db}]\n": true,
		"command: x\n":                              false,
	} {
		w.write("web", text)
		w.Refresh()
		if v, _ := w.Get("web"); v.Stale != stale {
			t.Errorf("%q: stale is %v", text, v.Stale)
		}
	}
}
