package output

import (
	"context"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// Prepared are the output files of a launch, opened for writing.
type Prepared struct {
	m     *Manager
	files []*opened
	// pinned are the entries that this launch keeps live until Close.
	pinned []*entry
}

// opened is a file that some streams of a launch go to.
type opened struct {
	path    string // as the child's file has it
	fd      int
	streams []spec.StreamName
	key     Key
	regular bool
	// create: it begins empty.
	create bool
	rules  []*spec.Rotate
	owner  *Owner
	output spec.Output
}

// Open opens what c's streams go to, and truncates what is to begin empty. A
// stream that is not set is the server's own. Streams that turn out to be one
// file share one open file, and it is truncated once. The error names the path.
func Open(c *spec.Child, owner *Owner) (*Prepared, error) {
	p, err := openAll(c, owner)
	if err != nil {
		return nil, err
	}
	for _, f := range p.files {
		if err := f.truncate(); err != nil {
			p.Close()
			return nil, err
		}
	}
	return p, nil
}

// Prepare is Open for a child whose files are looked after: what is to begin
// empty and is rotated becomes an archive first.
func (m *Manager) Prepare(c *spec.Child, owner *Owner) (*Prepared, error) {
	p, err := openAll(c, owner)
	if err != nil {
		return nil, err
	}
	p.m = m
	for _, f := range p.files {
		if err := p.begin(f); err != nil {
			p.Close()
			return nil, err
		}
	}
	return p, nil
}

// Reopen opens the file at an output's path again, for whoever writes there for a
// run. The caller closes it.
func Reopen(o spec.Output) (fd int, err error) { return reopenOutput(o.Path, ownerOf(o)) }

func openAll(c *spec.Child, owner *Owner) (*Prepared, error) {
	p := &Prepared{}
	for _, name := range []spec.StreamName{spec.Out, spec.Err} {
		s := c.Stream(name)
		if s == nil {
			continue
		}
		f, err := openStream(name, s, owner)
		if err != nil {
			p.Close()
			return nil, err
		}
		p.add(f)
	}
	return p, nil
}

// rulesOf are the rules of those streams that c has rotated; c may be nil.
func rulesOf(c *spec.Child, streams []spec.StreamName) []*spec.Rotate {
	if c == nil {
		return nil
	}
	var rules []*spec.Rotate
	for _, name := range streams {
		if s := c.Stream(name); s != nil && s.Rotate != nil {
			rules = append(rules, s.Rotate)
		}
	}
	return rules
}

func openStream(name spec.StreamName, s *spec.Stream, owner *Owner) (*opened, error) {
	fd, err := openOutput(s.Path, owner, s.Rotate != nil)
	if err != nil {
		return nil, err
	}
	f := &opened{path: s.Path, fd: fd, streams: []spec.StreamName{name}, create: s.Mode != spec.Append, owner: owner}
	if s.Rotate != nil {
		f.rules = append(f.rules, s.Rotate)
	}
	st, err := statFD(fd)
	if err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "stat", Path: s.Path, Err: err}
	}
	f.key, f.regular = Key{uint64(st.Dev), st.Ino}, st.Mode&unix.S_IFMT == unix.S_IFREG
	return f, nil
}

// add takes f over, into the file that is there already if it is the same.
func (p *Prepared) add(f *opened) {
	for _, other := range p.files {
		if other.key == f.key {
			unix.Close(f.fd)
			other.streams = append(other.streams, f.streams...)
			other.rules = append(other.rules, f.rules...)
			other.create = other.create || f.create
			return
		}
	}
	p.files = append(p.files, f)
}

func (f *opened) truncate() error {
	if !f.create || !f.regular {
		return nil
	}
	if err := unix.Ftruncate(f.fd, 0); err != nil {
		return &os.PathError{Op: "truncate", Path: f.path, Err: err}
	}
	return nil
}

// begin finds the position at which the run begins in a file, and empties it if
// that is asked for.
func (p *Prepared) begin(f *opened) error {
	path, err := absolute(f.path)
	if err != nil {
		return &os.PathError{Op: "open", Path: f.path, Err: err}
	}
	f.output = spec.Output{Streams: f.streams, Path: path}
	if f.owner != nil {
		f.output.UID, f.output.GID = &f.owner.UID, &f.owner.GID
	}
	known := resolve(path, f.owner)
	switch {
	case !f.regular:
		return nil
	case ofServer(path), ofServer(known):
		return f.truncate()
	}
	e := p.m.pin(known, f.key, f.owner)
	p.pinned = append(p.pinned, e)
	e.file.setUser(f.owner)
	e.preparing.Lock()
	defer e.preparing.Unlock()
	ctx := context.Background()
	if e.file.Key() != f.key {
		p.m.abandon(ctx, e)
	}
	if err := e.file.bind(ctx, f.key, 0); err != nil {
		return err
	}
	if is, err := statx(f.fd, "", unix.AT_EMPTY_PATH); err == nil {
		e.file.launchedAs(is)
	}
	if f.create {
		if err := e.file.empty(ctx, f.fd, len(f.rules) > 0, time.Now()); err != nil {
			return err
		}
	}
	// It may be a new file that has the number of one that was removed. What
	// cannot be measured now will be by the next look.
	_, _ = e.file.measure(time.Now())
	base, end, err := e.file.extent(f.fd)
	if err != nil {
		return &os.PathError{Op: "stat", Path: f.path, Err: err}
	}
	f.output.Path = e.path
	f.output.Dev, f.output.Inode = f.key.Dev, f.key.Inode
	f.output.Base, f.output.Start = base, end
	return nil
}

// pin returns the entry of a file that a launch is about to write to; it is live
// until Close.
func (m *Manager) pin(path string, key Key, owner *Owner) *entry {
	e := m.entryOf(path, key, owner)
	m.inherit(e, key)
	m.mu.Lock()
	defer m.mu.Unlock()
	if other := m.live[key]; other != nil {
		e = other
	}
	m.setLive(e, key)
	e.pins++
	return e
}

// FD is the descriptor of a stream's file, -1 where it is the server's own. It
// stays open until Close.
func (p *Prepared) FD(name spec.StreamName) int {
	for _, f := range p.files {
		if slices.Contains(f.streams, name) {
			return f.fd
		}
	}
	return -1
}

// Outputs are the files, for the Launch.
func (p *Prepared) Outputs() []spec.Output {
	var outs []spec.Output
	for _, f := range p.files {
		if f.output.Path != "" {
			outs = append(outs, f.output)
		}
	}
	return outs
}

// Close gives the descriptors back. A process that has inherited them goes on;
// Attach comes before.
func (p *Prepared) Close() {
	for _, f := range p.files {
		unix.Close(f.fd)
	}
	p.files = nil
	if p.m != nil {
		p.m.unpin(p.pinned)
	}
	p.pinned = nil
}

func (m *Manager) unpin(entries []*entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range entries {
		e.pins--
		m.retire(e)
	}
}
