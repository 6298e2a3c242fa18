package store

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"kita/spec"
)

const (
	helperState = "KITA_STORE_TEST_STATE"
	helperRun   = "KITA_STORE_TEST_RUN"
)

func TestMain(m *testing.M) {
	if state := os.Getenv(helperState); state != "" {
		writeUntilKilled(state, os.Getenv(helperRun))
	}
	goleak.VerifyTestMain(m)
}

// crashChildren are changed side by side, so that batches have several changes.
const crashChildren = 3

// writeUntilKilled is the helper process: it prints a child and a generation
// when that has been acknowledged. The values are long, so that the journal is
// rewritten about every ten changes.
func writeUntilKilled(state, run string) {
	s, err := Open(Options{StateDir: state, RunDir: run, BootID: "b"})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	desired := s.Desired()
	var wg sync.WaitGroup
	for i := range crashChildren {
		name := fmt.Sprint("c", i)
		wg.Go(func() {
			for generation := desired[name].Generation + 1; ; generation++ {
				d := spec.Desired{Run: spec.Running, Generation: generation, By: strings.Repeat("x", 100<<10)}
				if err := s.SetDesired(context.Background(), map[string]spec.Desired{name: d}); err != nil {
					fmt.Println(err)
					os.Exit(1)
				}
				fmt.Println(name, generation)
			}
		})
	}
	wg.Wait()
}

func TestNoAcknowledgedChangeIsLostInCrash(t *testing.T) {
	d := newDirs(t)
	acknowledged := map[string]uint64{}
	for round := range 30 {
		crash(t, d, 1+round*7%23, acknowledged)
		s := d.open(t, "b")
		if s.Damage() != nil {
			t.Fatalf("round %d: %v", round, s.Damage())
		}
		for name, desired := range s.Desired() {
			got, acked := desired.Generation, acknowledged[name]
			// One more may have been written and not acknowledged.
			if got != acked && got != acked+1 {
				t.Fatalf("round %d: %s has generation %d, %d was acknowledged", round, name, got, acked)
			}
			acknowledged[name] = got
		}
		if len(s.Desired()) < len(acknowledged) {
			t.Fatalf("round %d: children %v, acknowledged %v", round, len(s.Desired()), acknowledged)
		}
		mustClose(t, s)
	}
}

// crash lets a helper acknowledge n changes, kills it, and notes every change
// it acknowledged before it was dead.
func crash(t *testing.T, d *dirs, n int, acknowledged map[string]uint64) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), helperState+"="+d.state, helperRun+"="+d.run)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := 0
	for scanner := bufio.NewScanner(out); scanner.Scan(); {
		var name string
		var generation uint64
		if _, err := fmt.Sscan(scanner.Text(), &name, &generation); err != nil {
			t.Errorf("helper: %s", scanner.Text())
			continue
		}
		acknowledged[name] = generation
		if lines++; lines == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	cmd.Wait() // killed, as was asked
	if lines < n {
		t.Fatalf("the helper acknowledged %d changes and ended", lines)
	}
}
