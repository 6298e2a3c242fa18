package pump

import (
	"os"
	"path/filepath"
	"testing"

	"kita/spec"
)

// TestPumpThatNobodyWouldFindIsReplaced removes the run directory, or what of it a
// later server goes by.
func TestPumpThatNobodyWouldFindIsReplaced(t *testing.T) {
	for _, what := range []string{"", dirName, filepath.Join(dirName, logName), socketName} {
		t.Run("run/"+what, func(t *testing.T) {
			runDir := filepath.Join(t.TempDir(), "run")
			if err := os.Mkdir(runDir, 0o700); err != nil {
				t.Fatal(err)
			}
			c := testClient(t, runDir)
			n := startCounting(t, c, "web")
			n.grows(t)
			pump := c.PID()
			c.Renew()
			if now := c.PID(); now != pump {
				t.Fatalf("the pump was %d and is %d, though nothing was removed", pump, now)
			}
			if err := os.RemoveAll(filepath.Join(runDir, what)); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(runDir, 0o700); err != nil {
				t.Fatal(err)
			}
			c.Renew()
			if now := c.PID(); now == pump || now == 0 {
				t.Fatalf("the pump is still %d", pump)
			}
			n.grows(t)

			// The next server finds it, and the stream that has no name any more.
			pump = c.PID()
			c.Close()
			next := testClient(t, runDir)
			if err := next.Resume(); err != nil {
				t.Fatal(err)
			}
			if next.PID() != pump {
				t.Errorf("the pump was %d, the next server has %d", pump, next.PID())
			}
			n.grows(t)
			checkCount(t, n.finish(t, next), 0)
		})
	}
}

func TestAFIFOIsMadeWhereTheRunDirectoryIsGone(t *testing.T) {
	runDir := filepath.Join(t.TempDir(), "run")
	c := testClient(t, runDir)
	path := filepath.Join(t.TempDir(), "out")
	start(t, c, keyOf("web"), Stream{Dest: destination(t, path), Format: spec.Text}, "echo hello")
	eventually(t, "the stream ends", func() bool { return len(c.Stats()) == 0 })
	if got := content(t, path); got != "hello\n" {
		t.Errorf("got %q", got)
	}
}
