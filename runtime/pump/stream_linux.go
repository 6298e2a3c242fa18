package pump

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// holdBack is how long an unfinished line is held back.
	holdBack = time.Second
	// pause is how long a pipe of at least roomyPipe bytes is left to fill after
	// it had only fewBytes: to take each small write by itself would cost the
	// program a wake-up each. It is filled at once by no program.
	pause     = time.Millisecond
	roomyPipe = 512 << 10
	fewBytes  = 64 << 10
)

// stream is what comes out of one FIFO. Its fields belong to the goroutine of
// run, but for those said to be guarded.
type stream struct {
	key Key
	// fifo is open for reading, path is its path.
	fifo int
	path string
	// poller tells readable when there is something to read.
	poller   *poller
	readable chan struct{}
	// roomy: the pipe holds so much that it need not be emptied at once.
	roomy bool
	// tally may be read by any goroutine.
	tally tally
	text  *formatter

	// held is the unfinished line, and since when it has been there. Of its
	// beginning begun bytes are in the file already, or queued.
	held  []byte
	since time.Time
	begun int
	// rest is the end of chunk that was read and that the lane had no room for;
	// held is empty as long as there is some.
	chunk, rest []byte
	// consumed is how many bytes were read, and drains are those who wait until
	// so many were.
	consumed uint64
	drains   []drain
	// ended: nobody has the FIFO open for writing. quit: run is to return as
	// soon as it can, and to leave what is held; discarded: nobody wants it.
	ended, quit, discarded bool

	// abandoned tells whether nobody is there for whom to go on trying.
	abandoned func() bool
	// told is what the servers know; it is guarded by house.mu.
	told Stats
	// poke wakes run where it does not wait for input.
	poke chan struct{}

	mu sync.Mutex
	// commands, guarded by mu, are to be executed by run. over: it has returned.
	commands []func()
	over     bool
	// lane is guarded by mu, and run alone changes it.
	lane *lane
}

// drain waits until consumed bytes were read, and all of them written.
type drain struct {
	consumed uint64
	done     chan<- struct{}
}

// newStream takes over a FIFO that is open for reading and does not block, unless
// it fails.
func newStream(k Key, path string, fifo int, p *poller) (*stream, error) {
	s := &stream{
		key: k, path: path, fifo: fifo, poller: p,
		readable: make(chan struct{}, 1), poke: make(chan struct{}, 1),
	}
	size, err := unix.FcntlInt(uintptr(fifo), unix.F_GETPIPE_SZ, 0)
	s.roomy = err == nil && size >= roomyPipe
	return s, p.add(fifo, s.readable)
}

// close removes the FIFO, unless another has taken its name, and closes it.
func (s *stream) close() {
	var mine, there unix.Stat_t
	err := errors.Join(unix.Fstat(s.fifo, &mine), unix.Lstat(s.path, &there))
	if err == nil && mine.Dev == there.Dev && mine.Ino == there.Ino {
		_ = os.Remove(s.path)
	}
	s.poller.remove(s.fifo)
	_ = unix.Close(s.fifo)
}

// do has run execute a command between two reads; false if run has returned.
func (s *stream) do(command func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.commands = append(s.commands, command)
	select {
	case s.poke <- struct{}{}:
	default:
	}
	return true
}

// obey executes the commands.
func (s *stream) obey() {
	s.mu.Lock()
	commands := s.commands
	s.commands = nil
	s.mu.Unlock()
	for _, command := range commands {
		command()
	}
}

// run moves lines until the FIFO has ended and all is written, or until quit.
// Afterwards do refuses every command.
func (s *stream) run() {
	for !s.ended && !s.quit {
		s.obey()
		s.answerDrains()
		if !s.quit && s.awaitRoom() {
			s.step()
		}
	}
	for len(s.rest) > 0 {
		s.format(time.Now())
	}
	s.awaitWritten()
}

// awaitWritten waits until all is written, or until quit. What a file cannot take
// is given up once the server is gone, too.
func (s *stream) awaitWritten() {
	written := make(chan struct{})
	s.lane.await(written)
	look := time.NewTicker(retryAfter)
	defer look.Stop()
	givenUp := false
	for {
		s.mu.Lock()
		commands := s.commands
		s.commands = nil
		if len(commands) == 0 && (s.quit || givenUp || isClosed(written)) {
			s.over = true
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		for _, command := range commands {
			command()
		}
		s.answerDrains()
		select {
		case <-written:
		case <-s.poke:
		case <-look.C:
			givenUp = s.ended && s.abandoned()
		}
	}
}

// step passes on what there is to read, or waits for it.
func (s *stream) step() {
	if len(s.rest) > 0 {
		s.format(time.Now())
		return
	}
	buf, err := s.read()
	switch {
	case err == nil:
		few := s.roomy && len(buf) < fewBytes
		s.consume(buf)
		if few {
			s.wait(nil, pause)
		}
	case errors.Is(err, unix.EAGAIN):
		s.awaitInput()
	default:
		s.ended = true
		s.flush()
	}
}

// awaitInput waits until there is something to read, or what is held has been held
// for long enough, or a command came.
func (s *stream) awaitInput() {
	left := time.Duration(0)
	if len(s.held) > 0 {
		if left = holdBack - time.Since(s.since); left <= 0 {
			s.flush()
			left = 0
		}
	}
	s.poller.ask(s.fifo)
	s.wait(s.readable, left)
}

// read returns a chunk with what is held and what came in behind it. The error is
// EAGAIN if there is nothing, or says that nothing more will come.
func (s *stream) read() ([]byte, error) {
	chunk := takeChunk()
	at := copy(chunk, s.held)
	n, err := readAgain(s.fifo, chunk[at:])
	if n > 0 {
		s.consumed += uint64(n)
		return chunk[:at+n], nil
	}
	giveChunk(chunk)
	if err == nil {
		err = io.EOF
	}
	return nil, err
}

// readAgain is read(2) that no signal interrupts.
func readAgain(fd int, buf []byte) (int, error) {
	for {
		n, err := unix.Read(fd, buf)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// awaitRoom waits until the lane can take a chunk; false if a command came
// meanwhile.
func (s *stream) awaitRoom() bool {
	var since time.Time
	for {
		now := time.Now()
		if since.IsZero() {
			since = now
		}
		ok, wait := s.lane.ready(now, since)
		if ok {
			return true
		}
		if !s.wait(s.lane.room, wait) {
			return false
		}
	}
}

// wait waits for one of c, for d or, if that is 0, without an end; false if a
// command came.
func (s *stream) wait(c <-chan struct{}, d time.Duration) bool {
	var expired <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-s.poke:
		return false
	case <-c:
	case <-expired:
	}
	return true
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// stats are the counts of the stream, and what is wrong with its file.
func (s *stream) stats() Stats {
	s.mu.Lock()
	into := s.lane.sink
	s.mu.Unlock()
	into.mu.Lock()
	defer into.mu.Unlock()
	return Stats{
		Lines: s.tally.lines.Load(), Bytes: s.tally.bytes.Load(), Dropped: s.tally.dropped.Load(), Fault: into.fault,
	}
}
