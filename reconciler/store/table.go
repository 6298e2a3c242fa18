package store

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"kita/failpoint"
)

const (
	// tableName is the file of all facts. No child's file was ever called so:
	// what escape returns does not begin with this mark.
	tableName = "~facts"
	// tableFormat is the version in the table's first line.
	tableFormat = 2
	// unit is what the sizes and places of slots are multiples of. It divides
	// the page size, so that the head of a slot never lies on two pages.
	unit = 256
	// minUnits is the size of a new slot, which most facts do not outgrow: 1,536
	// bytes. maxUnits is that of the largest, 16 MiB.
	minUnits = 6
	maxUnits = 1<<16 - 1
	// headLen is the length of a slot's line before the name of the child.
	headLen = len("cccccccc ssss qqqqqqqqqqqqqqqq ")
)

// table is the file of all facts of a boot. It has a head, then slots:
//
//	a1b2c3d4 {"format":2,"boot":"8d6c…"}
//	5e6f7a8b 0003 000000000000002a web {"incarnation":7,…}
//	…
//
// The line of a slot is a CRC-32C of what follows it, the slot's size in units,
// a number that grows with every write, the child and its facts. What stands
// behind the line is of an earlier one.
//
// A child has up to two slots, and is written over the older. So there is
// nothing to be made, renamed or freed for a write, and a writer that is
// killed in its midst has not touched what was in force. Of two whole lines of
// a child the later counts. A slot that is free has a line that is not whole.
//
// A table belongs to whoever holds Store.factsMu.
type table struct {
	dir, boot string
	// file is open for reading, nil while there is no table; out for writing,
	// nil until something is written and after rest.
	file, out *os.File
	slots     map[string]pair
	free      map[uint16][]uint32 // by size: where
	end       uint32              // of the last slot, in units
	seq       uint64              // of the latest write
	// worn: the file has what the fields above do not tell of. It is
	// replaced before anything else is written.
	worn bool
}

// slot is a place in the table, in units. One without units is none.
type slot struct {
	at    uint32
	units uint16
}

// pair is the place of one child: now is in force, and next is written to.
type pair struct {
	now, next slot
	// size and sum are those of the facts in now.
	size, sum uint32
}

func (t *table) path() string { return filepath.Join(t.dir, tableName) }

// tableHead is the first line of a table.
type tableHead struct {
	Format int    `json:"format"`
	Boot   string `json:"boot"`
}

// found is one whole line of a table.
type found struct {
	slot
	seq  uint64
	name string
	data []byte
}

