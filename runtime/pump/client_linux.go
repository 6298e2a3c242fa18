package pump

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// Options are what a Client needs.
type Options struct {
	// RunDir is the run directory of the server, absolute. No other server uses
	// it.
	RunDir string
	// Logger is slog's default when nil.
	Logger *slog.Logger
	// Changed is called when the fault or the count of dropped lines of a stream
	// has changed. Ended is called when nobody has a stream open any more and all
	// is written, with its last stats. Neither may block, nor call the client.
	// They may be nil.
	Changed func(Key)
	Ended   func(Key, Stats)
}

// Stream says where a stream comes from and what becomes of it.
type Stream struct {
	// FIFO is the path that MakeFIFO returned.
	FIFO string
	// Dest is the file, opened for writing, O_APPEND where it is regular. It
	// stays the caller's, who may close it when Attach has returned.
	Dest *os.File
	// Format, Timestamps, Prefix and OnFull are those of spec.Stream.
	Format     spec.Format
	Timestamps bool
	Prefix     bool
	OnFull     spec.OnFull
}

// ErrEnded: nobody has the stream open any more. What was in it is written, or
// was lost with the pump and the server.
var ErrEnded = errors.New("the stream has ended")

// errClosed is what Attach returns after Close.
var errClosed = errors.New("the server is going down")

// Client is a server's side of its pump. Its methods may be called by any
// goroutine.
type Client struct {
	o   Options
	log *slog.Logger
	// name is the argv[0] of the pumps that it starts, and version that of the
	// messages that it understands.
	name    string
	version int
	// closing is closed by Close, which waits for running.
	closing chan struct{}
	running sync.WaitGroup
	// connecting is held by the one who connects to a pump or starts one.
	connecting sync.Mutex

	mu sync.Mutex
	// All below is guarded by mu.
	closed bool
	// retrying: connectAtLast runs.
	retrying bool
	// peer is the pump; nil while there is none. changed is closed and made anew
	// when that, or streams, changes. heeded is the one that is listened to, which
	// is not the pump before it has answered.
	peer    *peer
	heeded  *peer
	changed chan struct{}
	// streams are those of this server, stats all that there are.
	streams map[Key]*attached
	stats   map[Key]Stats
	// left is what a pump of another version left of streams that are not
	// attached yet.
	left map[Key]leftover
	// lookout has the FIFOs of all streams that a pump has; nil before there was
	// a pump, and where the kernel gives none.
	lookout *lookout
}

// attached is what it takes to attach a stream to another pump.
type attached struct {
	// fifo is open for reading, so that what is in it outlives the pump and the
	// process. dest is -1 until the stream is attached.
	fifo, dest int
	how        attachment
	// torn: the pump that had it was killed, or may have been.
	torn bool
	// faulty: the stream's fault is that no pump has it.
	faulty bool
}

// leftover is what a pump left of a stream; fd is -1 or what it did not write.
type leftover struct {
	remains
	fd int
}

// New makes a client. No pump is started before the first Attach.
func New(o Options) *Client {
	c := &Client{
		o: o, log: o.Logger, name: processName, version: version, closing: make(chan struct{}), changed: make(chan struct{}),
		streams: map[Key]*attached{}, stats: map[Key]Stats{}, left: map[Key]leftover{},
	}
	if c.log == nil {
		c.log = slog.Default()
	}
	return c
}

// resumePatience is how long Resume waits for a pump that may hang.
const resumePatience = time.Second

// Resume connects to the pump of a former server, if there is one, and removes
// what is left of streams that nobody has open any more. It comes before
// everything else; a server without a former one may leave it out. An error
// leaves the client usable. A pump that does not answer soon, or is of another
// version, is waited for or replaced after Resume has returned.
func (c *Client) Resume() error {
	c.connecting.Lock()
	c.sweep()
	pid := c.PID()
	if pid == 0 {
		c.connecting.Unlock()
		return nil
	}
	done := make(chan error, 1)
	c.running.Go(func() {
		defer c.connecting.Unlock()
		done <- c.connect(false)
		c.sweep()
	})
	timer := time.NewTimer(resumePatience)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		c.log.Warn("the pump is not ready yet, nobody waits for it", "pid", pid)
		return nil
	}
}

// Attach has the pump take what comes out of s.FIFO. It starts a pump if there is
// none. For a stream that the pump has already, the destination and the way it is
// written are exchanged, at the end of a line; the same ones change nothing. The
// error is ErrEnded if the FIFO is not there any more. After an error that is due
// to the pump the client goes on trying; Discard ends that.
func (c *Client) Attach(k Key, s Stream) error {
	dest, err := duplicate(s.Dest)
	if err != nil {
		return err
	}
	how := attachment{Name: k.String(), Format: s.Format, Timestamps: s.Timestamps, Prefix: s.Prefix, OnFull: s.OnFull}
	if err := c.register(k, s.FIFO, dest, how); err != nil {
		_ = unix.Close(dest)
		return err
	}
	return c.attachSoon(k)
}

