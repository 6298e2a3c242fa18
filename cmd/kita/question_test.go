package main

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"testing"

	"kita/control/fleet"
)

// TestAQuestionHasTheTerminalForItself: neither the progress nor an answer is
// written over it.
func TestAQuestionHasTheTerminalForItself(t *testing.T) {
	var terminal bytes.Buffer
	s := &screen{w: &terminal, width: func() int { return 40 }}
	s.draw("1 of 2 answered")
	release := s.hold()
	written := make(chan struct{})
	go func() {
		defer close(written)
		s.draw("2 of 2 answered")
		fmt.Fprintln(s.over(&terminal), "web1: good")
	}()
	for range 3 {
		runtime.Gosched()
		terminal.WriteString("?")
	}
	release()
	<-written
	if got, want := terminal.String(), "1 of 2 answered\r\x1b[K???2 of 2 answered\r\x1b[Kweb1: good\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

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
