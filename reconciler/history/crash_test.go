package history

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// writerDir has the test's own binary add events until it is killed.
const writerDir = "KITA_HISTORY_TEST_WRITER"

// addUntilKilled prints the number of each event that is with the kernel. It compacts
// all the time, so that it is killed in the midst of that too.
func addUntilKilled(dir string) {
	h := Open(Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	e := started("web", 1)
	e.Message = strings.Repeat("x", 1000)
	for {
		for range 1500 {
			h.Add(e)
		}
		h.Flush(context.Background())
		fmt.Println(h.latest())
	}
}

// TestAKilledServerLosesNothingThatWasWritten kills a writer at random moments.
func TestAKilledServerLosesNothingThatWasWritten(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	h.Add(started("first", 1))
	h.Close()
	written := uint64(1)
	for round := range 8 {
		written = max(written, killWriter(t, dir, 3+2*round))
		h := open(t, dir)
		got := readAll(t, h)
		h.Close()
		if got[0].Child != "first" {
			t.Fatalf("the first event is %+v", got[0])
		}
		if last := got[len(got)-1]; last.Seq < written {
			t.Fatalf("%d was written, the last that is left is %d", written, last.Seq)
		}
		for i := range got[2:] {
			if got[i+1].Seq+1 != got[i+2].Seq {
				t.Fatalf("%d comes after %d", got[i+2].Seq, got[i+1].Seq)
			}
		}
	}
}

// killWriter kills a writer after so many lines, and returns the last one.
func killWriter(t *testing.T, dir string, lines int) (written uint64) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), writerDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	scan := bufio.NewScanner(out)
	for range lines {
		if !scan.Scan() {
			break
		}
		if written, err = strconv.ParseUint(scan.Text(), 10, 64); err != nil {
			t.Error(err)
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return written
}
