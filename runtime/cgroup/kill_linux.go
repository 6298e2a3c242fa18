package cgroup

import (
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// killRounds bounds how often Kill starts over without the kernel's help.
	killRounds = 10
	// freezeWithin is how long Kill waits for a group to stand still. A
	// process in uninterruptible sleep can keep it from that.
	freezeWithin = 200 * time.Millisecond
	// dieWithin is how long Kill waits to see whether it has to start over.
	dieWithin = 50 * time.Millisecond
)

// Kill sends SIGKILL to every process in l and below it, so that none can get
// away by forking. It does not wait for their end, which AwaitEmpty does; what
// somebody froze in a v1 freezer dies only after the thaw.
//
// On cgroup2 the kernel does it in one step (cgroup.kill, Linux 5.14). Before
// that, and on v1, the group is denied new processes where pids are limited,
// and frozen while each process gets its signal, which takes 0.3 s at most for
// each of 10 rounds.
func (l *Leaf) Kill() error {
	var rest []dir
	for _, d := range l.dirs {
		if !d.v2 || !l.tree.machine.killFile || !d.killAtOnce() {
			rest = append(rest, d)
		}
	}
	if len(rest) == 0 {
		return nil
	}
	if l.dirs[0].v2 && !rest[0].v2 {
		// These are about limits: whoever is here was in the first as well,
		// unless it left that by its own power.
		return l.Signal(unix.SIGKILL)
	}
	return l.killSlowly()
}

// killAtOnce tells whether the kernel did it, or there is nobody.
func (d dir) killAtOnce() bool {
	if err := writeFile(d.path, "cgroup.kill", "1"); err == nil {
		return true
	}
	_, err := os.Lstat(d.path)
	return gone(err)
}

func (l *Leaf) killSlowly() error {
	for _, d := range l.dirs {
		// Only a child that is being killed is in it, and nobody revokes that.
		_ = l.tree.machine.write(d.path, "pids.max", "0")
	}
	var before []int
	for range killRounds {
		thaw := l.freeze()
		err := l.Signal(unix.SIGKILL)
		err = errors.Join(err, thaw())
		if err != nil {
			return err
		}
		wait(dieWithin, func() bool {
			empty, err := l.Empty()
			return err == nil && empty
		})
		after, err := l.PIDs()
		if err != nil || len(after) == 0 || slices.Equal(before, after) {
			// All dead, or nobody came or went: they are dying, or held by
			// something that no further signal changes.
			return err
		}
		before = after
	}
	return nil
}

// freeze stops every process of l if it can, and returns what sets them free
// again. What was frozen before stays so: whoever did that has a reason.
func (l *Leaf) freeze() (thaw func() error) {
	for _, d := range l.dirs {
		f, ok := d.freezer()
		if !ok || f.byOthers() {
			continue
		}
		if f.freeze() != nil {
			continue
		}
		wait(freezeWithin, f.frozen)
		return func() error {
			if err := f.thaw(); !gone(err) {
				return err
			}
			return nil
		}
	}
	return func() error { return nil }
}

// freezer works the freezer of a directory, of either version.
type freezer struct {
	dir
	file, freezes, thaws string
}

func (d dir) freezer() (freezer, bool) {
	switch {
	case d.v2:
		return freezer{d, "cgroup.freeze", "1", "0"}, true
	case d.has("freezer"):
		return freezer{d, "freezer.state", "FROZEN", "THAWED"}, true
	}
	return freezer{}, false
}

// mark is a file of a v1 group that nothing else has a use for, as it tells a
// program that the whole hierarchy has to name. It says that kita froze the
// group: were the server killed before the thaw, its successor must not take
// the group for one that somebody else froze.
const mark = "notify_on_release"

func (f freezer) freeze() error {
	if !f.v2 {
		if err := writeFile(f.path, mark, "1"); err != nil {
			return err
		}
	}
	err := writeFile(f.path, f.file, f.freezes)
	if err != nil && !f.v2 {
		_ = writeFile(f.path, mark, "0")
	}
	return err
}

func (f freezer) thaw() error {
	err := writeFile(f.path, f.file, f.thaws)
	if !f.v2 {
		err = errors.Join(err, writeFile(f.path, mark, "0"))
	}
	return err
}

// byOthers tells whether somebody else froze this very group. A process of v2
// can be killed while it is frozen, so that there nothing depends on it.
func (f freezer) byOthers() bool {
	if f.v2 {
		return false
	}
	frozen, err := readFile(f.path, "freezer.self_freezing")
	if err != nil || strings.TrimSpace(string(frozen)) != "1" {
		return false
	}
	marked, err := readFile(f.path, mark)
	return err != nil || strings.TrimSpace(string(marked)) != "1"
}

// frozen tells whether all of it stands still, or is about to.
func (f freezer) frozen() bool {
	if f.v2 {
		frozen, err := readKey(f.path, "cgroup.events", "frozen")
		return err == nil && frozen == 1
	}
	state, err := readFile(f.path, f.file)
	return err == nil && strings.TrimSpace(string(state)) == f.freezes
}

// wait looks until ok or the time is over, each look later than the one before.
func wait(within time.Duration, ok func() bool) bool {
	deadline := time.Now().Add(within)
	for pause := time.Millisecond; !ok(); pause = min(2*pause, 10*time.Millisecond) {
		left := time.Until(deadline)
		if left <= 0 {
			return false
		}
		<-time.After(min(pause, left))
	}
	return true
}
