package output

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"sort"
	"sync"
	"time"
)

const (
	// timesRecent is how many samples are kept in memory.
	timesRecent = 128
	// timesEvery is the least time between two samples on disk.
	timesEvery = 10 * time.Second
	// timesOnDisk is how many samples the index may hold: at one each 10 s
	// nearly two days. Then every other one goes.
	timesOnDisk = 1 << 14
	sampleSize  = 16
	// overtaken is how late a sample may come, without the clock being wrong.
	overtaken = time.Second
	// timesEnding ends the names of the indices.
	timesEnding = ".times"
)

// sample says that at a time the content ended at a position: what lies before
// it was written by then, what follows was not.
type sample struct {
	at  int64 // Unix time in milliseconds, rounded up
	end uint64
}

func (s sample) time() time.Time { return time.UnixMilli(s.at) }

// encode is the form on disk: two little-endian numbers.
func (s sample) encode() []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, uint64(s.at)), s.end)
}

func decodeSample(b []byte) sample {
	return sample{int64(binary.LittleEndian.Uint64(b)), binary.LittleEndian.Uint64(b[8:])}
}

// times tells when what was written to a file. The recent samples are in memory,
// some of the older ones in a file, which is only a hint: it is never synced, and
// where it is lost lines have no time. Both grow in time and position.
type times struct {
	// path is the index on disk; empty for none.
	path string

	// mu guards what follows, and the index on disk.
	mu     sync.Mutex
	recent []sample
	// saved is the latest sample on disk, once opened is true.
	saved  sample
	opened bool
	// answered is what the index on disk last told: whoever reads on asks for
	// the next line.
	answered span
}

// span is a stretch of positions, from a first one to before a last one, of which
// the bytes were seen at the same time.
type span struct {
	from, to uint64
	at       time.Time
}

// note takes a sample: the content ended at end when this was called or, where a
// former look saw less, at some time in between. The error is that of writing the
// index; nothing else is lost then.
func (t *times) note(at time.Time, end uint64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.answered = span{}
	s := sample{at.Add(time.Millisecond - 1).UnixMilli(), end}
	if n := len(t.recent); n > 0 && s.at < t.recent[n-1].at && s.at > t.recent[n-1].at-overtaken.Milliseconds() {
		return nil // another look was faster
	}
	// Times and positions that are ahead are of a clock that was wrong, or of
	// a record that was lost.
	ahead := slices.IndexFunc(t.recent, func(r sample) bool { return r.at > s.at || r.end > s.end })
	if ahead >= 0 {
		t.recent = t.recent[:ahead]
	}
	if n := len(t.recent); n > 0 && t.recent[n-1].end == end || end == 0 {
		return nil
	}
	if len(t.recent) >= timesRecent {
		t.recent = slices.Delete(t.recent, 0, timesRecent/2)
	}
	t.recent = append(t.recent, s)
	return t.save(s, timesEvery)
}

// flush writes the latest sample down, for the next server.
func (t *times) flush() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.recent) == 0 {
		return nil
	}
	return t.save(t.recent[len(t.recent)-1], 0)
}

