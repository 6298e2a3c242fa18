package pump

import (
	"sync/atomic"
	"time"

	"kita/spec"
)

const (
	// dropLimit is how many bytes of a stream wait for its file before lines are
	// dropped.
	dropLimit = 4 << 20
	// waitLimit is how many wait before the program has to: what is written soon
	// after it was read is still in the processor's cache.
	waitLimit = 1 << 20
	// freeLimit is what a stream may have waiting however much others have.
	freeLimit = 512 << 10
	// totalLimit is how many bytes of all streams wait.
	totalLimit = 256 << 20
	// patience is how long a program waits for a file that takes what it can,
	// before lines are dropped: no file that is well takes so long for half of
	// dropLimit. After a loss none waits for distrust.
	patience = 250 * time.Millisecond
	distrust = 10 * time.Second
)

// total is how many bytes wait.
var total atomic.Int64

// lane is what a stream has in a sink: its share of the queue.
type lane struct {
	sink  *sink
	tally *tally
	how   attachment
	// room tells the stream's reader that there is room again.
	room chan struct{}
	// notes has a formatter of its own, since the sink's goroutine uses it,
	// under sink.mu.
	notes *formatter

	// All below is guarded by sink.mu.

	// queued is how many bytes of memory the lane's entries take.
	queued int
	// full is set when waitLimit was reached, until half of it is free.
	full bool
	// dropping: lines are dropped until half of the limit is free. gap is how
	// many were, since the file last told.
	dropping bool
	gap      uint64
	// lostAt is when patience or lines were lost last.
	lostAt time.Time
	// put and done count the entries that were queued and that were written.
	put, done uint64
	waiters   []waiter
	// retired: the stream has left. What it left is dropped at an error.
	retired bool
}

// tally counts what became of a stream, whatever sinks it goes through.
type tally struct {
	lines, bytes, dropped atomic.Uint64
}

func (t *tally) set(s Stats) {
	t.lines.Store(s.Lines)
	t.bytes.Store(s.Bytes)
	t.dropped.Store(s.Dropped)
}

// waiter waits until all entries up to one are written.
type waiter struct {
	put  uint64
	done chan<- struct{}
}

// join gives a stream a place in the queue of s. It ends with leave.
func (s *sink) join(k Key, how attachment, t *tally) *lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lanes++
	return &lane{sink: s, tally: t, how: how, room: make(chan struct{}, 1), notes: newFormatter(styleOf(k, how))}
}

// goOn says that the last line in the file is the lane's, and not ended.
func (l *lane) goOn() {
	l.sink.mu.Lock()
	defer l.sink.mu.Unlock()
	if l.sink.open == nil {
		l.sink.open = l
	}
}

// leave gives the place up. What is queued is still written, unless the file
// cannot take it: then it is dropped.
func (l *lane) leave() {
	s := l.sink
	s.mu.Lock()
	l.retired = true
	if s.open == l {
		s.endLine()
	}
	l.tellGap()
	s.lanes--
	s.mu.Unlock()
	select {
	case s.hurry <- struct{}{}:
	default:
	}
	s.idle(s)
}

func (l *lane) limit() int {
	if l.how.OnFull == spec.Block {
		return waitLimit
	}
	return dropLimit
}

// fits tells whether n more bytes may be queued. sink.mu is held.
func (l *lane) fits(n int) bool {
	if l.queued == 0 {
		return true
	}
	if l.queued+n > l.limit() {
		return false
	}
	return l.queued+n <= freeLimit || total.Load()+int64(n) <= totalLimit
}

// ready tells whether the stream should read on: for OnFull Drop always, once
// the file has been given the time that one needs that is well. wait is how long
// to listen to room at most before asking again; 0 means for ever.
func (l *lane) ready(now, since time.Time) (ok bool, wait time.Duration) {
	l.sink.mu.Lock()
	defer l.sink.mu.Unlock()
	if !l.full && l.fits(chunkSize) && (l.queued == 0 || l.queued+chunkSize <= waitLimit) {
		return true, 0
	}
	l.full = true
	if l.how.OnFull == spec.Block {
		return false, 0
	}
	if l.dropping || l.sink.fault != "" || now.Sub(l.lostAt) < distrust {
		return true, 0
	}
	if left := patience - now.Sub(since); left > 0 {
		return false, left
	}
	l.lostAt = now
	return true, 0
}

// charge takes n bytes into account. sink.mu is held.
func (l *lane) charge(n int) {
	l.queued += n
	total.Add(int64(n))
}

// discharge gives n bytes back, and wakes the reader once there is room again.
// sink.mu is held.
func (l *lane) discharge(n int) {
	l.queued -= n
	total.Add(-int64(n))
	if l.dropping && !l.retired && l.queued <= l.limit()/2 {
		l.dropping = false
		l.tellGap()
	}
	if l.full && l.queued <= waitLimit/2 {
		l.full = false
		select {
		case l.room <- struct{}{}:
		default:
		}
	}
}

// drop counts lines that are left out. sink.mu is held.
func (l *lane) drop(lines int) {
	l.dropping, l.lostAt = true, time.Now()
	l.gap += uint64(lines)
	l.tally.dropped.Add(uint64(lines))
}

// tellGap queues the line that tells how many are missing. sink.mu is held.
func (l *lane) tellGap() {
	if l.gap == 0 {
		return
	}
	l.notes.stamp(time.Now())
	note := l.notes.appendDropped(nil, l.gap)
	l.gap = 0
	l.sink.queueEntry(entry{lane: l, buf: note}, false)
}

// finished takes an entry off, and lets those go who wait for it. sink.mu is held.
func (l *lane) finished() {
	l.done++
	kept := l.waiters[:0]
	for _, w := range l.waiters {
		if w.put > l.done {
			kept = append(kept, w)
			continue
		}
		close(w.done)
	}
	l.waiters = kept
}

// await closes done once all that the lane has queued so far is written.
func (l *lane) await(done chan<- struct{}) {
	l.sink.mu.Lock()
	defer l.sink.mu.Unlock()
	if l.done == l.put {
		close(done)
		return
	}
	l.waiters = append(l.waiters, waiter{l.put, done})
}

// tellTorn queues the line that tells that a pump was killed. It begins on a line
// of its own, also where that pump left the file in the middle of one.
func (l *lane) tellTorn() {
	s := l.sink
	s.mu.Lock()
	defer s.mu.Unlock()
	var note []byte
	if !s.writing && len(s.queue) == 0 && s.open == nil && tornEnd(s.fd) {
		note = append(note, '\n')
	}
	l.notes.stamp(time.Now())
	s.queueEntry(entry{lane: l, buf: l.notes.appendTorn(note)}, false)
}

// takeBack takes what is queued and not being written off the queue.
func (l *lane) takeBack() []byte {
	s := l.sink
	s.mu.Lock()
	defer s.mu.Unlock()
	var data []byte
	l.retired = true
	s.remove(func(i int, e entry) bool {
		mine := i >= s.busy && e.lane == l
		if mine {
			data = append(data, e.buf[e.off:]...)
		}
		return mine
	})
	if l.gap > 0 {
		data = l.notes.appendDropped(data, l.gap)
	}
	return data
}
