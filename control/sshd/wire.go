package sshd

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// wire is the connection below SSH. Until the client is authenticated it lets
// packets through only as they are answered; from then on each write has a time
// limit.
type wire struct {
	net.Conn
	in *bufio.Reader
	// limit is how long a write may take once the client is authenticated.
	limit time.Duration
	// isOpen: the client is authenticated.
	isOpen   atomic.Bool
	isClosed atomic.Bool
	// isLate: it was closed by expire.
	isLate atomic.Bool
	gate   gate

	// These belong to the goroutine that reads: whether the client's banner has
	// been read, whether packets are encrypted, and how much is left of the one
	// that is let through.
	greeted, encrypted bool
	left               int
}

func newWire(nc net.Conn, first []byte, limit time.Duration) *wire {
	w := &wire{Conn: nc, in: bufio.NewReader(io.MultiReader(bytes.NewReader(first), nc)), limit: limit}
	w.gate.changed.L = &w.gate.mu
	return w
}

// authenticated opens the gate.
func (w *wire) authenticated() {
	w.isOpen.Store(true)
	w.gate.end()
}

func (w *wire) Write(p []byte) (int, error) {
	if w.isOpen.Load() {
		_ = w.Conn.SetWriteDeadline(time.Now().Add(w.limit))
	} else {
		w.gate.answered()
	}
	return w.Conn.Write(p)
}

// Close lets nothing through any more, not even what has come already.
func (w *wire) Close() error {
	w.isClosed.Store(true)
	w.gate.end()
	return w.Conn.Close()
}

// expire ends a connection whose client is not authenticated in time. A deadline
// would not do: nobody reads or writes while the gate is shut.
func (w *wire) expire() {
	w.isLate.Store(true)
	_ = w.Close()
}

func (w *wire) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if !w.greeted {
		return w.readBanner(p)
	}
	if w.left == 0 && !w.isOpen.Load() {
		w.gate.await()
	}
	if w.isClosed.Load() {
		return 0, net.ErrClosed
	}
	if w.left == 0 && !w.isOpen.Load() {
		if err := w.beginPacket(); err != nil {
			return 0, err
		}
	}
	if w.left > 0 {
		p = p[:min(len(p), w.left)]
	}
	n, err := w.in.Read(p)
	w.left = max(0, w.left-n)
	return n, err
}

// readBanner gives the client's banner byte by byte, as it is read anyway.
func (w *wire) readBanner(p []byte) (int, error) {
	b, err := w.in.ReadByte()
	if err != nil {
		return 0, err
	}
	w.greeted = b == '\n'
	p[0] = b
	return 1, nil
}

const (
	// maxPacket is the longest that RFC 4253, 6.1, asks for; nothing that comes
	// before the client is authenticated is near it.
	maxPacket = 35_000
	// tagSize follows each encrypted packet (RFC 5647, 7.3).
	tagSize = 16
	// newKeys is the message after which packets are encrypted (RFC 4253, 7.3).
	newKeys = 21
)

// beginPacket finds out how long the next packet is: its first four bytes say
// that in clear, before the keys are agreed upon and, with AES-GCM, after.
func (w *wire) beginPacket() error {
	head, err := w.in.Peek(6)
	if err != nil {
		return err
	}
	if w.isOpen.Load() {
		// The client was authenticated while this waited: any length may follow.
		return nil
	}
	length := binary.BigEndian.Uint32(head)
	if length < 2 || length > maxPacket {
		return fmt.Errorf("a packet of %d bytes", length)
	}
	w.left = 4 + int(length)
	if w.encrypted {
		w.left += tagSize
	}
	w.encrypted = w.encrypted || head[5] == newKeys
	return nil
}

// maxAhead is how many packets are let through that are not answered. Clients
// send three at most: the end of the key exchange, the request for the service
// and the first try to authenticate.
const maxAhead = 8

// gate bounds the packets of a client that is not authenticated to those that
// the handshake can take. Package ssh queues 16 and then blocks its reader, for
// ever where the handshake has failed meanwhile: without the gate anybody could
// leave goroutines and megabytes behind in this process. The handshake answers
// each packet that it takes, but for some of the key exchange and those that say
// nothing (IGNORE, DEBUG), which are not queued. A client that sends more of them
// than maxAhead shuts the gate for good, until the connection is closed.
type gate struct {
	mu      sync.Mutex
	changed sync.Cond
	ahead   int  // owned by mu
	ended   bool // owned by mu
}

// await returns when a packet may be let through, or the gate is no more.
func (g *gate) await() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.ahead >= maxAhead && !g.ended {
		g.changed.Wait()
	}
	g.ahead++
}

func (g *gate) answered() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ahead = max(0, g.ahead-1)
	g.changed.Signal()
}

func (g *gate) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
	g.changed.Signal()
}
