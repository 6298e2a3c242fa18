package logs

import (
	"io"
	"slices"
	"sync"
	"time"
)

// fake is a Source in memory. What is removed from it can no longer be read, but
// the test still has it in data.
type fake struct {
	mu sync.Mutex
	// All below are guarded by mu.
	data     []byte // from position 0 on
	oldest   uint64
	cuts     []uint64 // where segments end
	samples  []sample
	identity string
	failure  error // of the next reads
	wakes    map[int]func()
	nextWake int
	open     int // readers
	opened   int // readers ever
	read     int // bytes ever read
	// block is the most bytes of a read; 0 means any number.
	block int
}

// sample says that everything before pos had been written at a time.
type sample struct {
	pos uint64
	at  time.Time
}

var _ Source = (*fake)(nil)

func newFake(text string) *fake {
	return &fake{data: []byte(text), identity: "a", wakes: map[int]func(){}}
}

// write appends text and takes a sample, and wakes who has subscribed.
func (f *fake) write(at time.Time, text string) *fake {
	f.mu.Lock()
	f.data = append(f.data, text...)
	if !at.IsZero() {
		f.samples = append(f.samples, sample{uint64(len(f.data)), at})
	}
	wakes := make([]func(), 0, len(f.wakes))
	for _, wake := range f.wakes {
		wakes = append(wakes, wake)
	}
	f.mu.Unlock()
	for _, wake := range wakes {
		wake()
	}
	return f
}

// cut makes an archive of what was written so far.
func (f *fake) cut() *fake {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cuts = append(f.cuts, uint64(len(f.data)))
	return f
}

// remove takes away what lies before pos.
func (f *fake) remove(pos uint64) *fake {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.oldest = max(f.oldest, pos)
	return f
}

// grow writes text that nobody is woken for yet, and removes what lies before
// oldest.
func (f *fake) grow(text string, oldest int) *fake {
	f.mu.Lock()
	f.data = append(f.data, text...)
	f.mu.Unlock()
	return f.remove(uint64(oldest))
}

// fail has reads return err from now on; nil mends them.
func (f *fake) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failure = err
}

func (f *fake) readers() (open, opened, read int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open, f.opened, f.read
}

func (f *fake) subscribers() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.wakes)
}

func (f *fake) Bounds() (oldest, end uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.oldest, uint64(len(f.data))
}

func (f *fake) Segments() []Segment {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []Segment
	start := uint64(0)
	for _, end := range append(slices.Clone(f.cuts), uint64(len(f.data))) {
		if end > f.oldest || end == uint64(len(f.data)) {
			all = append(all, Segment{max(start, f.oldest), end})
		}
		start = end
	}
	return all
}

func (f *fake) PositionAt(t time.Time) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	pos := f.oldest
	for _, s := range f.samples {
		if s.at.Before(t) {
			pos = max(pos, s.pos)
		}
	}
	return pos
}

func (f *fake) TimeOf(pos uint64) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, _ := slices.BinarySearchFunc(f.samples, pos+1, func(s sample, pos uint64) int { return int(int64(s.pos) - int64(pos)) })
	if i == len(f.samples) {
		return time.Time{}
	}
	return f.samples[i].at
}

func (f *fake) Subscribe(wake func()) (cancel func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := f.nextWake
	f.nextWake++
	f.wakes[id] = wake
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.wakes, id)
	}
}

func (f *fake) Identity() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.identity
}

func (f *fake) Open(from uint64) (Reader, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failure != nil {
		return nil, f.failure
	}
	f.open++
	f.opened++
	return &fakeReader{f: f, pos: from}, nil
}

type fakeReader struct {
	f   *fake
	pos uint64
}

func (r *fakeReader) Read(p []byte) (int, error) {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	switch {
	case r.f.failure != nil:
		return 0, r.f.failure
	case r.pos < r.f.oldest:
		lost := &LostError{r.pos, r.f.oldest}
		r.pos = r.f.oldest
		return 0, lost
	case r.pos >= uint64(len(r.f.data)):
		return 0, io.EOF
	case r.f.block > 0:
		p = p[:min(len(p), r.f.block)]
	}
	n := copy(p, r.f.data[r.pos:])
	r.pos += uint64(n)
	r.f.read += n
	return n, nil
}

func (r *fakeReader) Close() error {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	r.f.open--
	return nil
}

// fakeSet is a Set that a test changes.
type fakeSet struct {
	mu sync.Mutex
	// All below are guarded by mu.
	sources []Named
	wake    func()
}

func (s *fakeSet) Sources() []Named {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sources)
}

func (s *fakeSet) Subscribe(wake func()) (cancel func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wake = wake
	return func() {}
}

func (s *fakeSet) set(sources ...Named) {
	s.mu.Lock()
	s.sources = sources
	wake := s.wake
	s.mu.Unlock()
	if wake != nil {
		wake()
	}
}

// fixed is a Set that does not change.
type fixed []Named

func (f fixed) Sources() []Named { return f }

func (fixed) Subscribe(func()) (cancel func()) { return func() {} }
