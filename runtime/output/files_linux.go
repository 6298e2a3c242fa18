package output

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// FileOf is an output file of a child.
type FileOf struct {
	// Streams are those that go there, Out first.
	Streams []spec.StreamName
	*File

	entry *entry
}

// Files are the output files of a child: those of its live runs, the latest
// first, or else those that c says; c may be nil.
func (m *Manager) Files(child string, c *spec.Child) []FileOf {
	var files []FileOf
	m.mu.Lock()
	for _, a := range m.runs[child] {
		for _, u := range a.uses {
			if !slices.ContainsFunc(files, func(f FileOf) bool { return f.File == u.entry.file }) {
				files = append(files, FileOf{u.output.Streams, u.entry.file, u.entry})
			}
		}
	}
	m.mu.Unlock()
	if len(files) > 0 || c == nil {
		return files
	}
	return m.configured(c)
}

// Beside calls look with the files of a run, in another goroutine that Close
// waits for: the disk may not answer. False: it does not, since the run is not
// looked after, or Close was called.
func (m *Manager) Beside(child string, incarnation uint64, look func([]FileOf)) bool {
	m.mu.Lock()
	var files []FileOf
	for _, a := range m.runs[child] {
		for _, u := range a.uses {
			if a.incarnation == incarnation {
				files = append(files, FileOf{u.output.Streams, u.entry.file, u.entry})
			}
		}
	}
	m.mu.Unlock()
	if len(files) == 0 {
		return false
	}
	return m.watch.beside(files[0].entry, func() { look(files) })
}

// configured are the files that a child that does not run would write to. What
// is there and is no regular file is none, unless there are archives beside it.
func (m *Manager) configured(c *spec.Child) []FileOf {
	if c.Stdout == nil && c.Stderr == nil {
		return nil
	}
	owner, err := m.ownerFor(c)
	if err != nil {
		return nil // it cannot be started either, and is told why then
	}
	var files []FileOf
	for _, name := range []spec.StreamName{spec.Out, spec.Err} {
		s := c.Stream(name)
		if s == nil {
			continue
		}
		e, ok := m.unused(s, owner)
		if !ok {
			continue
		}
		if i := slices.IndexFunc(files, func(f FileOf) bool { return f.File == e.file }); i >= 0 {
			files[i].Streams = append(files[i].Streams, name)
			continue
		}
		files = append(files, FileOf{[]spec.StreamName{name}, e.file, e})
	}
	return files
}

func (m *Manager) ownerFor(c *spec.Child) (*Owner, error) {
	if m.o.Owner == nil {
		return nil, nil
	}
	return m.o.Owner(c)
}

// unused returns the entry of what a stream of no live run goes to; false where
// that is no regular file.
func (m *Manager) unused(s *spec.Stream, owner *Owner) (*entry, bool) {
	path, err := absolute(s.Path)
	if err != nil {
		return nil, false
	}
	known := resolve(path, owner)
	if ofServer(path) || ofServer(known) {
		return nil, false
	}
	path = known
	byLink := s.Rotate == nil && !m.archived(path)
	reach := findPlace
	if byLink {
		reach = followPlace
	}
	var at found
	p, err := reach(path, owner)
	if err == nil {
		at, err = statx(p.dir, p.name, unix.AT_SYMLINK_NOFOLLOW)
		p.close()
	}
	switch {
	case err != nil, !at.regular && !byLink:
		// Not there yet, or not any more, or not to be read.
		at.key = Key{}
	case !at.regular:
		return nil, false
	}
	e := m.entryOf(path, at.key, owner)
	m.mu.Lock()
	busy := len(e.users) > 0 || e.pins > 0
	m.mu.Unlock()
	if !busy {
		if at.key != (Key{}) {
			// The error is that of a context, and this one does not end.
			_ = e.file.bind(context.Background(), at.key, 0)
		}
		e.file.setUser(owner)
		e.file.configure(s.Rotate)
	}
	return e, true
}

// archived tells whether archives are known of the file at a path.
func (m *Manager) archived(path string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entries[path]
	return e != nil && e.file != nil && e.file.isArchived()
}

// Shown is what Files returns, to be shown.
func (m *Manager) Shown(child string, c *spec.Child) []spec.OutputFile {
	var shown []spec.OutputFile
	for _, f := range m.Files(child, c) {
		s := f.shown()
		s.Streams = f.Streams
		s.Fault = m.faultOf(f.entry)
		shown = append(shown, s)
	}
	return shown
}

// ErrNoFile is that a child has no output file, ErrNotRotated that no file of it
// is under rotation.
var (
	ErrNoFile     = errors.New("no output file")
	ErrNotRotated = errors.New("output is not rotated")
)

// Rotate makes archives now of all whole lines that the files of a child hold.
// Files that are not under rotation are left alone: nothing would ever remove
// their archives but a disk budget, and that at once.
func (m *Manager) Rotate(ctx context.Context, child string, c *spec.Child) ([]spec.Archive, error) {
	var made []spec.Archive
	files := m.Files(child, c)
	if len(files) == 0 {
		return nil, ErrNoFile
	}
	var errs []error
	rotated := 0
	for _, f := range files {
		if !m.isRotated(f, c) {
			continue
		}
		rotated++
		if theirs := m.movedAway(f.entry); theirs != "" {
			errs = append(errs, errors.New(theirs))
			continue
		}
		archives, err := f.rotate(ctx, time.Now())
		made = append(made, archives...)
		errs = append(errs, err)
	}
	if rotated == 0 {
		return nil, ErrNotRotated
	}
	return made, errors.Join(errs...)
}

// isRotated tells whether a child, or another one that writes to the file, has
// it rotated.
func (m *Manager) isRotated(f FileOf, c *spec.Child) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rules != nil || len(rulesOf(c, f.Streams)) > 0
}

// movedAway says that a file was moved, and so is somebody else's by now; empty
// where it was not.
func (m *Manager) movedAway(e *entry) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !e.faults.moved {
		return ""
	}
	return e.faults.astray
}
