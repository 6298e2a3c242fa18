package e2e

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"kita/spec"
)

// TestSlowStopDelaysNobody compares the latency of `check` and of another
// child's start while a child that ignores TERM is being stopped with the same
// calls, in the same run, while it is not.
func TestSlowStopDelaysNobody(t *testing.T) {
	in := newServer(t, "", map[string]string{
		"stubborn": "command: [sh, -c, \"trap '' TERM; : > ready; until [ -e go ]; do sleep 0.05; done\"]\nstop: {grace: 1m}\n",
		"quick":    "command: /bin/sleep 1000\n",
	})
	in.do(t, spec.VerbStart, "stubborn")
	if err := in.awaitFile("children/ready"); err != nil {
		t.Fatal(err)
	}
	const rounds = 31
	calmCheck, calmStart := in.latencies(t, rounds)

	stopped := make(chan error, 1)
	go func() {
		_, err := in.client().Do(context.Background(), spec.Command{Verb: spec.VerbStop, Child: "stubborn"})
		stopped <- err
	}()
	v, err := in.await("stubborn", func(v spec.View) bool { return v.Status.Phase == spec.PhaseStopping })
	if err != nil {
		t.Fatal(err)
	}
	slowCheck, slowStart := in.latencies(t, rounds)
	select {
	case err := <-stopped:
		t.Fatalf("the stop ended (%v) before the measurement did, it compares nothing", err)
	default:
	}
	t.Logf("check: %v calm, %v during the stop; start: %v calm, %v during the stop", calmCheck, slowCheck, calmStart, slowStart)
	// What holds others up does so for as long as the stop takes.
	const most = time.Second
	if d := slowCheck - calmCheck; d > most {
		t.Errorf("the stop delays check by %v", d)
	}
	if d := slowStart - calmStart; d > most {
		t.Errorf("the stop delays another start by %v", d)
	}
	// The stop itself must come to its end.
	if err := os.WriteFile(in.path("children/go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
	if err := in.awaitDeath(v.Status.Process.PID); err != nil {
		t.Error(err)
	}
}

// latencies returns the medians of `check` and of the start of quick.
func (in *instance) latencies(t *testing.T, rounds int) (check, start time.Duration) {
	t.Helper()
	var checks, starts []time.Duration
	client := in.client()
	for range rounds {
		begin := time.Now()
		if _, err := client.List(t.Context()); err != nil {
			t.Fatal(err)
		}
		checks = append(checks, time.Since(begin))
		begin = time.Now()
		in.do(t, spec.VerbStart, "quick")
		starts = append(starts, time.Since(begin))
		in.do(t, spec.VerbStop, "quick")
	}
	return median(checks), median(starts)
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

// do carries out a command through the API.
func (in *instance) do(t *testing.T, verb spec.Verb, child string) spec.Outcome {
	t.Helper()
	out, err := in.client().Do(t.Context(), spec.Command{Verb: verb, Child: child})
	if err != nil {
		t.Fatalf("%s %s: %v", verb, child, err)
	}
	return out
}
