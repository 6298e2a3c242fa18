package pump

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// abandonedAfter is how long a pump without a server goes on trying to write what
// its file cannot take, of processes that have ended.
const abandonedAfter = time.Minute

// house is all that the pump has. Its working directory is the run directory.
type house struct {
	// version is that of the messages.
	version int
	poller  *poller
	gates   gates
	// news holds one token while something has changed that was not told.
	news chan struct{}
	// empty is closed when there is neither a stream nor a server any more.
	empty chan struct{}

	// running are the streams of which run has not returned.
	running sync.WaitGroup
	// telling is held by the one who tells servers what has changed, so that
	// nothing older comes after something newer.
	telling sync.Mutex

	mu sync.Mutex
	// All below is guarded by mu.
	streams map[Key]*stream
	sinks   map[device]*sink
	servers map[*link]struct{}
	// left is when the last server went.
	left time.Time
	// ended are streams that were forgotten and not told of.
	ended []streamStats
	// closing: the pump ends, and takes nothing new.
	closing bool
}

func newHouse(version int, p *poller) *house {
	return &house{
		version: version, poller: p,
		news: make(chan struct{}, 1), empty: make(chan struct{}),
		streams: map[Key]*stream{}, sinks: map[device]*sink{}, servers: map[*link]struct{}{},
	}
}

// changed says that there is something to tell. It does not block.
func (h *house) changed() {
	select {
	case h.news <- struct{}{}:
	default:
	}
}

// attach takes a stream, or exchanges what becomes of one that there is. It takes
// over fds: the FIFO, the file, and what an earlier pump could not write.
func (h *house) attach(k Key, a attachment, left remains, fds []int) error {
	if len(fds) < 2 {
		closeAll(fds)
		return errors.New("the FIFO and the file are missing")
	}
	fifo, dest, rest := fds[0], fds[1], fds[2:]
	defer closeAll(rest)
	h.mu.Lock()
	defer h.mu.Unlock()
	into, err := h.sinkOf(dest)
	if err == nil && h.closing {
		err = errors.New("the pump is ending")
	}
	if err != nil {
		_ = unix.Close(fifo)
		return err
	}
	if s := h.streams[k]; s != nil {
		_ = unix.Close(fifo)
		l := into.join(k, a, &s.tally)
		if !s.do(func() { s.exchange(l) }) {
			// It is just being forgotten; leave needs mu.
			go l.leave()
		}
		return nil
	}
	s, err := newStream(k, filepath.Join(dirName, filepath.Base(a.Name)), fifo, h.poller)
	if err != nil {
		_ = unix.Close(fifo)
		go h.idle(into)
		return err
	}
	s.abandoned = h.abandoned
	s.tally.set(left.Stats)
	s.enter(into.join(k, a, &s.tally))
	if left.Torn {
		s.lane.tellTorn()
	}
	s.resume(left, readAll(rest))
	h.streams[k] = s
	h.running.Go(func() {
		s.run()
		h.forget(s)
	})
	h.changed()
	return nil
}

// readAll reads what an earlier pump left in a file in memory.
func readAll(fds []int) []byte {
	if len(fds) == 0 {
		return nil
	}
	size, err := unix.Seek(fds[0], 0, io.SeekEnd)
	if err != nil {
		return nil
	}
	data := make([]byte, size)
	n, _ := unix.Pread(fds[0], data, 0)
	return data[:max(n, 0)]
}

// sinkOf returns the sink of a file, which it takes over. mu is held.
func (h *house) sinkOf(fd int) (*sink, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("fstat", err)
	}
	id := device{uint64(st.Dev), st.Ino}
	if s := h.sinks[id]; s != nil {
		_ = unix.Close(fd)
		return s, nil
	}
	behind := id
	if st.Mode&unix.S_IFMT == unix.S_IFREG {
		behind.ino = 0
	}
	s := &sink{id: id, fd: fd, gate: h.gates.get(behind), changed: h.changed, idle: h.idle, hurry: make(chan struct{}, 1)}
	h.sinks[id] = s
	return s, nil
}

// idle forgets a sink that nobody needs.
func (h *house) idle(s *sink) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.mu.Lock()
	unused := s.unused()
	s.mu.Unlock()
	if !unused || h.sinks[s.id] != s {
		return
	}
	delete(h.sinks, s.id)
	h.gates.put(s.gate)
	_ = unix.Close(s.fd)
}

// forget ends what is left of a stream whose run has returned. Where the pump
// ends, another one goes on with it.
func (h *house) forget(s *stream) {
	h.mu.Lock()
	closing := h.closing && !s.ended && !s.discarded
	if !closing {
		delete(h.streams, s.key)
		h.ended = append(h.ended, streamStats{Key: s.key, Ended: true, Stats: s.stats()})
		s.close()
	}
	h.mu.Unlock()
	if closing {
		return
	}
	s.lane.leave()
	h.changed()
	h.checkEmpty()
}

// discard forgets a stream at once.
func (h *house) discard(k Key) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.streams[k]; s != nil {
		s.do(func() { s.quit, s.discarded = true, true })
	}
}

// drain closes done when all is written that is in the FIFO now; false if there
// is no such stream.
func (h *house) drain(k Key, done chan<- struct{}) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.streams[k]
	return s != nil && s.do(func() { s.drain(done) })
}

// leave says that a server has gone.
func (h *house) leave(l *link) {
	h.mu.Lock()
	delete(h.servers, l)
	h.left = time.Now()
	h.mu.Unlock()
	h.checkEmpty()
}

// abandoned tells whether there has been no server for abandonedAfter.
func (h *house) abandoned() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.servers) == 0 && time.Since(h.left) > abandonedAfter
}

// checkEmpty closes empty if nobody needs the pump any more.
func (h *house) checkEmpty() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.streams) == 0 && len(h.servers) == 0 && !isClosed(h.empty) {
		h.closing = true
		close(h.empty)
	}
}
