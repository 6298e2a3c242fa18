package output

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// faults are what is wrong with a file, in words; guarded by Manager.mu.
type faults struct {
	// astray says that it is not at its path any more, full that there is no room
	// on its disk, stuck why it cannot be rotated or looked at.
	astray, full, stuck string
	// held is the file that is at its path no more, opened; nil otherwise. moved:
	// it has another name, and whoever gave it that may do with it what he likes.
	held  *held
	moved bool
	// since is when it was seen first that it is not at its path.
	since time.Time
}

// lines are all of them.
func (f *faults) lines() []string {
	var lines []string
	for _, line := range []string{f.astray, f.full, f.stuck} {
		if line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// linked is how a file strayed to which a link at its path leads.
const linked = "became a symbolic link"

// strayed says what is at path where the file with this key should be; empty if
// that is there, also by way of a link where byLink is set. The error is of a look
// that told nothing.
func strayed(path string, key Key, byLink bool) (string, error) {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	switch {
	case err == unix.ENOENT || err == unix.ENOTDIR:
		if _, err := os.Lstat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
			return "was removed with its directory", nil
		}
		return "was removed", nil
	case err != nil:
		return "", &os.PathError{Op: "stat", Path: path, Err: err}
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		switch at, err := lookAt(path); {
		case err != nil || at.key != key:
		case byLink:
			return "", nil
		default:
			return linked, nil
		}
	case Key{uint64(st.Dev), st.Ino} == key:
		return "", nil
	}
	kind := notRegular(st.Mode & unix.S_IFMT)
	if kind == unix.S_IFREG {
		return "was replaced by another file", nil
	}
	return "was replaced by " + kind.kind(), nil
}

// checkPlace finds out whether an entry's file is at its path. Where it is not it
// is held from here on: reading and rotation go on from what the process has open.
func (m *Manager) checkPlace(e *entry) (stray bool, err error) {
	key := e.file.Key()
	if key == (Key{}) {
		return false, nil
	}
	rotated := m.rotated(e)
	how, err := strayed(e.path, key, e.file.byLink() && !rotated)
	if err != nil {
		return false, err
	}
	if how == linked && !rotated {
		how = "was replaced by a symbolic link"
	}
	m.mu.Lock()
	used, held := len(e.users) > 0, e.faults.held
	m.mu.Unlock()
	switch {
	case how == "":
		m.letGo(e)
		return false, nil
	case !used && held == nil:
		return false, nil
	case !used:
		m.salvageSoon(e)
		return true, nil
	case held == nil:
		held = m.hold(e, key)
	}
	to, moved := held.movedTo()
	if to == e.path {
		m.letGo(e)
		return false, nil // it is back by now
	}
	m.describe(e, how, to, moved)
	if time.Since(m.astraySince(e)) >= reopenAfter && how != linked && m.allPumped(e) {
		m.reopenSoon(e)
	}
	return true, nil
}

// reopenAfter is how long nothing is made anew in the place of what was removed:
// whoever removes the directory is done with it by then.
const reopenAfter = time.Second

func (m *Manager) astraySince(e *entry) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return e.faults.since
}

// describe notes how a file went astray. One that has another name, also if a
// link leads to it, is not rotated: it is somebody else's by now.
func (m *Manager) describe(e *entry, how, to string, moved bool) {
	const kept = "what the process writes is kept and shown by kita logs, and goes to the file again from the next start"
	const lost = "what the process writes cannot be reached, and goes to the file again from the next start"
	const theirs = "the process goes on writing there, which is shown by kita logs and not rotated, until the next start"
	m.mu.Lock()
	switch {
	case how == linked:
		moved = true
		e.faults.astray = "open " + e.path + ": " + notRegular(unix.S_IFLNK).Error()
	case moved && to == "":
		e.faults.astray = e.path + " was moved; " + theirs
	case moved:
		e.faults.astray = e.path + " was moved to " + to + "; " + theirs
	case e.faults.held == nil:
		e.faults.astray = e.path + " " + how + "; " + lost
	default:
		e.faults.astray = e.path + " " + how + "; " + kept
	}
	if e.faults.since.IsZero() {
		e.faults.since = time.Now()
	}
	changed := e.faults.moved != moved
	e.faults.moved = moved
	m.mu.Unlock()
	if changed {
		m.applyRules(e)
	}
}

// hold opens the file of an entry where one of its processes has it open; nil
// where none has.
func (m *Manager) hold(e *entry, key Key) *held {
	for _, pid := range m.holders(e) {
		f := openOf(pid, key)
		if f == nil {
			continue
		}
		m.mu.Lock()
		e.faults.held = f
		m.mu.Unlock()
		e.file.holdBy(f.dup)
		return f
	}
	m.log.Debug("an output file that is not at its path is open nowhere", "path", e.path)
	return nil
}

// letGo ends hold, if the file was held.
func (m *Manager) letGo(e *entry) {
	m.mu.Lock()
	held, moved := e.faults.held, e.faults.moved
	e.faults.held, e.faults.astray, e.faults.moved, e.faults.since = nil, "", false, time.Time{}
	m.mu.Unlock()
	if held != nil {
		e.file.holdBy(nil)
		held.close()
	}
	if moved {
		m.applyRules(e)
	}
}

// holders are the processes that may have an entry's file open.
func (m *Manager) holders(e *entry) []int {
	m.mu.Lock()
	users := slices.Clone(e.users)
	m.mu.Unlock()
	var pids []int
	for _, a := range users {
		pids = append(pids, a.pid)
		if m.o.Holders != nil {
			pids = append(pids, m.o.Holders(a.child, a.incarnation)...)
		}
	}
	return pids
}

// tell tells Options.Fault what is wrong with the files of those who write to an
// entry, where that has changed.
func (m *Manager) tell(e *entry) {
	if m.o.Fault == nil {
		return
	}
	m.mu.Lock()
	users := slices.Clone(e.users)
	m.mu.Unlock()
	for _, a := range users {
		m.tellRun(a)
	}
}

func (m *Manager) tellRun(a *attached) {
	m.telling.Lock()
	defer m.telling.Unlock()
	m.mu.Lock()
	lines := []string{}
	for _, u := range a.uses {
		lines = append(lines, u.entry.faults.lines()...)
	}
	changed := !slices.Equal(lines, a.told)
	a.told = lines
	m.mu.Unlock()
	if changed {
		m.o.Fault(a.child, a.incarnation, lines)
	}
}

// faultOf is what is wrong with a file, in one line.
func (m *Manager) faultOf(e *entry) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	lines := e.faults.lines()
	if len(lines) == 0 {
		return ""
	}
	return lines[0]
}
