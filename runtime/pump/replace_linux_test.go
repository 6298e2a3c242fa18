package pump

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kita/spec"
)

// formerClient is that of a server whose messages are of another version.
func formerClient(t *testing.T, runDir string) *Client {
	t.Helper()
	c := testClient(t, runDir)
	c.name, c.version = otherVersion, version-1
	return c
}

// succeed closes a client of another version, and lets one of this version go on
// with its stream.
func succeed(t *testing.T, former *Client, k Key, s Stream) *Client {
	t.Helper()
	pump := former.PID()
	former.Close()
	c := testClient(t, former.o.RunDir)
	if err := c.Resume(); err != nil {
		t.Fatal(err)
	}
	s.FIFO = c.path(k)
	if err := c.Attach(k, s); err != nil {
		t.Fatal(err)
	}
	if now := c.PID(); now == pump || now == 0 {
		t.Fatalf("the pump is still %d", pump)
	}
	return c
}

func TestPumpOfAnotherVersionIsReplacedWithoutALoss(t *testing.T) {
	former := formerClient(t, t.TempDir())
	n := startCounting(t, former, "web")
	n.grows(t)
	c := succeed(t, former, n.key, Stream{Dest: n.dest, Format: spec.Text})
	n.grows(t)
	checkCount(t, n.finish(t, c), 0)
}

func TestUnfinishedLineGoesToTheNextPump(t *testing.T) {
	for _, shown := range []bool{false, true} {
		t.Run(fmt.Sprintf("shown %t", shown), func(t *testing.T) {
			former := formerClient(t, t.TempDir())
			dir := t.TempDir()
			path, goOn := filepath.Join(dir, "out"), filepath.Join(dir, "go")
			s := Stream{Dest: destination(t, path), Format: spec.Text, Prefix: true}
			k := keyOf("web")
			start(t, former, k, s, "printf 'name? '; while [ ! -e "+goOn+" ]; do sleep 0.01; done; echo joe")
			if shown {
				eventually(t, "the prompt is there", func() bool { return content(t, path) == "web out: name? " })
			}
			c := succeed(t, former, k, s)
			if err := os.WriteFile(goOn, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the stream ends", func() bool { return len(c.Stats()) == 0 })
			if got, want := content(t, path), "web out: name? joe\n"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestWhatCouldNotBeWrittenGoesToTheNextPump(t *testing.T) {
	dir, filler := fullDisk(t)
	former := formerClient(t, t.TempDir())
	k := keyOf("web")
	path := filepath.Join(dir, "out")
	s := Stream{Dest: destination(t, path), Format: spec.Text, OnFull: spec.Block}
	start(t, former, k, s, "seq -f %099.0f 1 2000; exec sleep 600")
	eventually(t, "the fault is told", func() bool { return former.Stats()[k].Fault != "" })
	c := succeed(t, former, k, s)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all lines are there", func() bool { return strings.Count(content(t, path), "\n") == 2000 })
	checkNumbers(t, path, 2000)
	c.Discard(k)
}
