package output

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// Options are what a Manager can be told.
type Options struct {
	// StateDir is the server's state directory; what is known of the files is
	// kept in its directory output. Empty: nothing is kept, and nothing rotated.
	StateDir string
	// Logger is slog's default when nil.
	Logger *slog.Logger
	// Budget is how many bytes all rotated files and archives may take together;
	// 0 or nil is any number.
	Budget func() uint64
	// Fault is told what is wrong with the files of a run, one line each, when
	// that has changed; no lines: nothing is. It must not block. It may be nil.
	Fault func(child string, incarnation uint64, lines []string)
	// Reopened is told that there is a file at the path of an output again after
	// what was there had gone: whoever writes there for the run, a pump, can be
	// given it. It is asked only for outputs with FIFOs; true: it was.
	Reopened func(child string, incarnation uint64, o spec.Output, fd int) bool
	// Owner is whom a child runs as, nil where that is the server's own user. Nil:
	// each one does.
	Owner func(c *spec.Child) (*Owner, error)
	// Holders are the processes, besides the leader, that may have the output of
	// a run open: what is left of it, and its pump. It may be nil.
	Holders func(child string, incarnation uint64) []int
}

// Manager opens, watches, rotates and limits the output files of the children.
// Its methods may be called from any goroutine. It keeps what it knows of every
// file that it came across, about 1 KB each; nothing of them is open.
type Manager struct {
	o      Options
	log    *slog.Logger
	shared *shared
	watch  *watcher
	// packers pack archives, savers keep the budget, rulers find the files of those
	// that do not run.
	packers, savers, rulers crew

	// inheriting is held while a file takes over what is known of another path.
	inheriting sync.Mutex
	// telling is held while Options.Fault is called, so that what it is told comes
	// in order. It is taken before mu.
	telling sync.Mutex
	// mu is held for moments only, never over I/O.
	mu sync.Mutex
	// entries are the files by path, live those that a run has open by what they
	// are: a file by two names is one. Both are guarded by mu.
	entries map[string]*entry
	live    map[Key]*entry
	// runs, guarded by mu, are the live runs by child, the latest first.
	runs map[string][]*attached
	// saving and asked, guarded by mu: the budget is being kept, and is to be again.
	saving, asked bool
}

// attached is a run whose output is looked after.
type attached struct {
	child       string
	incarnation uint64
	pid         int
	// uses are guarded by Manager.mu, as told is: what Options.Fault was last told.
	uses []use
	told []string
}

// use is a file that a run writes to.
type use struct {
	output spec.Output
	entry  *entry
	// rules are those of its streams that are rotated.
	rules []*spec.Rotate
}

// entry is a file, and who has it open.
type entry struct {
	path string
	once sync.Once
	// file is set by once, under Manager.mu.
	file *File

	// preparing is held while a launch opens the file.
	preparing sync.Mutex

	// users are the runs that write to it, pins is how many launches are about to;
	// guarded by Manager.mu.
	users []*attached
	pins  int
	// key, guarded by Manager.mu, is where it is in Manager.live.
	key Key
	// tending, guarded by Manager.mu as packing is: its rules are being carried
	// out. packAfter is guarded by it too.
	tending, packing bool
	packAfter        time.Time

	faults faults
	look   look
}

// New makes a Manager. What a former server was interrupted in is finished; a
// file where that cannot be done is named in the log. The caller closes it.
func New(o Options) (*Manager, error) {
	m := &Manager{o: o, log: o.Logger, entries: map[string]*entry{}, live: map[Key]*entry{}, runs: map[string][]*attached{}}
	if m.log == nil {
		m.log = slog.Default()
	}
	var err error
	if m.shared, err = newShared(o.StateDir); err != nil {
		return nil, err
	}
	m.shared.log = m.log
	notify, err := newInotify()
	if err != nil {
		m.log.Warn("changes of output files are noticed late", "err", err)
	}
	m.watch = newWatcher(m.examine, notify, m.isBlind)
	m.packers = crew{most: 1, running: &m.watch.running}
	m.savers = crew{most: 1, running: &m.watch.running}
	m.rulers = crew{most: 1, running: &m.watch.running}
	known, err := m.shared.records.all()
	if err != nil {
		m.log.Warn("what was known of some output files is lost", "err", err)
	}
	for _, r := range known {
		m.entry(r.Path, r.Owner)
	}
	return m, nil
}

