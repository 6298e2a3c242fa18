package metrics

import (
	"strings"
	"testing"

	"kita/spec"
)

func TestWantedAndStartLimit(t *testing.T) {
	limited := &spec.Child{Restart: spec.Restart{Policy: spec.Always, Limit: spec.StartLimit{Starts: 3}}}
	wanted := spec.Desired{Run: spec.Running}
	views := map[string]spec.View{
		"runs":      {Spec: limited, Desired: wanted, Status: spec.Status{Phase: spec.PhaseRunning}},
		"gave-up":   {Spec: limited, Desired: wanted, Status: spec.Status{Phase: spec.PhaseFailed}},
		"failed":    {Spec: &spec.Child{Restart: spec.Restart{Policy: spec.Never}}, Desired: wanted, Status: spec.Status{Phase: spec.PhaseFailed}},
		"stopped":   {Spec: limited, Desired: spec.Desired{Run: spec.Stopped}, Status: spec.Status{Phase: spec.PhaseStopped}},
		"file-gone": {Desired: wanted, Status: spec.Status{Phase: spec.PhaseFailed}},
	}
	children := &fakeChildren{}
	var all []spec.View
	for name, v := range views {
		v.Name = name
		all = append(all, v)
	}
	children.set(all...)
	got := scrape(t, New(Options{Children: children}))
	for _, want := range []string{
		`kita_child_wanted{child="runs"} 1`, `kita_child_wanted{child="gave-up"} 1`, `kita_child_wanted{child="stopped"} 0`,
		`kita_child_start_limit_reached{child="gave-up"} 1`, `kita_child_start_limit_reached{child="runs"} 0`,
		`kita_child_start_limit_reached{child="failed"} 0`, `kita_child_start_limit_reached{child="file-gone"} 0`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("there is no %s", want)
		}
	}
}
