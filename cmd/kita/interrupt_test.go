package main

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"kita/control/fleet"
)

// TestCtrlCAtAQuestionOfOneHostStopsTheRest: those whose turn has not come are
// asked nothing.
func TestCtrlCAtAQuestionOfOneHostStopsTheRest(t *testing.T) {
	var out, stderr bytes.Buffer
	p := &program{name: "kita", out: &out, err: &stderr}
	r := request{many: true, parallel: 1, timeout: defaultTimeout}
	for _, name := range []string{"a", "b", "c"} {
		r.hosts = append(r.hosts, fleet.Host{Name: name, Label: name})
	}
	asked := 0
	err := fanOutHosts(t.Context(), p, r, showing[int]{}, func(context.Context, fleet.Host) (int, error) {
		asked++
		return 0, fmt.Errorf("the key k is encrypted: %w", errInterrupted)
	})
	const want = `kita: a: the key k is encrypted: no passphrase was given: the command was interrupted
kita: b: not asked, because the command was interrupted
kita: c: not asked, because the command was interrupted
kita: 1 of 3 hosts failed: a (interrupted); 2 not asked
`
	if exitStatus(err) != exitFailed || asked != 1 || stderr.String() != want {
		t.Errorf("asked %d hosts, %v, stderr %s", asked, err, &stderr)
	}
}