// isBlind tells the log why files are not watched.
func (m *Manager) isBlind(err error) {
	if errors.Is(err, unix.ENOSPC) {
		err = errors.New("the user has no inotify watches left: raise the sysctl fs.inotify.max_user_watches")
	}
	m.log.Warn("output files that are written to after a pause are looked at late", "err", err)
}

// entry returns the entry of a path, which is absolute.
func (m *Manager) entry(path string, owner *Owner) *entry {
	m.mu.Lock()
	e := m.entries[path]
	if e == nil {
		e = &entry{path: path, look: look{quiet: quietLooks}}
		m.entries[path] = e
	}
	m.mu.Unlock()
	e.once.Do(func() {
		f, err := m.shared.open(path, owner)
		if err != nil {
			m.log.Warn("what is known of an output file is incomplete", "path", path, "err", err)
		}
		f.times.path = m.shared.records.stem(path) + timesEnding
		f.followers.arrived = func() { m.watch.wake(e) }
		m.mu.Lock()
		defer m.mu.Unlock()
		e.file = f
	})
	return e
}

// Attach looks after the output files of a run, outs, which Prepare or a former
// server's Launch had: they are watched, rotated as c says, and what is wrong with
// them is told. c may be nil: nothing is rotated then before Configure.
func (m *Manager) Attach(child string, id spec.Identity, c *spec.Child, outs []spec.Output) {
	a := &attached{child: child, incarnation: id.Incarnation, pid: id.PID}
	for _, o := range outs {
		if o.Inode != 0 {
			a.uses = append(a.uses, m.use(o, c))
		}
	}
	m.mu.Lock()
	runs := append(m.runs[child], a)
	slices.SortStableFunc(runs, func(a, b *attached) int { return cmp.Compare(b.incarnation, a.incarnation) })
	m.runs[child] = runs
	for _, u := range a.uses {
		u.entry.users = append(u.entry.users, a)
		m.setLive(u.entry, Key{u.output.Dev, u.output.Inode})
	}
	m.mu.Unlock()
	for _, u := range a.uses {
		m.applyRules(u.entry)
		m.watch.wake(u.entry)
	}
}

// use finds the entry of an output. Where the pump was given another file since
// the output was saved, it is the one at the path.
func (m *Manager) use(o spec.Output, c *spec.Child) use {
	key := Key{o.Dev, o.Inode}
	e := m.entryOf(o.Path, key, ownerOf(o))
	e.file.setUser(ownerOf(o))
	if at, err := lookAt(o.Path); len(o.FIFOs) > 0 && err == nil && at.regular && at.key == e.file.Key() {
		key = at.key
		o.Dev, o.Inode, o.Base = key.Dev, key.Inode, 0
	}
	// The error is that of a context, and this one does not end.
	_ = e.file.bind(context.Background(), key, o.Base)
	// The process has it open, so no other file has its number.
	if at, err := lookAt(o.Path); len(o.FIFOs) == 0 && err == nil && at.key == key {
		e.file.launchedAs(at)
	}
	return use{o, e, rulesOf(c, o.Streams)}
}

// entryOf returns the entry of the file with this key, which may be known by
// another path, and else of the path.
func (m *Manager) entryOf(path string, key Key, owner *Owner) *entry {
	m.mu.Lock()
	e := m.live[key]
	m.mu.Unlock()
	if e != nil {
		return e
	}
	return m.entry(path, owner)
}

// Detach ends the care for a run of which nothing is left. What it wrote to a
// file that is at no path any more becomes an archive.
func (m *Manager) Detach(child string, incarnation uint64) {
	m.mu.Lock()
	i := slices.IndexFunc(m.runs[child], func(a *attached) bool { return a.incarnation == incarnation })
	if i < 0 {
		m.mu.Unlock()
		return
	}
	a := m.runs[child][i]
	m.runs[child] = slices.Delete(m.runs[child], i, i+1)
	if len(m.runs[child]) == 0 {
		delete(m.runs, child)
	}
	for _, u := range a.uses {
		u.entry.users = slices.DeleteFunc(u.entry.users, func(other *attached) bool { return other == a })
		m.retire(u.entry)
	}
	m.mu.Unlock()
	for _, u := range a.uses {
		m.applyRules(u.entry)
		m.watch.wake(u.entry)
	}
}

