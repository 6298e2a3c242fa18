package history

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kita/spec"
)

// addMuch adds events of a child until the file has been compacted so many times.
func addMuch(t testing.TB, h *History, child string, compactions int) (added uint64) {
	t.Helper()
	e := started(child, 1)
	e.Message = strings.Repeat("x", 1000)
	for target := h.currentEpoch() + compactions; h.currentEpoch() < target; {
		for range 500 {
			h.Add(e)
			added++
			e.Incarnation++
		}
		h.Flush(t.Context())
	}
	return added
}

func sizeOf(t testing.TB, dir string) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func TestACrashLoopDoesNotPushOutTheOthers(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	h.Add(started("web", 1), spec.Event{Type: spec.EventServer}, spec.Event{Child: "web", Type: spec.EventCommand})
	added := addMuch(t, h, "crash", 2)
	got := readAll(t, h)
	wantBrief(t, got[:3], "1 web started", "2  server", "3 web command")
	if last := got[len(got)-1]; last.Seq != added+3 {
		t.Errorf("the last is %d of %d", last.Seq, added+3)
	}
	// What came since the last time is there too.
	h.Close()
	h = open(t, dir)
	addMuch(t, h, "crash", 1)
	h.Close()
	kept := 0
	h = open(t, dir)
	for _, e := range readAll(t, h) {
		if e.Child == "crash" {
			kept++
		}
	}
	if kept < perChild || sizeOf(t, dir) > smallFile+1<<20 {
		t.Errorf("%d are kept, in %d bytes", kept, sizeOf(t, dir))
	}
	if _, err := os.Stat(filepath.Join(dir, fileName+temporary)); err == nil {
		t.Error("the temporary file is left")
	}
}

// compactNow compacts a file with the events.
func compactNow(t *testing.T, events ...spec.Event) []spec.Event {
	t.Helper()
	dir := t.TempDir()
	h := open(t, dir)
	h.Add(events...)
	h.Close()
	w := &writer{path: filepath.Join(dir, fileName)}
	if err := w.open(); err != nil {
		t.Fatal(err)
	}
	before := w.file
	f, size, err := w.compacted(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = before.Close(), f.Close()
	if size != sizeOf(t, dir) {
		t.Errorf("%d bytes, not %d", sizeOf(t, dir), size)
	}
	return readAll(t, open(t, dir))
}

func TestCompactionKeepsTheLatestOfEach(t *testing.T) {
	var events []spec.Event
	for i := range uint64(100) {
		events = append(events, started("a", i+1), started("b", i+1), spec.Event{Type: spec.EventServer})
	}
	events = append(events, started("c", 1))
	count := map[string]int{}
	first := map[string]uint64{}
	got := compactNow(t, events...)
	for _, e := range got {
		count[e.Child]++
		if first[e.Child] == 0 {
			first[e.Child] = e.Seq
		}
	}
	if count["a"] != perChild || count["b"] != perChild || count["c"] != 1 || count[""] != 100 {
		t.Errorf("kept %v", count)
	}
	if first["a"] != 3*(100-perChild)+1 || first[""] != 3 {
		t.Errorf("the first are %v", first)
	}
	for i := range got[1:] {
		if got[i].Seq >= got[i+1].Seq {
			t.Fatalf("%d comes before %d", got[i].Seq, got[i+1].Seq)
		}
	}
}

func TestCompactionForgetsTheForgotten(t *testing.T) {
	old, lately := time.Now().Add(-8*24*time.Hour), time.Now().Add(-6*24*time.Hour)
	gone := func(child string, at time.Time) spec.Event {
		return spec.Event{Child: child, Type: spec.EventForgotten, At: at}
	}
	wantBrief(t, compactNow(t,
		started("old", 1), gone("old", old),
		started("lately", 1), gone("lately", lately),
		started("back", 1), gone("back", old), started("back", 1),
	), "3 lately started", "4 lately forgotten", "5 back started", "6 back forgotten", "7 back started")
}

// A server that is killed all the time adopts all the time.
func TestCompactionFoldsAdoptions(t *testing.T) {
	adopted := spec.Event{Child: "web", Type: spec.EventAdopted, Incarnation: 1}
	events := []spec.Event{{Child: "web", Type: spec.EventCommand}, started("web", 1)}
	for range 3 * perChild {
		events = append(events, adopted, spec.Event{Type: spec.EventServer})
	}
	events = append(events, spec.Event{Child: "web", Type: spec.EventExited}, adopted)
	var web []spec.Event
	for _, e := range compactNow(t, events...) {
		if e.Child == "web" {
			web = append(web, e)
		}
	}
	wantBrief(t, web, "1 web command", "2 web started", "3 web adopted", "387 web exited", "388 web adopted")
}

func TestVeryManyChildrenKeepFewerEach(t *testing.T) {
	now := time.Now()
	tests := []struct {
		name     string
		all      tallies
		children int
		want     int
	}{
		{"few", nil, 1000, perChild},
		{"many", nil, 10000, 8},
		{"very many", nil, 100000, atLeast},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.all = tallies{}
			for i := range tt.children {
				tt.all[fmt.Sprint(i)] = &tally{events: 100, bytes: 30000, at: now}
			}
			tt.all["gone"] = &tally{events: 100, bytes: 30000, at: now, last: spec.EventForgotten}
			left := tt.all.choose(now, largeFile)
			if kept := 100 - tt.all["7"].drop; kept != tt.want {
				t.Errorf("each keeps %d, want %d", kept, tt.want)
			}
			isTooMuch := tt.want == atLeast
			if left > largeFile != isTooMuch || (tt.all["gone"].drop == 100) != isTooMuch {
				t.Errorf("%d bytes are left, gone keeps %d", left, 100-tt.all["gone"].drop)
			}
		})
	}
}

