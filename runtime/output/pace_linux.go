package output

import (
	"math"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A burst is let through: copying would take from the writer what both need.
const (
	// burstRate is the growth, in bytes a second, that rotation waits out.
	burstRate = 256 << 20
	// burstSizes is how many times its size for rotation a file may then hold,
	// or leastBurst bytes if that is more.
	burstSizes = 8
	leastBurst = 256 << 20
	// leastFree is the part of the file system, one in so many, that has to be
	// free for it.
	leastFree = 10
)

// The kernel holds the writer up while it takes a head out, and first writes to
// the disk what lies behind.
const (
	// mostBehind is how many bytes may lie there while the file grows, and
	// calmRate how fast it may, in bytes a second. Below quietRate it does not.
	mostBehind = 8 << 20
	calmRate   = 16 << 20
	quietRate  = 64 << 10
)

// standing is what due decides by.
type standing struct {
	held uint64 // bytes in the live file and in no archive
	rate uint64 // of growth, in bytes a second
	// free and total are what the file system has, in blocks.
	free, total uint64
}

// due tells whether a file that is rotated at size is to be rotated now.
func due(size uint64, s standing) bool {
	switch {
	case s.held < size:
		return false
	case s.rate <= burstRate:
		return true
	case s.held/burstSizes >= size && s.held >= leastBurst:
		return true
	}
	return s.free < s.total/leastFree
}

// backoff is the wait after a rotation that was not possible.
type backoff struct {
	until time.Time
	wait  time.Duration
	err   error
}

const firstWait, longestWait = time.Second, time.Minute

// after is the back-off after an attempt at now that ended with err.
func (b backoff) after(now time.Time, err error) backoff {
	if err == nil {
		return backoff{}
	}
	wait := min(max(2*b.wait, firstWait), longestWait)
	return backoff{until: now.Add(wait), wait: wait, err: err}
}

// trouble is why the last rotation was not possible; nil after a success.
func (f *File) trouble() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.backoff.err
}

// room is how many bytes the file may grow before it is to be rotated, and how
// fast it grows, in bytes a second. Both are of the last look.
func (f *File) room() (left, rate uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rules == nil {
		return math.MaxUint64, f.pulse.rate
	}
	t := f.todo(time.Time{})
	return f.rules.Size - min(t.held, f.rules.Size), f.pulse.rate
}

// wanting tells whether keepSmall would do something, by what the last look saw.
// It says no during a back-off.
func (f *File) wanting(now time.Time) bool {
	f.mu.Lock()
	t, paused := f.todo(now), now.Before(f.backoff.until)
	f.mu.Unlock()
	switch {
	case paused:
		return false
	case t.every, t.expired, t.collapse, t.failed:
		return true
	case t.size == 0 || t.held < t.size:
		return false
	case t.rate > burstRate:
		var fs unix.Statfs_t
		if unix.Statfs(filepath.Dir(f.path), &fs) == nil {
			t.free, t.total = fs.Bavail, fs.Blocks
		}
	}
	return due(t.size, t.standing)
}

// todo is what the rules ask for at a time.
type todo struct {
	standing
	size                     uint64 // 0: there are no rules
	every, expired, collapse bool
	// failed: something was not possible, and may be now.
	failed bool
}

// todo goes by what the last look saw; mu is held.
func (f *File) todo(now time.Time) todo {
	if f.rules == nil {
		return todo{failed: f.backoff.err != nil}
	}
	return todo{
		standing: standing{held: f.seen - min(f.rec.Head, f.seen), rate: f.pulse.rate},
		size:     f.rules.Size,
		every:    f.everyDue(now),
		expired:  f.expired(now) > 0,
		collapse: f.collapseDue(f.seen),
		failed:   f.backoff.err != nil,
	}
}

// begunAt is when the time of every begins where nothing was cut yet: with the
// file, or else now.
func (f *File) begunAt(now time.Time) time.Time {
	if f.rec.LastCut.After(f.begun) {
		return f.rec.LastCut
	}
	if f.begun.IsZero() {
		f.begun = now
		if f.rec.Born != 0 {
			f.begun = time.Unix(0, f.rec.Born)
		}
	}
	return f.begun
}

// everyDue tells whether it is time by rules.Every; mu is held.
func (f *File) everyDue(now time.Time) bool {
	if f.rules == nil || f.rules.Every == 0 {
		return false
	}
	return !now.Before(f.begunAt(now).Add(f.rules.Every.D()))
}

// collapseDue tells whether a freed head can be taken out and holds nobody up;
// mu is held.
func (f *File) collapseDue(end uint64) bool {
	behind := f.behind(end)
	calm := f.pulse.rate <= calmRate && behind <= mostBehind
	return behind > 0 && (calm || f.pulse.rate <= quietRate)
}

// behind is how much lies behind a hole that is to be taken out; mu is held.
func (f *File) behind(end uint64) uint64 {
	size := end - min(f.rec.Base, end)
	if f.hole == 0 {
		return 0
	}
	return size - min(f.hole, size)
}

// deadline is when keepSmall is to be called next even if the file does not
// grow; zero for never.
func (f *File) deadline(now time.Time) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.backoff.err != nil {
		return f.backoff.until
	}
	if f.rules == nil {
		return time.Time{}
	}
	var at time.Time
	if f.rules.Every > 0 {
		at = f.begunAt(now).Add(f.rules.Every.D())
	}
	if f.rules.MaxAge > 0 && len(f.rec.Archives) > 0 {
		at = earliest(at, f.rec.Archives[0].At.Add(f.rules.MaxAge.D()))
	}
	if f.behind(f.seen) > 0 {
		at = earliest(at, now.Add(time.Second))
	}
	return at
}

// earliest is the earlier of two times; zero is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