// save appends s to the index unless the latest there is not older than that.
func (t *times) save(s sample, older time.Duration) error {
	if t.path == "" {
		return nil
	}
	if !t.opened {
		if err := t.mend(s); err != nil {
			return err
		}
		t.opened = true
	}
	if t.saved.end >= s.end || s.at-t.saved.at < older.Milliseconds() && t.saved.end != 0 {
		return nil
	}
	f, err := os.OpenFile(t.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	n, err := f.Write(s.encode())
	if err == nil {
		t.saved = s
	}
	size, seekErr := f.Seek(0, io.SeekCurrent)
	if n > 0 && err != nil || size >= timesOnDisk*sampleSize {
		t.opened = false // a torn sample has to go, or there are too many
	}
	return errors.Join(err, seekErr, f.Close())
}

// mend makes the index one that s can be appended to: a torn tail goes, and what
// is ahead of s.
func (t *times) mend(s sample) error {
	all, torn, err := t.load()
	if err != nil {
		return err
	}
	sound := all[:ascending(all)]
	ahead := slices.IndexFunc(sound, func(r sample) bool { return r.at > s.at || r.end > s.end })
	if ahead >= 0 {
		sound = sound[:ahead]
	}
	if len(sound) > timesOnDisk*3/4 {
		sound = thin(sound)
	}
	t.saved = sample{}
	if len(sound) > 0 {
		t.saved = sound[len(sound)-1]
	}
	if torn || len(sound) < len(all) {
		return t.rewrite(sound)
	}
	return nil
}

// ascending is how many samples at the beginning grow in time and position.
func ascending(all []sample) int {
	for i := 1; i < len(all); i++ {
		if all[i].at < all[i-1].at || all[i].end <= all[i-1].end {
			return i
		}
	}
	return len(all)
}

// thin leaves every other sample out, and the latest in.
func thin(all []sample) []sample {
	var kept []sample
	for i := (len(all) - 1) % 2; i < len(all); i += 2 {
		kept = append(kept, all[i])
	}
	return kept
}

// load reads the whole index; none is an empty one. torn: it ends in the midst
// of a sample.
func (t *times) load() (all []sample, torn bool, err error) {
	text, err := os.ReadFile(t.path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return nil, false, err
	}
	for ; len(text) >= sampleSize; text = text[sampleSize:] {
		all = append(all, decodeSample(text))
	}
	return all, len(text) > 0, nil
}

func (t *times) rewrite(all []sample) error {
	var text []byte
	for _, s := range all {
		text = append(text, s.encode()...)
	}
	temporary := t.path + ".new"
	if err := os.WriteFile(temporary, text, 0o600); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return os.Rename(temporary, t.path)
}

// trim forgets what lies before oldest, once that is half of the index.
func (t *times) trim(oldest uint64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.path == "" || !t.opened {
		return nil
	}
	all, _, err := t.load()
	if err != nil {
		return err
	}
	old, _ := slices.BinarySearchFunc(all, oldest, func(s sample, pos uint64) int {
		if s.end <= pos {
			return -1
		}
		return 1
	})
	if old <= len(all)/2 {
		return nil
	}
	return t.rewrite(all[old:])
}

// positionAt returns the largest position that is known to have been written
// before at: all that was written then or later lies at or behind it.
func (t *times) positionAt(at time.Time) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	ms := at.UnixMilli()
	later := func(s sample) bool { return s.at > ms }
	if s, ok := before(len(t.recent), t.fromMemory, later); ok {
		return s.end
	}
	var found sample
	t.fromDisk(func(n int, get func(int) sample) { found, _ = before(n, get, later) })
	return found.end
}

// timeOf is when the byte at pos was first seen; zero where that is not known.
func (t *times) timeOf(pos uint64) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	seen := func(s sample) bool { return s.end > pos }
	if a := t.answered; a.from <= pos && pos < a.to {
		return a.at
	}
	first := sort.Search(len(t.recent), func(i int) bool { return seen(t.recent[i]) })
	if first > 0 {
		if first == len(t.recent) {
			return time.Time{}
		}
		return t.recent[first].time()
	}
	t.answered = span{to: math.MaxUint64}
	if len(t.recent) > 0 {
		t.answered = span{to: t.recent[0].end, at: t.recent[0].time()}
	}
	t.fromDisk(func(n int, get func(int) sample) {
		i := sort.Search(n, func(i int) bool { return seen(get(i)) })
		if i > 0 {
			t.answered.from = get(i - 1).end
		}
		if i == n {
			return
		}
		if s := get(i); s.end < t.answered.to {
			t.answered.to, t.answered.at = s.end, s.time()
		}
	})
	return t.answered.at
}

// before is the last of n samples that is not later.
func before(n int, get func(int) sample, later func(sample) bool) (s sample, ok bool) {
	i := sort.Search(n, func(i int) bool { return later(get(i)) })
	if i == 0 {
		return sample{}, false
	}
	return get(i - 1), true
}

func (t *times) fromMemory(i int) sample { return t.recent[i] }

// fromDisk calls look with the samples on disk, which are read one by one.
// Without an index there are none.
func (t *times) fromDisk(look func(n int, get func(int) sample)) {
	if t.path == "" {
		return
	}
	f, err := os.Open(t.path)
	if err != nil {
		return
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return
	}
	look(int(st.Size()/sampleSize), func(i int) sample {
		var b [sampleSize]byte
		// A sample that cannot be read is as good as none.
		_, _ = f.ReadAt(b[:], int64(i)*sampleSize)
		return decodeSample(b[:])
	})
}
