package exitlog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Reader finds ends. It may be used concurrently, and beside a Writer.
type Reader struct {
	dir string

	mu sync.Mutex // owns the fields below
	// at is how far the current file has been read.
	at position
	// current has the ends in the current file, former those in the one
	// before: what is not on disk any more is not remembered either.
	current, former map[who]Record
}

// position is a place in one file, whatever its name is by now.
type position struct {
	// head is how the file begins, by which it is known again. No two files
	// begin alike, as no two ends have the same process and time. Empty: no
	// line of the file has been read.
	head string
	next int64
}

// who is the process of a record.
type who struct {
	pid   int
	start uint64
	boot  string
}

// headLength reaches into the first record's process, its checksum included.
const headLength = 64

// OpenReader returns a reader of the file in dir, which need not exist yet. It
// holds nothing open between calls.
func OpenReader(dir string) *Reader {
	return &Reader{dir: dir, current: map[who]Record{}, former: map[who]Record{}}
}

// All returns every end on disk, in the order of writing; exits.1 comes first.
// Damaged lines are passed over.
func (r *Reader) All() ([]Record, error) {
	former, current, _, err := r.scan()
	return append(former, current...), err
}

// Find returns the end of the process with that number, start and boot, if it
// is on disk. It reads only what was appended since the last call. A file that
// cannot be read is as good as one without that end.
func (r *Reader) Find(pid int, startTicks uint64, boot string) (Record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := who{pid, startTicks, boot}
	if rec, ok := r.known(key); ok {
		return rec, true
	}
	if err := r.refresh(); err != nil {
		return Record{}, false
	}
	return r.known(key)
}

func (r *Reader) known(key who) (Record, bool) {
	rec, ok := r.current[key]
	if !ok {
		rec, ok = r.former[key]
	}
	return rec, ok
}

// refresh reads on. mu is held.
func (r *Reader) refresh() error {
	at, err := r.read(Name, r.at, func(rec Record) { r.current[rec.who()] = rec })
	if err == nil && r.at.head != "" {
		r.at = at
		return nil
	}
	if err != nil && !errors.Is(err, errOther) {
		return err
	}
	// Nothing was read yet, or the file was renamed.
	former, current, at, err := r.scan()
	if err != nil {
		return err
	}
	r.former, r.current, r.at = index(former), index(current), at
	return nil
}

func index(records []Record) map[who]Record {
	m := make(map[who]Record, len(records))
	for _, rec := range records {
		m[rec.who()] = rec
	}
	return m
}

func (r Record) who() who { return who{r.PID, r.StartTicks, r.Boot} }

// scan reads both files, and says how far the current one.
func (r *Reader) scan() (former, current []Record, at position, err error) {
	for {
		former, current = nil, nil
		old, err := r.read(oldName, position{}, func(rec Record) { former = append(former, rec) })
		if err != nil {
			return nil, nil, at, err
		}
		at, err = r.read(Name, position{}, func(rec Record) { current = append(current, rec) })
		if err != nil {
			return nil, nil, at, err
		}
		// What was renamed between the two was not read: once more. It takes
		// many thousand ends until that can happen again.
		now, err := r.read(oldName, old, func(Record) {})
		if err == nil && now == old {
			return former, current, at, nil
		}
		if err != nil && !errors.Is(err, errOther) {
			return nil, nil, at, err
		}
	}
}

// errOther: this is not the file that a position is in.
var errOther = errors.New("another file")

// read calls found with the records of the file called name from at on, and
// returns where it ended. A missing file is an empty one.
func (r *Reader) read(name string, at position, found func(Record)) (position, error) {
	data, at, err := r.readFrom(name, at)
	if err != nil {
		return at, err
	}
	n := decodeAll(data, found)
	if at.head == "" && n > 0 {
		at.head = string(data[:min(n, headLength)])
	}
	at.next += int64(n)
	return at, nil
}

func (r *Reader) readFrom(name string, at position) ([]byte, position, error) {
	f, err := os.Open(filepath.Join(r.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		if at.head != "" {
			return nil, at, errOther
		}
		return nil, at, nil
	}
	if err != nil {
		return nil, at, fmt.Errorf("read the log of ends: %w", err)
	}
	defer f.Close()
	head := make([]byte, len(at.head))
	if n, err := f.ReadAt(head, 0); err != nil && err != io.EOF {
		return nil, at, fmt.Errorf("read the log of ends: %w", err)
	} else if string(head[:n]) != at.head {
		return nil, at, errOther
	}
	if _, err := f.Seek(at.next, io.SeekStart); err != nil {
		return nil, at, fmt.Errorf("read the log of ends: %w", err)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, at, fmt.Errorf("read the log of ends: %w", err)
	}
	return data, at, nil
}
