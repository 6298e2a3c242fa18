package spec

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Catalogue is the index of the load paths: which child is in which file, and
// what the file says. All methods are safe for concurrent use.
//
// Refresh and Fresh read the disk, everything else answers from memory.
type Catalogue struct {
	// scan serialises what reads the disk and owns dirs and files. Nothing
	// that must not wait for a disk takes it.
	scan  sync.Mutex
	dirs  map[string]*listing  // by absolute path
	files map[string]*readFrom // by path
	links bool                 // at the last Refresh some file had several names

	// mu owns the rest. It is never held over a system call; whoever takes
	// both takes scan first.
	mu       sync.RWMutex
	paths    []string
	defaults *Defaults
	entries  map[string]Entry
	problems []Problem
}

// Entry is what the catalogue knows of a name.
type Entry struct {
	Name string
	// Child is the last good version of the file; nil if there was none.
	Child *Child
	// Files are the files of that name, more than one only if Err is an
	// *AmbiguousError.
	Files []string
	// Err is what is wrong now: FileErrors, an *AmbiguousError, or an error of
	// the file system. Child is out of date then.
	Err error
	// Missing: there is no file of that name. Child is then what the deleted
	// file said, until Forget.
	Missing bool
}

// differs tells whether o means another configuration, or another error.
func (e Entry) differs(o Entry) bool {
	if e.Child == o.Child && e.Err == nil && o.Err == nil && e.Missing == o.Missing && slices.Equal(e.Files, o.Files) {
		return false
	}
	return e.Missing != o.Missing || !slices.Equal(e.Files, o.Files) ||
		(e.Child == nil) != (o.Child == nil) || e.Child != nil && !e.Child.alike(o.Child) ||
		(e.Err == nil) != (o.Err == nil) || e.Err != nil && e.Err.Error() != o.Err.Error()
}

// AmbiguousError says that several files have one name.
type AmbiguousError struct {
	Name  string
	Files []string
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("%s is in more than one file: %s; rename or remove all but one", e.Name, strings.Join(e.Files, ", "))
}

// Problem is something wrong with the load paths.
type Problem struct {
	// Path is a load path as server.yml spells it, or a file.
	Path string
	// Child is the name of the file's child, "" for a load path.
	Child string
	// Message is one line, and names the path.
	Message string
	// Illegal: a file is wrong, so mode full does not start. Else it is a
	// warning: a load path that cannot be read.
	Illegal bool
}

func (p Problem) String() string { return p.Message }

// NewCatalogue returns one without load paths.
func NewCatalogue() *Catalogue {
	return &Catalogue{
		dirs:    map[string]*listing{},
		files:   map[string]*readFrom{},
		entries: map[string]Entry{},
	}
}

// SetPaths says which directories hold child files, and what the files need
// not say. It is in force from the next Refresh, or Fresh of a name.
func (c *Catalogue) SetPaths(loadPaths []string, defaults *Defaults) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paths, c.defaults = slices.Clone(loadPaths), defaults
}

// Paths returns the load paths as written.
func (c *Catalogue) Paths() []string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.Clone(c.paths)
}

// Refresh lists all load paths again and reads every file that may have
// changed. It returns the names whose entry is another than before, sorted, and
// all that is wrong now.
func (c *Catalogue) Refresh() (changed []string, problems []Problem) {
	c.scan.Lock()
	defer c.scan.Unlock()
	s := c.beginScan()
	for _, l := range s.listings {
		l.list()
	}
	s.index()
	s.readAll()

	names := map[string]bool{}
	for _, name := range c.known() {
		names[name] = true
	}
	for name := range s.byName {
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if c.publish(s.entry(name)) {
			changed = append(changed, name)
		}
	}
	c.dropUnlisted(s)
	c.links = false
	for _, f := range c.files {
		c.links = c.links || f.id.links > 1
	}
	problems = append(s.problems(), c.illegal()...)
	c.mu.Lock()
	c.problems = problems
	c.mu.Unlock()
	return changed, slices.Clone(problems)
}