// load reads the file and returns the facts in force. torn is the number of
// lines that a killed writer may have left unfinished.
func (t *table) load() (facts map[string][]byte, torn int, err error) {
	t.close()
	t.slots, t.free, t.end, t.seq, t.worn = map[string]pair{}, map[uint16][]uint32{}, 1, 0, true
	f, err := os.Open(t.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	content, err := os.ReadFile(t.path())
	if err == nil {
		err = t.checkHead(content)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	t.file, t.worn = f, false
	facts, torn = t.index(content)
	return facts, torn, nil
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
	for at := 1; at < units; {
		f, state := readSlot(content[at*unit:])
		if f.units == 0 {
			// Not the beginning of a slot. It was to be the last one, and its
			// writer was killed before the file was that long.
			if !t.worn {
				torn++
			}
			t.worn = true
			at++
			continue
		}
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
	facts = make(map[string][]byte, len(lines))
	for name, all := range lines {
		slices.SortFunc(all, func(a, b found) int { return cmp.Compare(b.seq, a.seq) })
		p := pair{now: all[0].slot, size: uint32(len(all[0].data)), sum: crc32.Checksum(all[0].data, castagnoli)}
		if len(all) > 1 {
			p.next = all[1].slot
		}
		if len(all) > 2 {
			t.worn = true // killed before it could free the others
		}
		t.slots[name], facts[name] = p, all[0].data
	}
	return facts, torn
}

// put makes a line, as newLine and finishLine make it, that of a child.
func (t *table) put(name string, line []byte) error {
	begin := headLen + bytes.IndexByte(line[headLen:], ' ') + 1
	data := line[begin : len(line)-1]
	sum := crc32.Checksum(data, castagnoli)
	p := t.slots[name]
	if p.now.units > 0 && p.size == uint32(len(data)) && p.sum == sum && t.has(p.now, begin, data) {
		return nil
	}
	if err := t.ready(); err != nil {
		return err
	}
	p = t.slots[name] // where it is since the file was replaced
	need := (len(line) + unit - 1) / unit
	if need > maxUnits {
		return fmt.Errorf("%d bytes are too many", len(line))
	}
	to, tooSmall := p.next, slot{}
	if int(to.units) < need {
		to, tooSmall = t.allocate(uint16(need)), p.next
	}
	t.seq++
	if err := t.write(to, line, t.seq); err != nil {
		switch {
		case to.at == t.end:
			// Gives back what found a place on a full disk.
			t.worn = t.out.Truncate(int64(t.end)*unit) != nil
		case to != p.next: // and so of those that were free
			t.free[to.units] = append(t.free[to.units], to.at)
		}
		return err
	}
	t.end = max(t.end, to.at+uint32(to.units))
	next, outgrown := p.now, slot{}
	if next.units < to.units {
		// Both at once, so that the next write needs no room.
		if s := t.reserve(to.units); s.units > 0 {
			next, outgrown = s, p.now
		}
	}
	t.slots[name] = pair{now: to, next: next, size: uint32(len(data)), sum: sum}
	return errors.Join(t.release(tooSmall), t.release(outgrown))
}

// reserve finds a place for a later write, or none where there is no room.
func (t *table) reserve(units uint16) slot {
	s := t.allocate(units)
	if s.at < t.end {
		return s
	}
	s.units = units
	mark := append(freeLine(units), make([]byte, int(units)*unit)...)
	if _, err := t.out.WriteAt(mark[:int(units)*unit], int64(s.at)*unit); err != nil {
		t.worn = t.out.Truncate(int64(t.end)*unit) != nil
		return slot{}
	}
	t.end = s.at + uint32(units)
	return s
}

// has tells whether the line in s has data.
func (t *table) has(s slot, begin int, data []byte) bool {
	if t.file == nil || t.worn || t.gone(t.file) {
		return false
	}
	line := make([]byte, len(data)+1)
	_, err := t.file.ReadAt(line, int64(s.at)*unit+int64(begin))
	return err == nil && bytes.Equal(line[:len(data)], data) && line[len(data)] == '\n'
}

// allocate finds a place of at least need units, with room to grow. One that is
// new is no part of the table until end says so.
func (t *table) allocate(need uint16) slot {
	units := uint16(min(max(int(need)+int(need)/2, minUnits), maxUnits))
	for size := need; size <= units; size++ {
		if all := t.free[size]; len(all) > 0 {
			t.free[size] = all[:len(all)-1]
			return slot{at: all[len(all)-1], units: size}
		}
	}
	return slot{at: t.end, units: units}
}

// write puts a line into a slot, with its head completed.
func (t *table) write(to slot, line []byte, seq uint64) error {
	putHead(line, to.units, seq)
	if to.at == t.end {
		// The whole slot, so that what comes after it can be found.
		line = append(line, make([]byte, int(to.units)*unit-len(line))...)
	}
	at := int64(to.at) * unit
	if failpoint.Enabled {
		half := len(line) / 2
		if _, err := t.out.WriteAt(line[:half], at); err != nil {
			return err
		}
		failpoint.Hit(failpoint.Rename)
		line, at = line[half:], at+int64(half)
	}
	_, err := t.out.WriteAt(line, at)
	return err
}

// remove takes a child out. The older slot goes first: what is in force must
// not be what it says.
func (t *table) remove(name string) error {
	p, ok := t.slots[name]
	if !ok {
		return nil
	}
	if err := t.ready(); err != nil {
		return err
	}
	p = t.slots[name]
	if err := errors.Join(t.release(p.next), t.release(p.now)); err != nil {
		return err
	}
	delete(t.slots, name)
	return nil
}

// release marks a slot as free and gives it to those who allocate.
func (t *table) release(s slot) error {
	if s.units == 0 {
		return nil
	}
	if _, err := t.out.WriteAt(freeLine(s.units), int64(s.at)*unit); err != nil {
		t.worn = true
		return err
	}
	t.free[s.units] = append(t.free[s.units], s.at)
	return nil
}

// ready opens the file for writing, or replaces it where that cannot be done or
// would be for nothing.
func (t *table) ready() error {
	if t.worn || t.file == nil || t.gone(t.file) {
		return t.replace()
	}
	if t.out != nil {
		return nil
	}
	f, err := os.OpenFile(t.path(), os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return t.replace()
	}
	t.out = f
	return err
}

// gone tells whether f has no name any more: somebody tidied the run directory
// up. What is known now is worth more than a complaint.
func (t *table) gone(f *os.File) bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) != nil || st.Nlink == 0
}

// replace makes a new file of what is in force.
func (t *table) replace() error {
	if err := os.MkdirAll(t.dir, 0o700); err != nil {
		return err
	}
	fresh := &table{dir: t.dir, boot: t.boot, slots: map[string]pair{}, free: map[uint16][]uint32{}, end: 1, seq: t.seq}
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
	if fresh.out, err = os.OpenFile(t.path(), os.O_WRONLY, 0); err != nil {
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
