package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"kita/failpoint"
)

// factsVersion is that of the files, one for each child, that versions before
// the table wrote.
const factsVersion = 1

var errFactsVersion = fmt.Errorf("this kita reads %d and %d", factsVersion, tableFormat)

// Facts is what was last seen of a child.
type Facts struct {
	// Boot is the boot they were seen in. SaveFacts fills it in when empty.
	Boot string
	// Data is the reconciler's own; any JSON.
	Data json.RawMessage
}

// Appender is what can write itself as JSON on one line behind b.
type Appender interface {
	AppendJSON(b []byte) ([]byte, error)
}

// factsRecord is the one line of the file of one child.
type factsRecord struct {
	Version int `json:"version"`
	// Name is escaped, since a child's name need not be valid UTF-8.
	Name string          `json:"name"`
	Boot string          `json:"boot"`
	Data json.RawMessage `json:"data"`
}

// tempPrefix marks a file that is being written; escape never begins with it.
const tempPrefix = ".tmp-"

// Facts returns the facts of this boot. What is broken or of another boot is
// left out, removed, and reported one error each.
func (s *Store) Facts() (map[string]Facts, []error) {
	s.factsMu.Lock()
	defer s.factsMu.Unlock()
	table, errs := s.loadTable()
	facts := make(map[string]Facts, len(table))
	for name, data := range table {
		facts[name] = Facts{Boot: s.bootID, Data: data}
	}
	return facts, append(errs, s.adoptFiles(facts)...)
}

// loadTable reads the table. factsMu is held.
func (s *Store) loadTable() (map[string][]byte, []error) {
	facts, torn, err := s.table.load()
	s.loaded = true
	switch {
	case err != nil:
		return nil, []error{fmt.Errorf("facts in %s are not used: %w", s.table.path(), err)}
	case torn > 0:
		return facts, []error{fmt.Errorf("facts in %s were not written to the end, %d times: those before them are used", s.table.path(), torn)}
	}
	if s.table.wasteful() {
		s.table.worn = true
	}
	return facts, nil
}

// ensureLoaded is for a caller that does not care what was saved. factsMu is
// held.
func (s *Store) ensureLoaded() {
	if s.loaded {
		return
	}
	if _, errs := s.loadTable(); errs != nil {
		s.log.Warn("saved facts", "problem", errors.Join(errs...))
	}
}

// adoptFiles takes over the files of single children that an older version
// wrote. Each stays for as long as it says what the table does: the older version
// may come back, and reads nothing else. factsMu is held.
func (s *Store) adoptFiles(facts map[string]Facts) []error {
	entries, err := os.ReadDir(s.childrenDir())
	if err != nil {
		return []error{fmt.Errorf("read facts: %w", err)}
	}
	var errs []error
	for _, e := range entries {
		path := filepath.Join(s.childrenDir(), e.Name())
		if e.Name() == tableName {
			continue
		}
		if strings.HasPrefix(e.Name(), tempPrefix) {
			// A crash came between its creation and its rename.
			errs = appendErr(errs, os.Remove(path))
			continue
		}
		if name, ok := unescape(e.Name()); ok && s.table.holds(name) && fileName(name) == e.Name() {
			s.oldFiles[name] = false
			continue
		}
		name, f, err := s.readFacts(path)
		if err != nil {
			errs = append(errs, fmt.Errorf("facts in %s are not used: %w", path, errors.Join(err, os.Remove(path))))
			continue
		}
		s.oldFiles[name] = false
		if !s.table.holds(name) {
			facts[name] = f
			_, err := s.table.put(name, factsLine(name, f.Data))
			errs = appendErr(errs, err)
		}
	}
	return errs
}

// readFacts reads the file of a single child.
func (s *Store) readFacts(path string) (name string, f Facts, err error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", f, err
	}
	line, whole := bytes.CutSuffix(content, []byte{'\n'})
	if !whole {
		return "", f, errors.New("not written to the end")
	}
	var r factsRecord
	if err := decodeLine(line, &r); err != nil {
		return "", f, err
	}
	name, ok := unescape(r.Name)
	switch {
	case r.Version != factsVersion:
		return "", f, fmt.Errorf("version %d, %w", r.Version, errFactsVersion)
	case !ok || fileName(name) != filepath.Base(path):
		return "", f, fmt.Errorf("they are of another child, %q", r.Name)
	case r.Boot != s.bootID:
		return "", f, errors.New("they are of another boot")
	}
	return name, Facts{Boot: r.Boot, Data: r.Data}, nil
}

// SaveFacts replaces the facts of a child. The next server sees the old or the
// new ones, also when it fails; a crash of the machine may lose both, with the
// boot they are of. Facts that are saved already are not written.
func (s *Store) SaveFacts(name string, f Facts) error {
	if f.Boot != "" && f.Boot != s.bootID {
		return fmt.Errorf("save facts of %s: they are of another boot, %s", name, f.Boot)
	}
	var line bytes.Buffer
	if err := json.Compact(&line, f.Data); err != nil {
		return fmt.Errorf("save facts of %s: %w", name, err)
	}
	return s.SaveState(name, appended(line.Bytes()))
}

