package history

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kita/reconciler/smalldisk"
	"kita/spec"
)

func TestWhatWaitsForRoomIsHandedOver(t *testing.T) { smalldisk.Run(t, "4m", handOverOnFullDisk) }

func handOverOnFullDisk(t *testing.T, dir string) {
	filler := filepath.Join(dir, "filler")
	h := open(t, dir)
	h.Add(started("web", 1))
	h.Flush(t.Context())
	if err := os.WriteFile(filler, make([]byte, 7<<19), 0o600); err != nil {
		t.Fatal(err)
	}
	exited := spec.Event{Child: "web", Incarnation: 1, Type: spec.EventExited}
	h.Add(exited)
	h.Flush(t.Context()) // in the writer's hands
	h.Add(started("web", 2))
	h.Close()

	// A second version finds no room either, and hands over once more.
	next := openAfter(t, dir, h.Rest())
	next.AddOnce(exited) // which is known, though nobody could write it
	next.Add(started("web", 3))
	next.Flush(t.Context())
	big := started("loop", 1)
	big.Message = strings.Repeat("x", 1000)
	for next.Lost() < 3 {
		next.Add(big)
	}
	next.Close()
	if next.Err() == nil {
		t.Fatal("there was room")
	}

	last := openAfter(t, dir, next.Rest())
	if last.Lost() != 3 {
		t.Errorf("%d are known to be lost, want 3", last.Lost())
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	last.Add(started("web", 4))
	last.Flush(t.Context())
	got, _ := read(t, last, spec.EventRequest{Children: []string{"web"}}, anybody)
	wantBrief(t, got[:4], "1 web started", "2 web exited", "3 web started", "4 web started")
	// They are told of where the writer took them, before or after the start.
	var lost []uint64
	for _, e := range readAll(t, last) {
		if e.Type == spec.EventLost {
			lost = append(lost, e.Lost)
		}
	}
	if len(got) != 5 || got[4].Incarnation != 4 || !slices.Equal(lost, []uint64{3}) {
		t.Errorf("got %v, lost %d", brief(got), lost)
	}
	last.Close()
	if r := last.Rest(); len(r.Lines) > 0 || r.Lost > 0 {
		t.Errorf("left after all was written: %+v", r)
	}
}

// TestALineThatWasCutIsCountedAsLost has the writer stop in the midst of a line.
func TestALineThatWasCutIsCountedAsLost(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	h.Close()
	h.out.batch, h.out.cut = []byte("\"rest of one\"}\n{\"seq\":7,\"child\":\"a\"}\n"), true
	r := h.Rest()
	if string(r.Lines) != "{\"seq\":7,\"child\":\"a\"}\n" || r.Lost != 1 {
		t.Errorf("%q, %d lost", r.Lines, r.Lost)
	}
}

// TestADiskThatHangsLosesNothing hands over what the writer has in its hands, too.
func TestADiskThatHangsLosesNothing(t *testing.T) {
	dir := t.TempDir()
	before := open(t, dir)
	before.Add(started("web", 1))
	before.Close()
	// As it is while write(2) does not return, and the line is there in the end.
	content, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	hung := &History{done: make(chan struct{}), seq: 2}
	hung.pending.taken, hung.pending.inWork = content, true
	e := started("web", 2)
	line, err := encode(&e, e.At)
	if err != nil {
		t.Fatal(err)
	}
	hung.pending.put(2, line)
	next := openAfter(t, dir, hung.Rest())
	next.Add(started("web", 3))
	wantBrief(t, readAll(t, next), "1 web started", "2 web started", "3 web started")
}

func openAfter(t *testing.T, dir string, r Rest) *History {
	t.Helper()
	h := Open(Options{Dir: dir, Rest: r, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(h.Close)
	return h
}
