package history

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"kita/spec"
)

// A line whose number was damaged costs itself, and none behind it: neither those
// that are there nor those that are still to come.
func TestADamagedNumberCostsItsLineAlone(t *testing.T) {
	for _, tt := range []struct {
		name    string
		numbers []uint64
		// want are those that are shown, of a server that adds one event.
		want []uint64
	}{
		{"whole", []uint64{1, 2, 7, 8}, []uint64{1, 2, 7, 8, 9}},
		{"larger", []uint64{1, 2, 6, 4, 5, 6, 7}, []uint64{1, 2, 4, 5, 6, 7, 8}},
		{"larger than all", []uint64{1, 2, 93, 4, 5}, []uint64{1, 2, 4, 5, 6}},
		{"the first", []uint64{91, 2, 3}, []uint64{2, 3, 4}},
		{"larger than is possible", []uint64{1, 2, maxSeq, 4}, []uint64{1, 2, 4, 5}},
		{"the last", []uint64{1, 2, 93}, []uint64{1, 2, 93, 94}},
		{"the last, and no number would be left", []uint64{1, 2, maxSeq}, []uint64{1, 2, 3}},
		{"smaller", []uint64{11, 12, 1, 14}, []uint64{11, 12, 14, 15}},
		{"the last is smaller", []uint64{11, 12, 1}, []uint64{11, 12, 13}},
		{"twice the same", []uint64{1, 2, 2, 3}, []uint64{1, 2, 3, 4}},
		{"several", []uint64{1, 92, 3, 94, 5, 6}, []uint64{1, 3, 5, 6, 7}},
		{"after a boot", []uint64{1, 2, bootGap + 3, bootGap + 4}, []uint64{1, 2, bootGap + 3, bootGap + 4, bootGap + 5}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			content := ""
			for _, n := range tt.numbers {
				content += fmt.Sprintf(`{"seq":%d,"time":"2026-01-31T02:11:11Z","child":"web","type":"started"}`, n) + "\n"
			}
			if err := os.WriteFile(filepath.Join(dir, fileName), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			h := open(t, dir)
			follow := newFollower(t, h, spec.EventRequest{Children: []string{"web"}, Follow: true})
			for _, n := range tt.want[:len(tt.want)-1] {
				follow.want(fmt.Sprintf("%d web started", n))
			}
			follow.want(fmt.Sprintf("%d  caught-up", tt.want[len(tt.want)-2]))
			h.Add(spec.Event{Child: "web", Type: spec.EventStarted})
			follow.want(fmt.Sprintf("%d web started", tt.want[len(tt.want)-1]))
			follow.leave()

			wantNumbers(t, readAll(t, h), tt.want)
			none := 0
			if shown, latest := read(t, h, spec.EventRequest{Children: []string{"web"}, Tail: &none}, anybody); len(shown) > 0 || latest != tt.want[len(tt.want)-1] {
				t.Errorf("without a tail: %v, the latest is %d", brief(shown), latest)
			}
			two := 2
			tail, _ := read(t, h, spec.EventRequest{Children: []string{"web"}, Tail: &two}, anybody)
			wantNumbers(t, tail, tt.want[len(tt.want)-2:])
			h.Close()
			// A compaction and the next server change nothing.
			w := &writer{path: filepath.Join(dir, fileName)}
			if err := w.open(); err != nil {
				t.Fatal(err)
			}
			before := w.file
			after, _, err := w.compacted(time.Now())
			_ = before.Close()
			if err != nil {
				t.Fatal(err)
			}
			_ = after.Close()
			wantNumbers(t, readAll(t, open(t, dir)), tt.want)
		})
	}
}

func wantNumbers(t *testing.T, events []spec.Event, want []uint64) {
	t.Helper()
	var got []uint64
	for _, e := range events {
		got = append(got, e.Seq)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %d, want %d", got, want)
	}
}

// Somebody emptied the file: what comes is written, and told to those who follow.
func TestAFileThatWasEmptiedGoesOn(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	h.Add(started("web", 1), started("web", 2))
	follow := newFollower(t, h, spec.EventRequest{Children: []string{"web"}, Follow: true})
	follow.want("1 web started", "2 web started", "2  caught-up")
	if err := os.Truncate(filepath.Join(dir, fileName), 0); err != nil {
		t.Fatal(err)
	}
	h.Add(started("web", 3))
	follow.want("3 web started")
	h.Add(started("web", 4))
	follow.want("4 web started")
	wantBrief(t, readAll(t, h), "3 web started", "4 web started")
	follow.leave()
}