// Watchable tells whether whoever watches the load paths has been told of all that
// changed since the last Refresh. It looks at the directories alone, which costs
// nothing with thousands of files. A file that has other names, symbolic or hard
// links, can change without its directory's knowledge, and so can one that another
// machine writes.
func (c *Catalogue) Watchable() bool {
	c.scan.Lock()
	defer c.scan.Unlock()
	for _, l := range c.beginScan().listings {
		if l.links || !l.unchanged() || !l.id.onDisk() {
			return false
		}
	}
	return !c.links
}

// Linked tells whether a file that the last Refresh saw has other names.
func (c *Catalogue) Linked() bool {
	c.scan.Lock()
	defer c.scan.Unlock()
	for _, l := range c.dirs {
		if l.links {
			return true
		}
	}
	return c.links
}

// Fresh is Lookup after a look at the disk, for this name only: it lists a
// directory only if it may have changed, and reads only the files of the name.
// changed tells whether the entry is another than before; Refresh will not
// report that change again.
func (c *Catalogue) Fresh(name string) (e Entry, changed bool) {
	c.scan.Lock()
	defer c.scan.Unlock()
	s := c.beginScan()
	for _, l := range s.listings {
		l.listIfChanged()
	}
	s.wanted = name
	s.index()
	e = s.entry(name)
	changed = c.publish(e)
	return e, changed
}

// Lookup returns what is known of name, without I/O.
func (c *Catalogue) Lookup(name string) Entry {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if e, ok := c.entries[name]; ok {
		return e
	}
	return Entry{Name: name, Missing: true}
}

// Child returns the last good version of a child that has a file; CheckHooks
// takes it as its lookup.
func (c *Catalogue) Child(name string) (*Child, bool) {
	e := c.Lookup(name)
	return e.Child, e.Child != nil && !e.Missing
}

// Names returns the names that have a file, sorted.
func (c *Catalogue) Names() []string {
	entries := c.Entries()
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name
	}
	return names
}

// Entries returns the entries that have a file, sorted by name.
func (c *Catalogue) Entries() []Entry {
	c.mu.RLock()
	defer c.mu.RUnlock()
	entries := make([]Entry, 0, len(c.entries))
	for _, e := range c.entries {
		if !e.Missing {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return entries
}

// Problems returns what the last Refresh found wrong.
func (c *Catalogue) Problems() []Problem {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.Clone(c.problems)
}

// Forget drops what a deleted file said. It does nothing for a name that has a
// file.
func (c *Catalogue) Forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries[name].Missing {
		delete(c.entries, name)
	}
}

// known returns the names that have an entry.
func (c *Catalogue) known() []string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.Collect(maps.Keys(c.entries))
}

// publish makes e what Lookup answers, and tells whether it differs from what
// it answered. An entry that is new and missing is not kept.
func (c *Catalogue) publish(e Entry) (changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old, had := c.entries[e.Name]
	if !had {
		if e.Missing {
			return false
		}
		c.entries[e.Name] = e
		return true
	}
	c.entries[e.Name] = e
	return e.differs(old)
}

// illegal has a problem for each line that is wrong with a file.
func (c *Catalogue) illegal() []Problem {
	var problems []Problem
	for _, e := range c.Entries() {
		_, unlisted := errors.AsType[*unlistedError](e.Err)
		lines, isFile := errors.AsType[FileErrors](e.Err)
		switch {
		case e.Err == nil, unlisted:
		case isFile:
			for _, line := range lines {
				problems = append(problems, Problem{Path: line.File, Child: e.Name, Message: line.Error(), Illegal: true})
			}
		default:
			problems = append(problems, Problem{Path: e.Files[0], Child: e.Name, Message: e.Err.Error(), Illegal: true})
		}
	}
	return problems
}

// absolute is path for the system calls; a load path is relative to the
// server's working directory.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return filepath.Clean(path)
}
