package pump

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// The rest of a line of which the pump had the beginning is not taken for a line.
func TestEndOfALineThatAKilledPumpHadIsMarked(t *testing.T) {
	for how, want := range map[Stream]string{
		{Format: spec.Text}: tornNote + "\n1234 EUR\n",
		{Format: spec.JSON}: `{"torn":true}` + "\n" + `{"line":"1234 EUR"}` + "\n",
	} {
		for _, before := range []string{"", "whole\n", "not en"} {
			t.Run(fmt.Sprintf("%s after %q", how.Format, before), func(t *testing.T) {
				c := testClient(t, t.TempDir())
				dir := t.TempDir()
				path, held, goOn := filepath.Join(dir, "out"), filepath.Join(dir, "held"), filepath.Join(dir, "go")
				s := how
				s.Dest = destination(t, path)
				start(t, c, keyOf("web"), s, "printf 'transfer 9900'; touch "+held+"; while [ ! -e "+goOn+" ]; do sleep 0.01; done; echo 1234 EUR")
				eventually(t, "it has written", func() bool { _, err := os.Stat(held); return err == nil })
				awaitRead(t, c, keyOf("web"))
				pump := stopPump(t, c)
				// As if it had been killed in the middle of a write.
				if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
					t.Fatal(err)
				}
				kill(t, pump)
				eventually(t, "there is another pump", func() bool { now := c.PID(); return now != 0 && now != pump })
				if err := os.WriteFile(goOn, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				eventually(t, "the stream ends", func() bool { return len(c.Stats()) == 0 })
				if before == "not en" {
					before += "\n"
				}
				if got := content(t, path); got != before+want {
					t.Errorf("got %q, want %q", got, before+want)
				}
			})
		}
	}
}

// awaitRead waits until the pump has taken all that is in a FIFO.
func awaitRead(t *testing.T, c *Client, k Key) {
	t.Helper()
	eventually(t, "the pump has read", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		n, err := unix.IoctlGetInt(c.streams[k].fifo, unix.TIOCINQ)
		return err == nil && n == 0
	})
}
