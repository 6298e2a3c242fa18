package output

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kita/spec"
)

func TestPauseBetweenLooks(t *testing.T) {
	const mega = 1 << 20
	tests := []struct {
		name string
		r    report
		busy int
		want time.Duration
	}{
		{"not rotated", report{left: math.MaxUint64, rate: mega}, 1, longWait},
		{"slow", report{left: 100 * mega, rate: mega}, 1, longWait},
		{"full in half a second", report{left: mega, rate: 2 * mega}, 1, 500 * time.Millisecond},
		{"full at once", report{left: 0, rate: 1 << 40}, 1, leastWait},
		{"no growth", report{left: 0}, 1, longWait},
		{"followed", report{left: 100 * mega, followed: true}, 1, followedWait},
		{"one of 3000", report{left: 100 * mega}, 3000, 3 * time.Second},
		{"one of very many", report{left: 100 * mega}, 1 << 20, crowdWait},
		{"one of very many, followed", report{left: 100 * mega, followed: true}, 1 << 20, followedWait},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := pause(tt.r, tt.busy); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// isIdle tells whether an entry costs nothing: it is watched, and due at no time.
func (m *Manager) isIdle(e *entry) bool {
	m.watch.mu.Lock()
	defer m.watch.mu.Unlock()
	return e.look.idle() && !e.look.looking && e.look.index == 0 && e.look.watch != 0
}

func TestThousandsOfIdleFilesCostNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts many runs")
	}
	const files = 3000
	m, _ := newManager(t, nil)
	dir := t.TempDir()
	before, goroutines := openFiles(t), goruntime.NumGoroutine()
	var entries []*entry
	for i := range files {
		c := named(fmt.Sprint("c", i), filepath.Join(dir, fmt.Sprint(i)), &spec.Rotate{Size: 1 << 20, Keep: 5, Compress: spec.Zstd})
		p, err := m.Prepare(c, nil)
		if err != nil {
			t.Fatal(err)
		}
		m.Attach(c.Name, spec.Identity{PID: os.Getpid(), Incarnation: 1}, c, p.Outputs())
		p.Close()
		entries = append(entries, m.entry(c.Stdout.Path, nil))
	}
	awaitThat(t, "all idle", func() bool {
		for _, e := range entries {
			if !m.isIdle(e) {
				return false
			}
		}
		return true
	})
	awaitThat(t, "no goroutine more", func() bool { return goruntime.NumGoroutine() <= goroutines })
	if after := openFiles(t); after > before {
		t.Errorf("%d descriptors are open, before it were %d", after, before)
	}
	if kept, err := os.ReadDir(m.o.StateDir + "/output"); err != nil || len(kept) > 0 {
		t.Errorf("%d files were made in the state directory, %v", len(kept), err)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// TestWithoutInotify has files that no event tells of: they are looked at now and
// then, those that somebody follows more often.
func TestWithoutInotify(t *testing.T) {
	m, _ := newManager(t, nil)
	for _, tt := range []struct {
		r    report
		wait time.Duration
	}{
		{report{left: math.MaxUint64}, blindWait},
		{report{left: 1 << 20}, blindSizeWait},
		{report{left: math.MaxUint64, followed: true}, longWait},
	} {
		looked := make(chan struct{}, 100)
		w := newWatcher(func(*entry, time.Time) report {
			looked <- struct{}{}
			return tt.r
		}, nil, nil)
		e := m.entry(filepath.Join(t.TempDir(), "web.log"), nil)
		before := time.Now()
		w.wake(e)
		<-looked
		awaitThat(t, "it is due again", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return e.look.index > 0
		})
		if due := e.look.due; due.Before(before.Add(tt.wait)) || due.After(time.Now().Add(tt.wait)) {
			t.Errorf("%+v: it is due after %v", tt.r, due.Sub(before))
		}
		w.close()
	}
}

// TestFileThatCannotBeWatchedIsToldOnce, and one that is not there is not told.
func TestFileThatCannotBeWatchedIsToldOnce(t *testing.T) {
	m, _ := newManager(t, nil)
	notify, err := newInotify()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var at atomic.Value
	looked, told := make(chan struct{}, 100), make(chan error, 100)
	w := newWatcher(func(*entry, time.Time) report {
		looked <- struct{}{}
		return report{at: at.Load().(string), left: math.MaxUint64}
	}, notify, func(err error) { told <- err })
	defer w.close()
	e := m.entry(filepath.Join(dir, "web.log"), nil)
	look := func(path string) {
		at.Store(path)
		w.wake(e)
		<-looked
		awaitThat(t, "it is due again", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return e.look.index > 0
		})
	}
	look(filepath.Join(dir, "missing"))
	if len(told) != 0 {
		t.Errorf("told of a file that is not there: %v", <-told)
	}
	tooLong := filepath.Join(dir, strings.Repeat("x", 300))
	look(tooLong)
	if err := <-told; !errors.Is(err, unix.ENAMETOOLONG) {
		t.Errorf("told %v", err)
	}
	look(tooLong)
	look(tooLong)
	if len(told) != 0 {
		t.Error("told again")
	}
}

