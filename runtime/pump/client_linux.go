package pump

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"kita/spec"
)

// Options are what a Client needs.
type Options struct {
	// RunDir is the run directory of the server. No other server uses it.
	RunDir string
	// Logger is slog's default when nil.
	Logger *slog.Logger
	// Changed is called when the fault or the count of dropped lines of a stream
	// has changed, or the stream has ended. It must not block, nor call the
	// client. It may be nil.
	Changed func(Key)
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

// ErrEnded: nobody has the stream open any more, and what was in it has been
// written, or is lost.
var ErrEnded = errors.New("the stream has ended")

// Client is a server's side of its pump. Its methods may be called by any
// goroutine.
type Client struct{ o Options }

// New makes a client. No pump is started before the first Attach.
func New(o Options) *Client { return &Client{o} }

// Resume connects to the pump of a former server, if there is one, and removes
// what streams left that nobody has open any more. It comes before everything
// else; a server without a former one may leave it out.
func (c *Client) Resume() error { return errors.ErrUnsupported }

// MakeFIFO makes the FIFO of a stream that is about to begin and opens it for
// reading and writing, close-on-exec. The process gets fd as its standard output
// or error; the caller closes it after the fork. uid and gid are whose FIFO it
// becomes; -1 is the server's own.
//
// The order of a launch is MakeFIFO, Attach, fork, close of fd: a server that
// dies at any point in between leaves no process whose output nobody takes.
func (c *Client) MakeFIFO(k Key, uid, gid int) (fd int, path string, err error) {
	return -1, "", errors.ErrUnsupported
}

// Attach has the pump take what comes out of s.FIFO. It starts a pump if there is
// none. For a stream that the pump has already the destination and the way it is
// written are exchanged, at the end of a line; the same ones change nothing. The
// error is ErrEnded if the FIFO is not there any more.
func (c *Client) Attach(k Key, s Stream) error { return errors.ErrUnsupported }

// Discard takes back MakeFIFO, and Attach, for a process that could not be
// launched. What is in the FIFO is lost.
func (c *Client) Discard(k Key) {}

// Drain returns once what was in the FIFO when it was called is in the file, an
// unfinished line included, or ctx ends. Of a stream that is not there, or has
// ended, there is nothing to wait for.
func (c *Client) Drain(ctx context.Context, k Key) {}

// Stats returns what became of the streams that this client attached, or that
// the pump had already, and that have not ended. It may be one second old.
func (c *Client) Stats() map[Key]Stats { return nil }

// PID is that of the pump, 0 if there is none. It is no process of any run.
func (c *Client) PID() int { return 0 }

// Close ends the connection. The pump goes on until its streams have ended.
func (c *Client) Close() {}
