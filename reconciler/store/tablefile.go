package store

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// tableHead is the first line of a table.
type tableHead struct {
	Format int    `json:"format"`
	Boot   string `json:"boot"`
}

// load reads the file and returns the facts in force. torn is the number of
// lines that a killed writer may have left unfinished.
func (t *table) load() (facts map[string][]byte, torn int, err error) {
	t.close()
	*t = table{dir: t.dir, boot: t.boot, wrap: t.wrap, slots: map[string]pair{}, free: map[uint16][]uint32{}, end: 1}
	f, err := os.Open(t.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	content, err := readAll(f)
	if err == nil {
		err = t.checkHead(content)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	t.file, t.id = f, idOf(f)
	facts, torn = t.index(content)
	return facts, torn, nil
}

// readAll reads a file that nobody writes meanwhile.
func readAll(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	content := make([]byte, info.Size())
	_, err = io.ReadFull(f, content)
	return content, err
}

func (t *table) checkHead(content []byte) error {
	line, _, _ := bytes.Cut(content[:min(len(content), unit)], []byte{'\n'})
	var head tableHead
	if err := decodeLine(line, &head); err != nil {
		return err
	}
	switch {
	case head.Format != tableFormat:
		return fmt.Errorf("format %d, %w", head.Format, errFactsVersion)
	case head.Boot != t.boot:
		return errors.New("they are of another boot")
	}
	return nil
}

// index takes note of every slot.
func (t *table) index(content []byte) (facts map[string][]byte, torn int) {
	lines := map[string][]found{}
	units := len(content) / unit
	broken := false
	for at := 1; at < units; {
		f, state := readSlot(content[at*unit:])
		if f.units == 0 {
			// Not the beginning of a slot. It was to be the last one, and its
			// writer was killed before the file was that long.
			if !broken {
				torn++
			}
			broken = true
			at++
			continue
		}
		// That was not the last one after all.
		t.worn = t.worn || broken
		f.at = uint32(at)
		switch state {
		case slotWhole:
			t.seq = max(t.seq, f.seq)
			lines[f.name] = append(lines[f.name], f)
		case slotTorn:
			torn++
			fallthrough
		case slotFree:
			t.free[f.units] = append(t.free[f.units], f.at)
		}
		at += int(f.units)
		t.end = uint32(at)
	}
	t.overlong = len(content) > int(t.end)*unit
	facts = make(map[string][]byte, len(lines))
	for name, all := range lines {
		slices.SortFunc(all, func(a, b found) int { return cmp.Compare(b.seq, a.seq) })
		p := pair{now: all[0].slot, size: uint32(len(all[0].data)), sum: crc32.Checksum(all[0].data, castagnoli)}
		if len(all) > 1 {
			p.next = all[1].slot
		}
		for _, f := range all[min(2, len(all)):] {
			t.stale = append(t.stale, f.slot) // killed before it could free them
		}
		t.slots[name], facts[name] = p, all[0].data
	}
	return facts, torn
}

// ready opens the file for writing and puts it right, or replaces it where that
// cannot be done or would be for nothing.
func (t *table) ready() error {
	if t.gone() {
		return t.replace()
	}
	if t.worn {
		// Once: where there is no room for another file this one will do.
		t.worn = false
		if err := t.replace(); err == nil || t.gone() {
			return err
		}
	}
	if t.out == nil {
		out, err := t.openOutput()
		if errors.Is(err, fs.ErrNotExist) {
			return t.replace()
		}
		if err != nil {
			return err
		}
		t.out = out
	}
	if t.mend() != nil {
		return t.replace()
	}
	return nil
}

func (t *table) openOutput() (output, error) {
	f, err := os.OpenFile(t.path(), os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	if t.wrap != nil {
		return t.wrap(f), nil
	}
	return f, nil
}

// mend cuts off what is behind the last slot, and marks as free what nobody has.
// Neither needs room.
func (t *table) mend() error {
	if t.overlong {
		if err := t.out.Truncate(int64(t.end) * unit); err != nil {
			return err
		}
		t.overlong = false
	}
	for i, s := range t.stale {
		if s.units == 0 {
			continue
		}
		if _, err := t.out.WriteAt(freeLine(s.units), int64(s.at)*unit); err != nil {
			t.stale = slices.Delete(t.stale, 0, i)
			return err
		}
		t.free[s.units] = append(t.free[s.units], s.at)
	}
	t.stale = t.stale[:0]
	return nil
}

// fileID tells a file from every other that is there at the same time.
type fileID struct{ dev, ino uint64 }

// idOf is that of an open file; none where it cannot be told.
func idOf(f *os.File) fileID {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return fileID{}
	}
	return fileID{uint64(st.Dev), st.Ino}
}

// gone tells whether the file that is open is not the one that the next server
// will read: somebody removed it, or put another in its place. What is known now
// is worth more than a complaint.
func (t *table) gone() bool {
	var st unix.Stat_t
	if t.file == nil || unix.Fstat(int(t.file.Fd()), &st) != nil || st.Nlink == 0 {
		return true
	}
	if t.out != nil && st.Ctim == st.Mtim {
		// Nothing but writes was done to it: that is quicker than to ask by the path.
		return false
	}
	return t.isElsewhere()
}

// isElsewhere is gone, asked by the path: a directory that was moved away took a
// file along that is as it was.
func (t *table) isElsewhere() bool {
	var st unix.Stat_t
	return unix.Stat(t.path(), &st) != nil || fileID{uint64(st.Dev), st.Ino} != t.id
}

// replace makes a new file of what is in force.
func (t *table) replace() error {
	if err := os.MkdirAll(t.dir, 0o700); err != nil {
		return err
	}
	fresh := &table{dir: t.dir, boot: t.boot, wrap: t.wrap, slots: map[string]pair{}, free: map[uint16][]uint32{}, end: 1, seq: t.seq}
	head, err := encodeLine(tableHead{Format: tableFormat, Boot: t.boot})
	if err != nil {
		return err
	}
	content := append(head, make([]byte, unit-len(head))...)
	for _, name := range slices.Sorted(maps.Keys(t.slots)) {
		p := t.slots[name]
		line := make([]byte, int(p.now.units)*unit)
		if _, err := t.file.ReadAt(line, int64(p.now.at)*unit); err != nil {
			return err
		}
		content = append(content, line...)
		p.now.at, p.next = fresh.end, slot{}
		fresh.slots[name], fresh.end = p, fresh.end+uint32(p.now.units)
	}
	if err := replaceFile(t.path(), content); err != nil {
		return err
	}
	// Until both are open the old file stays, and is found to be gone.
	if fresh.file, err = os.Open(t.path()); err != nil {
		return err
	}
	fresh.id = idOf(fresh.file)
	if fresh.out, err = fresh.openOutput(); err != nil {
		return errors.Join(err, fresh.file.Close())
	}
	t.close()
	*t = *fresh
	return nil
}

// wasteful tells whether most of the file is of children that are gone.
func (t *table) wasteful() bool {
	const small = 4096 // units, 1 MiB
	inUse := uint32(0)
	for _, p := range t.slots {
		inUse += uint32(p.now.units) + uint32(p.next.units)
	}
	return t.end > small && t.end > 4*inUse
}

// rest closes the file for writing, so that its file system can be made
// read-only.
func (t *table) rest() {
	if t.out != nil {
		t.out.Close()
		t.out = nil
	}
}

func (t *table) close() {
	t.rest()
	if t.file != nil {
		t.file.Close()
		t.file = nil
	}
}
