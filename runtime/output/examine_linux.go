package output

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"time"
)

// examine is the look of the watcher at an entry: where its file is, how far it
// goes, and whether something is to be done about it.
func (m *Manager) examine(e *entry, now time.Time) report {
	stray, placeErr := m.checkPlace(e)
	full := m.checkRoom(e)
	end, err := e.file.measure(now)
	if err == nil {
		if err := e.file.times.note(now, end); err != nil {
			m.log.Debug("cannot note when an output file was written", "path", e.path, "err", err)
		}
	}
	if stray || errors.Is(err, fs.ErrNotExist) {
		err = nil // it is told where the file is, or that it is not
	}
	if e.file.wanting(now) {
		m.tend(e)
	} else {
		m.stuck(e, cmp.Or(placeErr, err, e.file.trouble()))
	}
	if e.file.packs() {
		m.pack(e, now)
	}
	m.checkBudget()
	e.file.followers.wake()
	r := report{end: end, at: m.watchable(e), wrong: stray || full || placeErr != nil, followed: e.file.followers.any(), deadline: e.file.deadline(now)}
	r.left, r.rate = e.file.room()
	return r
}

// watchable is where inotify finds the file of an entry.
func (m *Manager) watchable(e *entry) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.faults.held != nil {
		return e.faults.held.path()
	}
	return e.path
}

// tend has the rules of an entry's file carried out, beside the looks.
func (m *Manager) tend(e *entry) {
	m.mu.Lock()
	busy := e.tending
	e.tending = true
	m.mu.Unlock()
	if busy {
		return
	}
	m.watch.rotation(e, func() {
		err := e.file.keepSmall(m.watch.ctx, time.Now())
		m.mu.Lock()
		e.tending = false
		m.mu.Unlock()
		if m.watch.ctx.Err() != nil {
			return
		}
		m.stuck(e, err)
		oldest, _ := e.file.Bounds()
		if err := e.file.times.trim(oldest); err != nil {
			m.log.Debug("cannot trim the times of an output file", "path", e.path, "err", err)
		}
		m.watch.wake(e)
	})
}

// stuck notes why the rules of an entry's file cannot be carried out; nil: they
// are.
func (m *Manager) stuck(e *entry, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	line := ""
	if err != nil {
		line = err.Error()
	}
	m.mu.Lock()
	e.faults.stuck = line
	m.mu.Unlock()
	m.tell(e)
}

// packAgain is how long an archive that could not be packed is left alone.
const packAgain = time.Minute

// pack has the archives of an entry packed, one file at a time in the whole
// process.
func (m *Manager) pack(e *entry, now time.Time) {
	m.mu.Lock()
	wait := e.packing || now.Before(e.packAfter)
	e.packing = e.packing || !wait
	m.mu.Unlock()
	if wait {
		return
	}
	m.packers.do(func() {
		err := e.file.pack(m.watch.ctx)
		m.mu.Lock()
		e.packing = false
		if err != nil {
			e.packAfter = time.Now().Add(packAgain)
		}
		m.mu.Unlock()
		if err != nil && m.watch.ctx.Err() == nil {
			m.log.Warn("an archive is left as it is for now", "path", e.path, "err", err)
		}
	})
}

// budgetEvery is the least time between two looks at what all files take.
const budgetEvery = time.Second

// checkBudget has the disk budget kept, at most once in budgetEvery. While nothing
// is written there is nothing to do.
func (m *Manager) checkBudget() {
	if m.o.Budget == nil || m.o.Budget() == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = true
	if !m.saving {
		m.saving = true
		m.savers.do(m.keepBudget)
	}
}

// keepBudget does so until nobody has asked for it since the last time.
func (m *Manager) keepBudget() {
	tick := time.NewTicker(budgetEvery)
	defer tick.Stop()
	for m.stillAsked() {
		err := enforceBudget(m.watch.ctx, time.Now(), m.all(), m.o.Budget())
		if err != nil && m.watch.ctx.Err() == nil {
			m.log.Warn("output takes more than the disk budget", "err", err)
		}
		select {
		case <-tick.C:
		case <-m.watch.ctx.Done():
			return
		}
	}
}

func (m *Manager) stillAsked() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.saving, m.asked = m.asked, false
	return m.saving
}

// all are the files that are known.
func (m *Manager) all() []*File {
	m.mu.Lock()
	defer m.mu.Unlock()
	files := make([]*File, 0, len(m.entries))
	for _, e := range m.entries {
		if e.file != nil {
			files = append(files, e.file)
		}
	}
	return files
}

// Used is how many bytes all rotated files and archives take.
func (m *Manager) Used() uint64 {
	used := uint64(0)
	for _, f := range m.all() {
		used += f.used()
	}
	return used
}
