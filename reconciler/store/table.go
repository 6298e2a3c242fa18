package store

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

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
	file  *os.File
	id    fileID // of file
	out   output
	slots map[string]pair
	free  map[uint16][]uint32 // by size: where
	end   uint32              // of the last slot, in units
	seq   uint64              // of the latest write
	// stale are slots that are not marked as free and that nobody has. They are
	// marked in this order, before anything else is written.
	stale []slot
	// overlong: there is more of the file behind the last slot. It is cut off
	// before anything else is written.
	overlong bool
	// worn: most of the file is of no use. It is replaced if there is room.
	worn bool
	// wrap, if it is set, has the last word on what out is. Tests set it.
	wrap func(output) output
}

// output is what a table is written through.
type output interface {
	io.WriterAt
	io.Closer
	Truncate(size int64) error
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

// found is one whole line of a table.
type found struct {
	slot
	seq  uint64
	name string
	data []byte
}

// put makes a line, as newLine begins it, that of a child. changed tells whether
// other facts are in force since, also where there was an error after that.
func (t *table) put(name string, line []byte) (changed bool, err error) {
	begin := headLen + bytes.IndexByte(line[headLen:], ' ') + 1
	data := line[begin : len(line)-1]
	sum := crc32.Checksum(data, castagnoli)
	p := t.slots[name]
	if p.now.units > 0 && p.size == uint32(len(data)) && p.sum == sum && t.has(p.now, begin, data) {
		return false, nil
	}
	if err := t.ready(); err != nil {
		return false, err
	}
	p = t.slots[name] // where it is since the file was replaced
	need := (len(line) + unit - 1) / unit
	if need > maxUnits {
		return false, fmt.Errorf("%d bytes are too many", len(line))
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
			t.overlong = t.out.Truncate(int64(t.end)*unit) != nil
		case to != p.next:
			t.stale = append(t.stale, to)
		}
		return false, err
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
	t.stale = append(t.stale, tooSmall, outgrown)
	return true, t.mend()
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
		t.overlong = t.out.Truncate(int64(t.end)*unit) != nil
		return slot{}
	}
	t.end = s.at + uint32(units)
	return s
}

// holds tells whether facts of a child are in force.
func (t *table) holds(name string) bool {
	_, ok := t.slots[name]
	return ok
}

// has tells whether the line in s has data.
func (t *table) has(s slot, begin int, data []byte) bool {
	if t.gone() {
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
// not be what it says. After an error the next write goes on with it.
func (t *table) remove(name string) error {
	if !t.holds(name) && len(t.stale) == 0 {
		return nil
	}
	if err := t.ready(); err != nil {
		return err
	}
	p := t.slots[name]
	delete(t.slots, name)
	t.stale = append(t.stale, p.next, p.now)
	return t.mend()
}
