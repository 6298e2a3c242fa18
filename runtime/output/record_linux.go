package output

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// record is what is known of an output file besides its content. It is on disk
// from the first rotation on.
type record struct {
	Path  string `json:"path"`
	Owner *Owner `json:"owner,omitempty"`
	// Key and Born, its time of birth in nanoseconds, say which file is the live
	// one. The number of a device may change with a boot, that of an inode is
	// given again; the birth tells. It is 0 where the file system has none.
	Key  Key   `json:"key"`
	Born int64 `json:"born,omitempty"`
	// Base is the position of the live file's first byte, Head that of the first
	// byte that is in no archive. What lies between is to be freed, or was.
	Base uint64 `json:"base"`
	Head uint64 `json:"head"`
	// Seam is what was archived last, the bytes before Head: where the live file
	// has something else there, it is not what was archived.
	Seam []byte `json:"seam,omitempty"`
	// Freed is how many bytes at Base are surely a hole: where there is data, it was
	// written since. That may be untrue after a machine went down, so it holds in
	// this Boot only.
	Freed uint64 `json:"freed,omitempty"`
	Boot  string `json:"boot,omitempty"`
	// Collapsing is how many bytes at Base are being taken out of the live file;
	// after a crash it is open whether they were.
	Collapsing uint64 `json:"collapsing,omitempty"`
	// Making is the number of the archive that is being made: after a crash what
	// there is of it is removed. Next is the least number for another one.
	Making uint64 `json:"making,omitempty"`
	Next   uint64 `json:"next"`
	// LastCut is when the head was last cut off, Rotations how often it was.
	LastCut   time.Time `json:"last_cut,omitzero"`
	Rotations uint64    `json:"rotations"`
	// Archives are oldest first.
	Archives []archive `json:"archives,omitempty"`
}

// archive is a file that holds what was cut off.
type archive struct {
	Seq  uint64 `json:"seq"`
	Name string `json:"name"` // in the directory of the live file
	// Start and End are the positions of what it holds.
	Start uint64 `json:"start"`
	End   uint64 `json:"end"`
	// Size is that of the file, in bytes.
	Size uint64    `json:"size"`
	At   time.Time `json:"at"`
	// Part: there was no room for more, and the next archive has the rest. With
	// that it counts as one.
	Part bool `json:"part,omitempty"`
}

// clone is a copy that shares nothing with r.
func (r record) clone() record {
	r.Archives = slices.Clone(r.Archives)
	return r
}

// notAfter has no time lie ahead of now, as those of a clock do that was wrong:
// every and max_age would wait until then.
func (r *record) notAfter(now time.Time) {
	if r.LastCut.After(now) {
		r.LastCut = now
	}
	for i, a := range r.Archives {
		if a.At.After(now) {
			r.Archives[i].At = now
		}
	}
}

// oldest is the position of the first byte that can still be read.
func (r *record) oldest() uint64 {
	if len(r.Archives) > 0 {
		return r.Archives[0].Start
	}
	return r.Head
}

// parseRecord reads what json.Marshal wrote of a record, and refuses what
// cannot be one.
func parseRecord(text []byte) (record, error) {
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		return record{}, err
	}
	switch {
	case !filepath.IsAbs(r.Path):
		return record{}, fmt.Errorf("the path %q is not absolute", r.Path)
	case r.Base > r.Head:
		return record{}, fmt.Errorf("the head %d lies before the base %d", r.Head, r.Base)
	case r.Freed > r.Head-r.Base:
		return record{}, fmt.Errorf("%d bytes are freed of %d before the head", r.Freed, r.Head-r.Base)
	case r.Next == 0:
		return record{}, errors.New("there is no number for the next archive")
	}
	end := uint64(0)
	for _, a := range r.Archives {
		switch seq, ok := archiveSeq(a.Name); {
		case strings.Contains(a.Name, "/"), !ok, seq != a.Seq:
			return record{}, fmt.Errorf("%q is no name for archive %d", a.Name, a.Seq)
		case a.Seq >= r.Next:
			return record{}, fmt.Errorf("archive %d is not before the next, %d", a.Seq, r.Next)
		case a.Start < end || a.Start >= a.End || a.End > r.Head:
			return record{}, fmt.Errorf("archive %d is of the positions %d to %d", a.Seq, a.Start, a.End)
		}
		end = a.End
	}
	return r, nil
}

// recordDir is the directory of the records. It is the server's own. Empty means
// that there are none.
type recordDir string

var errNoRecords = errors.New("the server has no state directory")

// recordEnding ends the names of records, damagedEnding those of files that
// should have been one.
const (
	recordEnding  = ".json"
	damagedEnding = ".damaged"
)

// stem is the beginning of the names of what is kept on the file at path.
func (d recordDir) stem(path string) string {
	sum := sha256.Sum256([]byte(path))
	return filepath.Join(string(d), hex.EncodeToString(sum[:])[:16])
}

// load returns the record of the file at path, nil where there is none. A file
// that is no record is set aside, so that it is an error only once.
func (d recordDir) load(path string) (*record, error) {
	if d == "" {
		return nil, nil
	}
	name := d.stem(path) + recordEnding
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := parseRecord(text)
	if err == nil && r.Path != path {
		err = fmt.Errorf("it is of %s", r.Path)
	}
	if err != nil {
		aside := d.stem(path) + damagedEnding
		return nil, errors.Join(fmt.Errorf("%s is damaged and now called %s: %w", name, aside, err), os.Rename(name, aside))
	}
	return &r, nil
}

// all returns the records that can be read. The errors of the others are
// joined; they may come with records.
func (d recordDir) all() ([]record, error) {
	if d == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, err
	}
	var records []record
	var errs []error
	for _, e := range entries {
		if filepath.Ext(e.Name()) != recordEnding {
			continue
		}
		name := filepath.Join(string(d), e.Name())
		text, err := os.ReadFile(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		r, err := parseRecord(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			continue
		}
		records = append(records, r)
	}
	return records, errors.Join(errs...)
}

// save writes a record. Once it has returned nil the record outlives a power
// cut. After an error there is the former record, unless maybe is true: then it
// may be either.
func (d recordDir) save(r *record) (maybe bool, err error) {
	if d == "" {
		return false, errNoRecords
	}
	text, err := json.Marshal(r)
	if err != nil {
		return false, err
	}
	name := d.stem(r.Path) + recordEnding
	tmp := name + ".new"
	err = writeSynced(tmp, append(text, '\n'))
	if err == nil {
		err = os.Rename(tmp, name)
	}
	if err != nil {
		return false, errors.Join(err, removeIfThere(tmp))
	}
	return true, syncDir(string(d))
}

func removeIfThere(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func writeSynced(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