// A server that has nothing to do compacts a file that is large.
func TestALargeFileIsCompactedWhenNothingHappens(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	h.Add(started("web", 1))
	follow := newFollower(t, h, spec.EventRequest{Children: []string{"web"}, Follow: true})
	follow.want("1 web started", "1  caught-up")
	e := started("crash", 1)
	e.Message = strings.Repeat("x", 1000)
	for range 40 {
		for range 100 {
			h.Add(e)
		}
		// Or a busy machine loses some.
		h.Flush(t.Context())
	}
	// Larger than smallFile, and not by half.
	for news := h.onNews(); h.currentEpoch() == 0; news = h.onNews() {
		<-news
	}
	if size := sizeOf(t, dir); size > smallFile/10 {
		t.Errorf("%d bytes", size)
	}
	h.Add(started("web", 2))
	follow.want("4002 web started")
	follow.leave()
}

// A slow follower is still reading the file that was replaced.
func TestFollowersGoOnOverCompactions(t *testing.T) {
	h := open(t, t.TempDir())
	h.Add(started("web", 1))
	follow := newFollower(t, h, spec.EventRequest{Children: []string{spec.All}, Follow: true})
	follow.want("1 web started", "1  caught-up")
	latest := uint64(1)
	for range 3 {
		latest += addMuch(t, h, "crash", 1)
		h.Add(started("web", 2))
		latest++
		h.Flush(t.Context())
		// The file has been replaced once since it was read to its end, so nothing
		// is missing.
		for seq := uint64(0); seq < latest; {
			e := <-follow.events
			if seq > 0 && e.Seq != seq+1 {
				t.Fatalf("%d comes after %d", e.Seq, seq)
			}
			seq = e.Seq
		}
	}
	follow.leave()
}

// What is in the way of a compaction does not keep events from being written.
func TestACompactionThatFailsIsPutOff(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, fileName+temporary, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	h := open(t, dir)
	e := started("web", 1)
	e.Message = strings.Repeat("x", 1000)
	added := 0
	for sizeOf(t, dir) < 2*smallFile {
		for range 1000 {
			h.Add(e)
			added++
		}
		h.Flush(t.Context())
	}
	if got := readAll(t, h); len(got) != added || h.Err() != nil || h.Lost() != 0 {
		t.Errorf("%d of %d events: %v, lost %d", len(got), added, h.Err(), h.Lost())
	}
	if err := os.RemoveAll(filepath.Join(dir, fileName+temporary)); err != nil {
		t.Fatal(err)
	}
	addMuch(t, h, "web", 1)
	if size := sizeOf(t, dir); size > smallFile {
		t.Errorf("%d bytes", size)
	}
}

// A file that was compacted says how much that left, so that the next server does
// not do it at once.
func TestCompactionsAreRareAcrossServers(t *testing.T) {
	if n := len(fmt.Sprintf(keptFormat, 0)); n != keptLength {
		t.Errorf("the line has %d bytes, not %d", n, keptLength)
	}
	dir := t.TempDir()
	w := &writer{path: filepath.Join(dir, fileName)}
	for _, tt := range []struct {
		content string
		kept    int64
	}{
		{"", 0},
		{fmt.Sprintf(keptFormat, 12345), 12345},
		{fmt.Sprintf(keptFormat, 1<<40), largeFile},
		{`{"kept":-1}                     ` + "\n", 0},
		{`{"seq":1,"type":"server","padding":"xxxxxxxxxxx"}` + "\n", 0},
	} {
		if err := os.WriteFile(w.path, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := w.open(); err != nil {
			t.Fatal(err)
		}
		_ = w.file.Close()
		if w.kept != tt.kept {
			t.Errorf("%q: %d, want %d", tt.content, w.kept, tt.kept)
		}
	}
}
