package output

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// inherit has the file of an entry that is about to be opened go on with what is
// known of it by another path, which nobody has open: it was moved, or its
// directory was. So nothing in it is taken for what it is not.
func (m *Manager) inherit(e *entry, key Key) {
	m.mu.Lock()
	var others []*entry
	for _, other := range m.entries {
		if other != e && other.file != nil && len(other.users)+other.pins == 0 && other.file.Key() == key {
			others = append(others, other)
		}
	}
	busy := len(e.users)+e.pins > 0
	m.mu.Unlock()
	if busy || len(others) == 0 {
		return
	}
	m.inheriting.Lock()
	defer m.inheriting.Unlock()
	for _, other := range others {
		if err := e.file.inherit(context.Background(), other.file, key); err != nil {
			m.log.Warn("what is known of an output file by its former path may be incomplete", "path", e.path, "former", other.path, "err", err)
		}
	}
}

// inherit takes over from other what is known of the file with this key, if that
// is more than f knows of it. What f knows of another file stays, and this one
// goes on behind that. The archives stay other's if they are in another
// directory, or f has some of its own.
func (f *File) inherit(ctx context.Context, other *File, key Key) error {
	for _, each := range []*File{f, other} {
		done, err := each.take(ctx)
		if err != nil {
			return err
		}
		defer done()
	}
	at, err := f.look()
	if err != nil || at.key != key || !other.isSame(at) {
		return err
	}
	from, to := other.record(), f.record()
	// Positions of two files tell nothing of each other.
	own := to.Key == key && f.isSame(at)
	if from.Key != key || own && from.Head <= to.Head && (f.isKept() || !other.isKept()) {
		return nil
	}
	end := max(other.lastSeen(), from.Base+at.size)
	all := len(to.Archives) == 0 && f.lastSeen() <= end && sameDirectory(f, other)
	f.change(func() { f.goOnFrom(other, all) })
	other.change(func() {
		if all {
			other.rec.Archives = nil
		}
		other.rec.Key, other.rec.Born = Key{}, 0
		other.beginAt(max(other.seen, other.rec.Head))
	})
	if !other.isKept() {
		return nil
	}
	// This one first: what both have is removed by one of them, and missed by
	// the other.
	return errors.Join(f.save(), other.save())
}

// isSame tells whether what was found is the live file.
func (f *File) isSame(at found) bool {
	rec := f.record()
	if rec.Born != 0 && at.born != 0 {
		return rec.Born == at.born
	}
	is, err := f.look()
	return err == nil && is.key == at.key
}

// goOnFrom is inherit within change. all: also with the positions and archives.
func (f *File) goOnFrom(other *File, all bool) {
	other.mu.Lock()
	from, seen, hole, unsettled := other.rec.clone(), other.seen, other.hole, other.unsettled
	other.mu.Unlock()
	base := from.Base
	if all {
		f.rec.Archives = from.Archives
	} else {
		base = max(f.seen, f.rec.Head) // positions only grow
	}
	f.rec.Key, f.rec.Born, f.rec.Seam, f.rec.Collapsing = from.Key, from.Born, from.Seam, from.Collapsing
	f.rec.Base, f.rec.Head = base, base+from.Head-from.Base
	f.rec.Freed, f.rec.Boot = from.Freed, from.Boot
	f.rec.Next, f.rec.LastCut = max(f.rec.Next, from.Next), from.LastCut
	f.rec.Rotations += from.Rotations
	f.seen = base + max(from.Head, seen) - from.Base
	f.unsaved, f.unsettled, f.hole = true, unsettled, hole
}

// sameDirectory tells whether two files are known to be in one directory.
func sameDirectory(a, b *File) bool {
	var keys [2]Key
	for i, f := range []*File{a, b} {
		p, err := findPlace(f.path, f.user())
		if err != nil {
			return false
		}
		defer p.close()
		is, err := statx(p.dir, "", unix.AT_EMPTY_PATH)
		if err != nil {
			return false
		}
		keys[i] = is.key
	}
	return keys[0] == keys[1]
}
