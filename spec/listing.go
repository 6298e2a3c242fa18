package spec

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// listing is what a load path held when it was last listed.
type listing struct {
	// spelled is the load path as server.yml has it, abs the same absolute.
	spelled, abs string
	// id is that of the directory, taken before it was listed, at seen.
	id   fileID
	seen time.Time
	// names are the file names that a child's could be, sorted. They stay
	// what they were while err is set.
	names []string
	// links: some of them are symbolic links, or of an unknown type.
	links bool
	err   error
}

// listIfChanged trusts the list as long as the directory's time stamps cannot
// hide a change.
func (l *listing) listIfChanged() {
	if !l.unchanged() {
		l.list()
	}
}

func (l *listing) unchanged() bool {
	id, err := statID(l.abs)
	return err == nil && l.err == nil && id == l.id && !id.racy(l.seen)
}

func (l *listing) list() {
	seen := time.Now()
	names, links, id, err := listNames(l.abs)
	l.err = err
	switch {
	case err == nil:
		l.names, l.links, l.id, l.seen = names, links, id, seen
	case errors.Is(err, fs.ErrNotExist):
		// The directory is gone, and the files with it. Any other error says
		// nothing about them: a disk that hiccups deletes no children.
		l.names = nil
	}
}

func listNames(dir string) (names []string, links bool, id fileID, err error) {
	if id, err = statID(dir); err != nil {
		return nil, false, id, err
	}
	// Not opened before it is known to be a directory: it could be a FIFO.
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return nil, false, id, errors.New("is not a directory")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, false, id, err
	}
	for _, e := range entries {
		if _, ok := NameOf(e.Name()); ok && !e.IsDir() {
			names = append(names, e.Name())
			links = links || !e.Type().IsRegular()
		}
	}
	return names, links, id, nil
}

// unlistedError is the Err of a child whose directory cannot be listed now.
type unlistedError struct {
	path string
	err  error
}

func (e *unlistedError) Error() string {
	reason := e.err
	if of, ok := errors.AsType[*fs.PathError](e.err); ok {
		reason = of.Err // its path is the load path again
	}
	return fmt.Sprintf("load path %s: %v", printable(e.path), reason)
}

func (e *unlistedError) Unwrap() error { return e.err }

// readFrom is what a file said when it was last read.
type readFrom struct {
	id       fileID
	seen     time.Time
	sum      [sha256.Size]byte
	defaults *Defaults
	loadPath string
	child    *Child
	err      error
}

// scan is one look at the load paths, by whoever holds Catalogue.scan.
type scan struct {
	c        *Catalogue
	defaults *Defaults
	// listings has one for each directory, in the order of server.yml.
	listings []*listing
	// wanted limits byName to one name; "" means all.
	wanted string
	byName map[string][]located
	// haveRead: all files have been read.
	haveRead bool
}

// located is a file and the directory that it was listed in.
type located struct {
	path string
	in   *listing
}

// beginScan takes the load paths now in force. A directory that is named twice,
// in whatever spelling, is taken once: its files do not clash with themselves.
func (c *Catalogue) beginScan() *scan {
	c.mu.RLock()
	paths, defaults := c.paths, c.defaults
	c.mu.RUnlock()
	s := &scan{c: c, defaults: defaults}
	type inode struct{ dev, inode uint64 }
	seen, dirs := map[inode]bool{}, map[string]*listing{}
	for _, path := range paths {
		abs := absolute(path)
		if dirs[abs] != nil {
			continue
		}
		if id, err := statID(abs); err == nil {
			key := inode{id.dev, id.inode}
			if seen[key] {
				continue
			}
			seen[key] = true
		}
		l := c.dirs[abs]
		if l == nil {
			l = &listing{abs: abs, err: errors.New("not listed yet")}
		}
		l.spelled = path
		dirs[abs] = l
		s.listings = append(s.listings, l)
	}
	c.dirs = dirs
	return s
}

// index sorts the listed files by the name of their child.
func (s *scan) index() {
	s.byName = make(map[string][]located, 1)
	for _, l := range s.listings {
		for _, fileName := range l.namesOf(s.wanted) {
			name, _ := NameOf(fileName)
			if s.wanted == "" || s.wanted == name {
				s.byName[name] = append(s.byName[name], located{filepath.Join(l.spelled, fileName), l})
			}
		}
	}
}

// namesOf are the file names that can be of a child, of any if it is "".
func (l *listing) namesOf(child string) []string {
	if child == "" {
		return l.names
	}
	prefix := child + "."
	begin, _ := slices.BinarySearch(l.names, prefix)
	end := begin
	for end < len(l.names) && strings.HasPrefix(l.names[end], prefix) {
		end++
	}
	return l.names[begin:end]
}

