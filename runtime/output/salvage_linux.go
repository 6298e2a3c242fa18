package output

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// salvageSoon has what a run left in a file that is at no path become an archive.
func (m *Manager) salvageSoon(e *entry) {
	m.watch.rotation(e, func() {
		e.preparing.Lock()
		defer e.preparing.Unlock()
		if err := m.salvage(m.watch.ctx, e); err != nil && m.watch.ctx.Err() == nil {
			m.log.Warn("the rest of the output in a file that was removed is not in an archive yet", "path", e.path, "err", err)
		}
	})
}

// salvage makes an archive of what a held file holds, and lets go of it, unless
// somebody writes to it again. The entry's preparing is held.
func (m *Manager) salvage(ctx context.Context, e *entry) error {
	m.mu.Lock()
	none := e.faults.held == nil || len(e.users) > 0
	m.mu.Unlock()
	if none {
		return nil
	}
	if err := m.archiveRest(ctx, e); err != nil {
		return err
	}
	m.letGo(e)
	return nil
}

// archiveRest makes an archive of what a held file holds, unless that has another
// name: then it is there.
func (m *Manager) archiveRest(ctx context.Context, e *entry) error {
	m.mu.Lock()
	none := e.faults.held == nil || e.faults.moved
	m.mu.Unlock()
	if none {
		return nil
	}
	_, err := e.file.archiveAll(ctx, time.Now())
	return err
}

// abandon gives up the file that an entry had, for another one at its path. What
// is in it becomes an archive; a process that goes on writing there is not read
// any more.
func (m *Manager) abandon(ctx context.Context, e *entry) {
	m.mu.Lock()
	held := e.faults.held != nil
	m.mu.Unlock()
	if !held {
		return
	}
	if err := m.archiveRest(ctx, e); err != nil {
		m.log.Error("the rest of the output in a file that was removed is lost", "path", e.path, "err", err)
	}
	m.letGo(e)
}

// allPumped tells whether whoever writes to an entry's file is a pump.
func (m *Manager) allPumped(e *entry) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range e.users {
		for _, u := range a.uses {
			if u.entry == e && len(u.output.FIFOs) < len(u.output.Streams) {
				return false
			}
		}
	}
	return m.o.Reopened != nil && len(e.users) > 0
}

// reopenSoon has the pump that writes to a file that is at no path write to the
// one at the path from here on.
func (m *Manager) reopenSoon(e *entry) {
	m.watch.rotation(e, func() {
		e.preparing.Lock()
		defer e.preparing.Unlock()
		if err := m.reopen(m.watch.ctx, e); err != nil && m.watch.ctx.Err() == nil {
			m.stuck(e, err)
		}
		m.watch.wake(e)
	})
}

// reopen makes the file at the path anew, and an archive of what the former one
// holds. The entry's preparing is held.
func (m *Manager) reopen(ctx context.Context, e *entry) error {
	if how, err := strayed(e.path, e.file.Key(), e.file.byLink()); err != nil || how == "" || !m.allPumped(e) {
		return err // another one has done it
	}
	if !m.reachable(e) && time.Since(m.astraySince(e)) < giveUpAfter {
		return nil
	}
	fd, err := reopenOutput(e.path, e.file.user())
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// Most of it first, while it can still be left for later.
	if err := m.archiveRest(ctx, e); err != nil {
		return err
	}
	key := keyOf(fd)
	if !m.handOver(e, fd, key) {
		return nil
	}
	// What the pump writes from here on is in the new file, and its position is
	// known once the old one is finished: the end of the server has to wait.
	ctx = context.WithoutCancel(ctx)
	if err := m.archiveRest(ctx, e); err != nil {
		m.log.Error("the rest of the output in a file that was removed is lost", "path", e.path, "err", err)
	}
	m.letGo(e)
	if err := e.file.bind(ctx, key, 0); err != nil {
		return err
	}
	// The next server is told of the former file.
	return e.file.update(func(*record) error { return nil })
}

// giveUpAfter is how long it is tried to reach a file that a pump has open before
// what is in it is given up.
const giveUpAfter = 10 * time.Second

// reachable tells whether what an entry's file holds, if it holds anything, can be
// made an archive.
func (m *Manager) reachable(e *entry) bool {
	m.mu.Lock()
	held := e.faults.held != nil
	m.mu.Unlock()
	return held || e.file.lastSeen() <= e.file.record().Head
}

// handOver gives a new file to all pumps that write to an entry's file.
func (m *Manager) handOver(e *entry, fd int, key Key) bool {
	type writer struct {
		a *attached
		i int
		o spec.Output
	}
	var writers []writer
	m.mu.Lock()
	for _, a := range e.users {
		for i, u := range a.uses {
			if u.entry == e {
				writers = append(writers, writer{a, i, u.output})
			}
		}
	}
	m.mu.Unlock()
	for _, w := range writers {
		if !m.o.Reopened(w.a.child, w.a.incarnation, w.o, fd) {
			return false
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range writers {
		w.a.uses[w.i].output.Dev, w.a.uses[w.i].output.Inode = key.Dev, key.Inode
	}
	m.setLive(e, key)
	return true
}
