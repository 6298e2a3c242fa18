package output

import (
	"math"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// pulse is how fast a file grows.
type pulse struct {
	at  time.Time
	end uint64
	// rate is in bytes a second: that between the last two looks, or what is left
	// of a higher one. A short pause of a fast writer is none.
	rate uint64
}

const (
	// leastPulse is the least time between two looks that tell a rate.
	leastPulse = 20 * time.Millisecond
	// rateHalves is the time in which half of a former rate is left.
	rateHalves = 500 * time.Millisecond
)

// next is the pulse after a look at now that found end.
func (p pulse) next(now time.Time, end uint64) pulse {
	if p.at.IsZero() {
		return pulse{at: now, end: end}
	}
	passed := now.Sub(p.at)
	if passed < leastPulse {
		return p
	}
	grown := float64(end-min(p.end, end)) / passed.Seconds()
	former := float64(p.rate) * math.Exp2(-passed.Seconds()/rateHalves.Seconds())
	return pulse{at: now, end: end, rate: uint64(max(grown, former))}
}

// measure looks how far the live file goes and returns the position of its end.
// An error comes with the end that was seen last. A file that has become smaller
// was truncated by somebody: what is in it now comes after all that was seen. A
// truncation is not noticed if the file grew beyond its former size before the
// next look.
func (f *File) measure(now time.Time) (uint64, error) {
	f.measuring.Lock()
	defer f.measuring.Unlock()
	if err := f.settleNow(); err != nil {
		return f.lastSeen(), err
	}
	if !f.layout.TryRLock() {
		return f.lastSeen(), nil
	}
	base := f.base()
	size, err := f.size()
	f.layout.RUnlock()
	if err != nil {
		return f.lastSeen(), err
	}
	end := base + size
	if end < f.lastSeen() {
		begin, ok := f.goOn(base)
		if !ok {
			return f.lastSeen(), nil
		}
		end = begin + size
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = max(f.seen, end)
	f.pulse = f.pulse.next(now, f.seen)
	return f.seen, nil
}

// settleNow opens the live file if it has yet to be settled what lies where.
func (f *File) settleNow() error {
	f.mu.Lock()
	unsettled := f.unsettled
	f.mu.Unlock()
	if !unsettled {
		return nil
	}
	fd, err := f.openLive(unix.O_RDONLY)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func (f *File) lastSeen() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen
}

// goOn gives a truncated file the positions after the last one seen, and returns
// its first. Where the record is being changed it is left for the next look.
func (f *File) goOn(base uint64) (begin uint64, ok bool) {
	if !f.saving.TryLock() {
		return 0, false
	}
	defer f.saving.Unlock()
	f.layout.Lock()
	defer f.layout.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rec.Base != base {
		return 0, false
	}
	f.beginAt(f.seen)
	return f.rec.Base, true
}

// size is that of the live file, in bytes.
func (f *File) size() (uint64, error) {
	f.mu.Lock()
	key, hold := f.rec.Key, f.hold
	f.mu.Unlock()
	found, err := f.look()
	if err == nil && found.key == key {
		return found.size, nil
	}
	if hold != nil {
		if fd, err := hold(); err == nil {
			defer unix.Close(fd)
			if st, err := statFD(fd); err == nil && keyOf(fd) == key {
				return uint64(st.Size), nil
			}
		}
	}
	if err == nil {
		err = &os.PathError{Op: "stat", Path: f.path, Err: errGone}
	}
	return 0, err
}

// found is a file at a path.
type found struct {
	key       Key
	born      int64 // nanoseconds; 0 unknown
	size      uint64
	allocated uint64 // bytes on disk
	regular   bool
}

func lookAt(path string) (found, error) {
	return statx(unix.AT_FDCWD, path, 0)
}

func statx(dir int, path string, flags int) (found, error) {
	var st unix.Statx_t
	const mask = unix.STATX_BASIC_STATS | unix.STATX_BTIME
	if err := unix.Statx(dir, path, flags, mask, &st); err != nil {
		return found{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	got := found{
		key:       Key{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Inode: st.Ino},
		size:      st.Size,
		allocated: st.Blocks * 512,
		regular:   st.Mode&unix.S_IFMT == unix.S_IFREG,
	}
	if st.Mask&unix.STATX_BTIME != 0 {
		got.born = st.Btime.Sec*int64(time.Second) + int64(st.Btime.Nsec)
	}
	return got, nil
}

// same tells whether what was found is the file of the record. A device may
// have another number after a boot, and an inode another file.
func (got found) same(r *record) bool {
	if !got.regular || got.key.Inode != r.Key.Inode {
		return false
	}
	if got.born != 0 && r.Born != 0 {
		return got.born == r.Born
	}
	return got.key.Dev == r.Key.Dev
}