// setLive notes what an entry's file is that a run has open. mu is held.
func (m *Manager) setLive(e *entry, key Key) {
	if m.live[e.key] == e {
		delete(m.live, e.key)
	}
	e.key, m.live[key] = key, e
}

// retire forgets what an entry's file is once no run has it open. mu is held.
func (m *Manager) retire(e *entry) {
	if len(e.users) == 0 && e.pins == 0 && m.live[e.key] == e {
		delete(m.live, e.key)
	}
}

// Configure applies what the file of a child says of rotation to its live runs;
// where there are none, to what former ones have left, a little later.
func (m *Manager) Configure(c *spec.Child) {
	var changed []*entry
	m.mu.Lock()
	for _, a := range m.runs[c.Name] {
		for i, u := range a.uses {
			a.uses[i].rules = rulesOf(c, u.output.Streams)
			changed = append(changed, u.entry)
		}
	}
	m.mu.Unlock()
	for _, e := range changed {
		m.applyRules(e)
		m.watch.wake(e)
	}
	if len(changed) == 0 {
		m.watch.unlessClosed(func() { m.rulers.do(func() { m.ruleUnused(c) }) })
	}
}

// ruleUnused has what is there of the output of a child that does not run kept as
// its file says: archives grow old, and count for the budget.
func (m *Manager) ruleUnused(c *spec.Child) {
	for _, f := range m.configured(c) {
		if f.isArchived() || f.Key() != (Key{}) {
			m.watch.wake(f.entry)
		}
	}
}

// applyRules has a file rotated as those ask who write to it: where they ask for
// different things, by the smallest size. A file that nobody writes to keeps its
// rules, for the age of its archives.
func (m *Manager) applyRules(e *entry) {
	m.mu.Lock()
	all := e.wanted()
	used, moved := len(e.users) > 0, e.faults.moved
	m.mu.Unlock()
	switch {
	case moved:
		e.file.configure(nil)
	case used:
		e.file.configure(strictest(all))
	}
}

// wanted are the rules of all that write to it. Manager.mu is held.
func (e *entry) wanted() []*spec.Rotate {
	var all []*spec.Rotate
	for _, a := range e.users {
		for _, u := range a.uses {
			if u.entry == e {
				all = append(all, u.rules...)
			}
		}
	}
	return all
}

// rotated tells whether anybody who writes to an entry's file wants it rotated.
func (m *Manager) rotated(e *entry) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(e.wanted()) > 0
}

// strictest is the rule with the smallest size, nil of none.
func strictest(rules []*spec.Rotate) *spec.Rotate {
	if len(rules) == 0 {
		return nil
	}
	return slices.MinFunc(rules, func(a, b *spec.Rotate) int { return cmp.Compare(a.Size, b.Size) })
}

// Close ends the care for all files. It waits for what is being written to come
// to an end that the next server can go on from, but not for a disk that does not
// answer.
func (m *Manager) Close() {
	if !m.watch.close() {
		m.log.Error("a disk does not answer, what was being done to output files on it is left")
	}
	m.mu.Lock()
	all := slices.Collect(maps.Values(m.entries))
	m.mu.Unlock()
	for _, e := range all {
		if err := e.file.times.flush(); err != nil {
			m.log.Debug("cannot note when an output file was written", "path", e.path, "err", err)
		}
		m.letGo(e)
	}
}

// Busy counts the files that are looked at within the next seconds, since they are
// written to or are new. One that is being looked at right now may be left out.
func (m *Manager) Busy() int { return m.watch.unsettled(time.Now()) }

// ownerOf is whose file an output is; nil is the server's own.
func ownerOf(o spec.Output) *Owner {
	if o.UID == nil || o.GID == nil {
		return nil
	}
	return &Owner{*o.UID, *o.GID}
}