// entry reads the files of a name, where they may have changed.
func (s *scan) entry(name string) Entry {
	known := s.c.Lookup(name)
	e := Entry{Name: name, Child: known.Child}
	places := s.byName[name]
	if len(places) == 1 && places[0].in.err == nil && !s.isRead(places[0]) {
		places = nil // deleted since it was listed
	}
	if s.stays(known, places) {
		return known
	}
	for _, p := range places {
		e.Files = append(e.Files, p.path)
	}
	switch {
	case len(places) == 0:
		e.Missing = true
	case len(places) > 1:
		e.Err = &AmbiguousError{Name: name, Files: slices.Clone(e.Files)}
	case places[0].in.err != nil:
		e.Err = &unlistedError{places[0].in.spelled, places[0].in.err}
	default:
		f := s.c.files[places[0].path]
		e.Err = f.err
		if f.err == nil {
			e.Child = f.child
		}
	}
	return e
}

// stays tells whether what is known of a name is what its one file says.
func (s *scan) stays(known Entry, places []located) bool {
	if len(places) != 1 || places[0].in.err != nil || known.Err != nil || known.Missing || len(known.Files) != 1 {
		return false
	}
	f := s.c.files[places[0].path]
	return f.err == nil && f.child == known.Child && known.Files[0] == places[0].path
}

// read brings c.files[p.path] up to date. It is false if the file is gone.
func (c *Catalogue) read(p located, defaults *Defaults) bool {
	f := look(c.files[p.path], p, defaults)
	if f == nil {
		delete(c.files, p.path)
		return false
	}
	c.files[p.path] = f
	return true
}

// look reads a file unless it is what it was at the time of f, nil for never. It
// returns nil if the file is gone.
func look(f *readFrom, p located, defaults *Defaults) *readFrom {
	path := absolute(p.path)
	if f != nil && f.loadPath == p.in.spelled && f.defaults.same(defaults) {
		f.defaults = defaults // the next comparison is of a pointer
		if id, err := statID(path); err == nil && id == f.id && !id.racy(f.seen) {
			return f
		}
	}
	seen := time.Now()
	data, id, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	sum := sha256.Sum256(data)
	fresh := &readFrom{id: id, seen: seen, sum: sum, defaults: defaults, loadPath: p.in.spelled}
	switch {
	case err != nil:
		fresh.err = err
	case f != nil && f.sum == sum && f.id != (fileID{}) && f.loadPath == p.in.spelled && f.defaults.same(defaults):
		fresh.child, fresh.err = f.child, f.err // touched, not changed
	default:
		fresh.child, fresh.err = ParseChild(p.in.spelled, p.path, data, defaults)
	}
	return fresh
}

// readAll reads the files of all names, on all processors: to parse thousands
// of them is most of a cold start.
func (s *scan) readAll() {
	var places []located
	for _, all := range s.byName {
		if len(all) == 1 && all[0].in.err == nil {
			places = append(places, all[0])
		}
	}
	looked := make([]*readFrom, len(places))
	var next atomic.Int64
	var readers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		readers.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(places); i = next.Add(1) - 1 {
				looked[i] = look(s.c.files[places[i].path], places[i], s.defaults)
			}
		})
	}
	readers.Wait()
	for i, p := range places {
		if looked[i] == nil {
			delete(s.c.files, p.path)
			continue
		}
		s.c.files[p.path] = looked[i]
	}
	s.haveRead = true
}

// isRead tells whether a file is there, after it was read if need be.
func (s *scan) isRead(p located) bool {
	if !s.haveRead {
		return s.c.read(p, s.defaults)
	}
	return s.c.files[p.path] != nil
}

// dropUnlisted forgets what files said that are no longer there.
func (c *Catalogue) dropUnlisted(s *scan) {
	listed := make(map[string]bool, len(c.files))
	for _, places := range s.byName {
		for _, p := range places {
			listed[p.path] = true
		}
	}
	maps.DeleteFunc(c.files, func(path string, _ *readFrom) bool { return !listed[path] })
}

// problems has one for each load path that cannot be read.
func (s *scan) problems() []Problem {
	var problems []Problem
	for _, l := range s.listings {
		if l.err != nil {
			err := unlistedError{l.spelled, l.err}
			problems = append(problems, Problem{Path: l.spelled, Message: err.Error()})
		}
	}
	return problems
}
