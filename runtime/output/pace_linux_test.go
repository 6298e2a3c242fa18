package output

import (
	"errors"
	"os"
	"slices"
	"testing"
	"time"
)

func TestDue(t *testing.T) {
	const size, g = 100 << 20, 1 << 30
	free := func(s standing) standing { s.free, s.total = 50, 100; return s }
	tests := []struct {
		name string
		s    standing
		want bool
	}{
		{"small", free(standing{held: size - 1}), false},
		{"full", free(standing{held: size}), true},
		{"full, and grows", free(standing{held: size, rate: burstRate}), true},
		{"a burst", free(standing{held: size, rate: burstRate + 1}), false},
		{"a long burst", free(standing{held: 8 * size, rate: g}), true},
		{"a burst on a full disk", standing{held: size, rate: g, free: 9, total: 100}, true},
		{"a burst on a disk with room", standing{held: size, rate: g, free: 10, total: 100}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := due(size, test.s); got != test.want {
				t.Errorf("due is %v", got)
			}
		})
	}
	if due(4096, standing{held: leastBurst - 1, rate: g, free: 50, total: 100}) {
		t.Error("a burst into a file with a small limit is not let through")
	}
	if !due(4096, standing{held: leastBurst, rate: g, free: 50, total: 100}) {
		t.Error("a long burst into a file with a small limit is let through for ever")
	}
}

func TestBackoffGrowsToAMinuteAndEnds(t *testing.T) {
	var b backoff
	var waits []time.Duration
	for range 8 {
		b = b.after(at, errGone)
		waits = append(waits, b.until.Sub(at))
	}
	want := []time.Duration{1e9, 2e9, 4e9, 8e9, 16e9, 32e9, 60e9, 60e9}
	if !slices.Equal(waits, want) {
		t.Errorf("waits are %v, want %v", waits, want)
	}
	if b = b.after(at, nil); b != (backoff{}) {
		t.Errorf("after a success it is %v", b)
	}
}

func TestRateOfAFastWriterOutlivesAPause(t *testing.T) {
	looks := []struct {
		after time.Duration
		grown uint64
		rate  uint64
	}{
		{0, 1000, 0},
		{time.Second, 8000, 8000},
		{10 * time.Millisecond, 900, 8000}, // too soon to tell
		{490 * time.Millisecond, 0, 4000},
		{time.Second, 0, 1000},
		{time.Second, 300, 300},
	}
	var p pulse
	now, end := at, uint64(0)
	for i, look := range looks {
		now, end = now.Add(look.after), end+look.grown
		p = p.next(now, end)
		if got := p.rate; got+10 < look.rate || got > look.rate+10 {
			t.Errorf("after look %d the rate is %d, want %d", i, got, look.rate)
		}
	}
}

func TestCollapseHoldsNobodyUp(t *testing.T) {
	const mb = 1 << 20
	tests := []struct {
		name string
		hole uint64
		end  uint64
		rate uint64
		want bool
	}{
		{"no hole", 0, 5 * mb, 0, false},
		{"nothing behind the hole", 100 * mb, 100 * mb, 0, false},
		{"a little behind", 100 * mb, 108 * mb, calmRate, true},
		{"a little behind a fast writer", 100 * mb, 101 * mb, calmRate + 1, false},
		{"much behind", 100 * mb, 109 * mb, quietRate + 1, false},
		{"much behind a quiet writer", 100 * mb, 900 * mb, quietRate, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := &File{hole: test.hole, pulse: pulse{rate: test.rate}}
			if got := f.collapseDue(test.end); got != test.want {
				t.Errorf("it is due: %v", got)
			}
		})
	}
}

func TestFileSystemThatFreesNothingIsLeftAlone(t *testing.T) {
	s := newStream(t, t.TempDir(), rules())
	s.shared.volumes.set(s.Key().Dev, unable)
	text := lines(0, 600)
	s.write(text)
	err := s.keepSmall(t.Context(), at)
	if !errors.Is(err, errUnable) || s.trouble() != err {
		t.Errorf("the error is %v", err)
	}
	if _, err := s.rotate(t.Context(), at); !errors.Is(err, errUnable) {
		t.Errorf("the error of the command is %v", err)
	}
	if err := enforceBudget(t.Context(), at, []*File{s.File}, 1); !errors.Is(err, errUnable) {
		t.Errorf("the error of the budget is %v", err)
	}
	s.checkNames()
	s.check(0, text)
	// A start that makes an archive of all needs no help of the file system.
	if err := s.empty(t.Context(), int(s.writer.Fd()), true, at); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(s.path); err != nil || len(got) > 0 {
		t.Errorf("%d bytes are left, %v", len(got), err)
	}
	s.check(0, text)
}