func TestRotationByTheClock(t *testing.T) {
	m, _ := newManager(t, nil)
	c := childTo(filepath.Join(t.TempDir(), "web.log"), spec.Append,
		&spec.Rotate{Size: 1 << 30, Every: spec.Duration(time.Second), Keep: 100, Compress: spec.NoCompression})
	r := launch(t, m, c, 1)
	f := theFile(t, m, c)
	r.write(t, "first\n")
	awaitThat(t, "one archive", func() bool { return f.shown().Rotations == 1 })
	r.write(t, "second\n")
	awaitThat(t, "two archives", func() bool { return f.shown().Rotations == 2 })
	if got := content(t, f); got != "first\nsecond\n" {
		t.Errorf("shown %q", got)
	}
}

// TestRulesHoldForWhatFormerRunsHaveLeft: also under a new server, with nobody
// who reads or starts the child.
func TestRulesHoldForWhatFormerRunsHaveLeft(t *testing.T) {
	state := t.TempDir()
	inState := func(o *Options) { o.StateDir = state }
	c := childTo(filepath.Join(t.TempDir(), "web.log"), spec.Append,
		&spec.Rotate{Size: 4096, Keep: 100, Compress: spec.NoCompression})
	m, _ := newManager(t, inState)
	r := launch(t, m, c, 1)
	r.write(t, lines(0, 600))
	f := theFile(t, m, c)
	awaitThat(t, "archives", func() bool { return f.shown().Rotations == 2 })
	r.end(t)
	m.Detach(c.Name, 1)
	m.Close()

	m, _ = newManager(t, inState)
	rotate := *c.Stdout.Rotate
	rotate.MaxAge = spec.Duration(time.Second)
	m.Configure(childTo(c.Stdout.Path, spec.Append, &rotate))
	awaitThat(t, "no archives", func() bool {
		archives, err := filepath.Glob(c.Stdout.Path + ".*")
		return err == nil && len(archives) == 0
	})
}

func TestArchivesAreRemovedByTheirAge(t *testing.T) {
	m, _ := newManager(t, nil)
	c := childTo(filepath.Join(t.TempDir(), "web.log"), spec.Append,
		&spec.Rotate{Size: 4096, Keep: 100, MaxAge: spec.Duration(time.Second), Compress: spec.NoCompression})
	r := launch(t, m, c, 1)
	f := theFile(t, m, c)
	r.write(t, strings.Repeat("hello\n", 1000))
	awaitThat(t, "an archive", func() bool { return f.shown().Rotations > 0 })
	// Nothing is written any more: the time alone does it.
	awaitThat(t, "no archive", func() bool { return len(f.shown().Archives) == 0 })
}
