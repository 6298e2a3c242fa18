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

// factsVersion is that of the envelope around Facts.Data.
const factsVersion = 1

var errFactsVersion = fmt.Errorf("this kita reads %d", factsVersion)

// Facts is what was last seen of a child.
type Facts struct {
	// Boot is the boot they were seen in. SaveFacts fills it in when empty.
	Boot string
	// Data is the reconciler's own; any JSON.
	Data json.RawMessage
}

// factsRecord is the one line of a facts file.
type factsRecord struct {
	Version int `json:"version"`
	// Name is escaped, since a child's name need not be valid UTF-8.
	Name string          `json:"name"`
	Boot string          `json:"boot"`
	Data json.RawMessage `json:"data"`
}

// factsFile serialises the writes of one child's file.
type factsFile struct {
	mu   sync.Mutex
	last [sha256.Size]byte // mu: of the content of the file; zero when unknown
}

// tempPrefix marks a file that is being written; escape never begins with it.
const tempPrefix = ".tmp-"

// Facts returns the facts of this boot. Files that are broken or of another
// boot are left out, removed, and reported one error each.
func (s *Store) Facts() (map[string]Facts, []error) {
	entries, err := os.ReadDir(s.childrenDir())
	if err != nil {
		return nil, []error{fmt.Errorf("read facts: %w", err)}
	}
	facts := map[string]Facts{}
	var errs []error
	for _, e := range entries {
		path := filepath.Join(s.childrenDir(), e.Name())
		if strings.HasPrefix(e.Name(), tempPrefix) {
			// A crash came between its creation and its rename.
			errs = appendErr(errs, os.Remove(path))
			continue
		}
		name, f, err := s.readFacts(path)
		if err != nil {
			errs = append(errs, fmt.Errorf("facts in %s are not used: %w", path, errors.Join(err, os.Remove(path))))
			continue
		}
		facts[name] = f
	}
	return facts, errs
}

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
	file := s.factsFile(name)
	file.mu.Lock()
	file.last = sha256.Sum256(content)
	file.mu.Unlock()
	return name, Facts{Boot: r.Boot, Data: r.Data}, nil
}

// SaveFacts replaces the facts of a child. A reader sees the old or the new
// ones, also when it fails; a crash of the machine may lose both, with the boot
// they are of. Facts that the file has already are not written.
func (s *Store) SaveFacts(name string, f Facts) error {
	if f.Boot == "" {
		f.Boot = s.bootID
	}
	if f.Boot != s.bootID {
		return fmt.Errorf("save facts of %s: they are of another boot, %s", name, f.Boot)
	}
	line, err := encodeLine(factsRecord{Version: factsVersion, Name: escape(name), Boot: f.Boot, Data: f.Data})
	if err != nil {
		return fmt.Errorf("save facts of %s: %w", name, err)
	}
	file := s.factsFile(name)
	file.mu.Lock()
	defer file.mu.Unlock()
	sum := sha256.Sum256(line)
	if file.last == sum {
		return nil
	}
	err = replaceFile(filepath.Join(s.childrenDir(), fileName(name)), line)
	s.setErr(&s.factsErr, err, "facts")
	if err != nil {
		return fmt.Errorf("save facts of %s: %w", name, err)
	}
	file.last = sum
	return nil
}

// RemoveFacts removes the facts of a child; that there are none is no error.
func (s *Store) RemoveFacts(name string) error {
	file := s.factsFile(name)
	file.mu.Lock()
	defer file.mu.Unlock()
	if err := os.Remove(filepath.Join(s.childrenDir(), fileName(name))); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove facts of %s: %w", name, err)
	}
	file.last = [sha256.Size]byte{}
	s.mu.Lock()
	delete(s.facts, name)
	s.mu.Unlock()
	return nil
}

func (s *Store) factsFile(name string) *factsFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	file := s.facts[name]
	if file == nil {
		file = &factsFile{}
		s.facts[name] = file
	}
	return file
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
