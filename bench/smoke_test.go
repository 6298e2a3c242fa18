//go:build linux

package main

import (
	"context"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// programsDir is where the programs of the tests are, once they are built.
var programsDir string

var buildOnce = sync.OnceValue(func() error {
	dir, err := os.MkdirTemp("", "kita-bench-programs")
	if err != nil {
		return err
	}
	programsDir = dir
	return build(context.Background(), dir)
})

func TestMain(m *testing.M) {
	status := m.Run()
	if programsDir != "" {
		_ = os.RemoveAll(programsDir)
	}
	os.Exit(status)
}

// testWorld is a world with programs.
func testWorld(t *testing.T) *world {
	t.Helper()
	if err := buildOnce(); err != nil {
		t.Fatal(err)
	}
	w, err := newWorld("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.end)
	w.bins = programsDir
	return w
}

// TestSmoke is `make bench-smoke`: no figure is more than twice as bad as its
// goal. The program that measures is built without the race detector, which
// would be measured, too.
func TestSmoke(t *testing.T) {
	if testing.Short() {
		t.Skip("measures")
	}
	w := testWorld(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.bin("bench"), "-smoke", "-bin", programsDir)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}