// Redirect exchanges the destination of a stream at the end of a line, and
// nothing else. dest stays the caller's. The error is ErrEnded if the stream is
// not attached.
func (c *Client) Redirect(k Key, dest *os.File) error {
	fd, err := duplicate(dest)
	if err != nil {
		return err
	}
	c.mu.Lock()
	a := c.streams[k]
	if c.closed || a == nil || a.dest < 0 {
		c.mu.Unlock()
		_ = unix.Close(fd)
		return fmt.Errorf("redirect %v: %w", k, ErrEnded)
	}
	_ = unix.Close(a.dest)
	a.dest = fd
	c.mu.Unlock()
	return c.attachSoon(k)
}

// attachSoon attaches a stream that is registered, to a new pump if there is
// none.
func (c *Client) attachSoon(k Key) error {
	c.connecting.Lock()
	defer c.connecting.Unlock()
	for try := 0; ; try++ {
		err := c.connect(true)
		if err == nil {
			if err = c.attach(k); err == nil {
				return nil
			}
		}
		var refused *refusal
		switch {
		case errors.Is(err, errClosed) || errors.As(err, &refused):
			c.forget(k)
			return err
		case try == 2:
			c.connectLater()
			return err
		}
	}
}

// register notes what is to be attached. It takes over dest unless it fails.
func (c *Client) register(k Key, path string, dest int, how attachment) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClosed
	}
	a := c.streams[k]
	if a == nil {
		fifo, err := openReader(path)
		if err != nil {
			return err
		}
		_, finished := c.left[k]
		a = &attached{fifo: fifo, dest: -1, torn: !finished}
		c.streams[k] = a
	}
	if a.dest >= 0 {
		_ = unix.Close(a.dest)
	}
	a.dest, a.how = dest, how
	return nil
}

// attach tells the pump of a stream.
func (c *Client) attach(k Key) error {
	c.mu.Lock()
	a, p := c.streams[k], c.peer
	if p == nil {
		c.mu.Unlock()
		return errGone
	}
	if a == nil || a.dest < 0 {
		c.mu.Unlock()
		return nil
	}
	// The numbers may be closed by somebody else while they are sent.
	fds, err := duplicates(a.fifo, a.dest)
	how := a.how
	left, has := c.left[k]
	if !has {
		left = leftover{remains{Stats: c.stats[k], Torn: a.torn}, -1}
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	defer closeAll(fds)
	with := fds
	if left.fd >= 0 {
		with = append(with, left.fd)
	}
	left.Stats.Fault = ""
	_, err = p.ask(context.Background(), message{Op: opAttach, Key: &k, Attach: &how, Left: &left.remains}, with...)
	if err == nil {
		c.attached(k, a)
	}
	return err
}

// attached notes that the pump has a stream.
func (c *Client) attached(k Key, a *attached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams[k] != a {
		return
	}
	c.lookout.add(a.fifo)
	now, known := c.stats[k]
	if a.faulty {
		now.Fault = ""
	}
	if a.faulty || !known {
		c.stats[k] = now
	}
	a.faulty, a.torn = false, false
	if left, has := c.left[k]; has && left.fd >= 0 {
		_ = unix.Close(left.fd)
	}
	delete(c.left, k)
}

// Discard takes back MakeFIFO, and Attach, for a process that could not be
// launched. What is in the FIFO is lost.
func (c *Client) Discard(k Key) {
	if p := c.current(); p != nil {
		// A pump that has died forgets it too.
		_, _ = p.ask(context.Background(), message{Op: opDiscard, Key: &k})
	}
	c.forget(k)
	_ = os.Remove(c.path(k))
}

// Drain returns once what was in the FIFO when it was called is in the file, an
// unfinished line included, or ctx ends. Of a stream that is not there, or has
// ended, there is nothing to wait for.
func (c *Client) Drain(ctx context.Context, k Key) {
	for {
		c.mu.Lock()
		p, look, changed := c.peer, c.lookout, c.changed
		_, mine := c.streams[k]
		_, known := c.stats[k]
		c.mu.Unlock()
		if !mine && !known {
			return
		}
		if p != nil {
			look.stir()
			if _, err := p.ask(ctx, message{Op: opDrain, Key: &k}); err == nil {
				return
			}
		} else if !mine {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-c.closing:
			return
		case <-changed:
		}
	}
}

// Stats returns what became of the streams that this client attached, or that
// the pump had already, and that have not ended. It may be a second old.
func (c *Client) Stats() map[Key]Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.stats)
}

// StatsOf is what Stats has of one stream; false if that is nothing.
func (c *Client) StatsOf(k Key) (Stats, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stats, known := c.stats[k]
	return stats, known
}

// PID is that of the pump, 0 if there is none. The kernel says so: it is of no
// run, whoever its parent is.
func (c *Client) PID() int {
	f, err := os.OpenFile(c.logPath(), os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return 0
	}
	defer f.Close()
	pid, err := lockedBy(f)
	if err != nil {
		return 0
	}
	return pid
}

// Close ends the connection. The pump goes on until its streams have ended.
func (c *Client) Close() {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed = true
	close(c.closing)
	p := c.heeded
	if c.lookout != nil {
		c.lookout.close()
	}
	c.mu.Unlock()
	if p != nil {
		_ = p.conn.Close()
	}
	c.running.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range c.streams {
		c.release(k)
	}
	for _, left := range c.left {
		if left.fd >= 0 {
			_ = unix.Close(left.fd)
		}
	}
}