// appended is an Appender of what is JSON already.
type appended []byte

func (a appended) AppendJSON(b []byte) ([]byte, error) { return append(b, a...), nil }

// SaveState is SaveFacts of what state writes, which must be one line.
func (s *Store) SaveState(name string, state Appender) error {
	buffer := lines.Get().(*[]byte)
	defer lines.Put(buffer)
	line, err := state.AppendJSON(newLine((*buffer)[:0], name))
	if err == nil {
		line = append(line, '\n')
		*buffer = line
		s.factsMu.Lock()
		err = s.putLine(name, line)
		s.factsMu.Unlock()
		s.setErr(&s.factsErr, err, "facts")
	}
	if err != nil {
		return fmt.Errorf("save facts of %s: %w", name, err)
	}
	return nil
}

// lines has room for lines of the table.
var lines = sync.Pool{New: func() any { return new([]byte) }}

// newLine begins a line of the table.
func newLine(b []byte, name string) []byte {
	b = append(b, make([]byte, headLen)...)
	b = append(b, strings.ReplaceAll(escape(name), " ", "%20")...)
	return append(b, ' ')
}

// factsLine is a line of the table, of facts that are JSON on one line.
func factsLine(name string, data []byte) []byte {
	return append(append(newLine(nil, name), data...), '\n')
}

// putLine saves a line of the table. factsMu is held.
func (s *Store) putLine(name string, line []byte) error {
	s.ensureLoaded()
	changed, err := s.table.put(name, line)
	if old, there := s.oldFiles[name]; there {
		s.oldFiles[name] = old || changed
	}
	if s.oldFiles[name] {
		err = errors.Join(err, s.removeFile(name))
	}
	return err
}

// RemoveFacts removes the facts of a child; that there are none is no error.
func (s *Store) RemoveFacts(name string) error {
	s.factsMu.Lock()
	defer s.factsMu.Unlock()
	s.ensureLoaded()
	// The table goes last, as its word counts where both are there.
	err := s.removeFile(name)
	if err == nil {
		err = s.table.remove(name)
	}
	if err != nil {
		return fmt.Errorf("remove facts of %s: %w", name, err)
	}
	return nil
}

// removeFile removes the file of a single child, if there is one. factsMu is
// held.
func (s *Store) removeFile(name string) error {
	if _, there := s.oldFiles[name]; !there {
		return nil
	}
	path := filepath.Join(s.childrenDir(), fileName(name))
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	delete(s.oldFiles, name)
	return nil
}

// Rest says that nothing will be saved for a while. It closes what is open for
// writing among the facts, so that their file system can be made read-only.
func (s *Store) Rest() {
	s.factsMu.Lock()
	defer s.factsMu.Unlock()
	s.table.rest()
}

// replaceFile puts content in the place of path.
func replaceFile(path string, content []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, tempPrefix)
	if errors.Is(err, os.ErrNotExist) {
		// Somebody tidied the run directory up. What is known now is worth
		// more than a complaint.
		if err = os.MkdirAll(dir, 0o700); err == nil {
			f, err = os.CreateTemp(dir, tempPrefix)
		}
	}
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Close())
	if err == nil {
		failpoint.Hit(failpoint.Rename)
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func appendErr(errs []error, err error) []error {
	if err != nil {
		return append(errs, err)
	}
	return errs
}

// maxFileName leaves room below NAME_MAX, 255.
const maxFileName = 220

// fileName maps a child's name to that of its file: readable where it can be,
// a digest where it would be too long. Two names never share one, since what
// escape returns does not begin with the digest's mark.
func fileName(name string) string {
	escaped := escape(name)
	if len(escaped) <= maxFileName {
		return escaped
	}
	sum := sha256.Sum256([]byte(name))
	return "~" + hex.EncodeToString(sum[:])
}

// escape writes what a directory entry cannot hold, or a terminal should not
// show, as %XX. It is reversible.
func escape(name string) string {
	if name == "" {
		return "%"
	}
	var b strings.Builder
	for i, size := 0, 0; i < len(name); i += size {
		var r rune
		r, size = utf8.DecodeRuneInString(name[i:])
		invalid := r == utf8.RuneError && size == 1
		special := r == '/' || r == '%' || i == 0 && (r == '.' || r == '~')
		if !invalid && !special && unicode.IsPrint(r) {
			b.WriteString(name[i : i+size])
			continue
		}
		for _, c := range []byte(name[i : i+size]) {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// unescape is the reverse of escape.
func unescape(text string) (string, bool) {
	if text == "%" {
		return "", true
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			b.WriteByte(text[i])
			continue
		}
		if i+3 > len(text) {
			return "", false
		}
		c, err := hex.DecodeString(text[i+1 : i+3])
		if err != nil {
			return "", false
		}
		b.WriteByte(c[0])
		i += 2
	}
	return b.String(), true
}
