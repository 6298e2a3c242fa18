package logs

import (
	"fmt"
	"io"
	"strings"
	"time"

	"kita/spec"
)

// Source is one output file of a child. Its methods may be called from many
// goroutines at once. It must be comparable with ==: it is the same file to the
// package only if it is equal, and its Identity is.
type Source interface {
	// Bounds are the position of the oldest byte that can still be read, and
	// that behind the newest. A position counts the bytes ever written; it stays
	// what it is when the file is rotated.
	Bounds() (oldest, end uint64)
	// Segments are the places from which on reading is cheap, oldest first. In
	// the last one, the live file, reading is cheap from everywhere.
	Segments() []Segment
	// Open returns a reader of the bytes from a position on.
	Open(from uint64) (Reader, error)
	// PositionAt is a position at or before everything that was written at t or
	// later.
	PositionAt(t time.Time) uint64
	// TimeOf is when the byte at pos was first seen; zero where it is unknown.
	TimeOf(pos uint64) time.Time
	// Subscribe has wake called when something may have been written. It may be
	// called too often, and by any goroutine; it returns at once and does not
	// call back.
	Subscribe(wake func()) (cancel func())
	// Identity is another one when positions have started anew. It is part of
	// what a client keeps, so it is the same in the next server.
	Identity() string
}

// Segment is a part of a Source, from Start to before End.
type Segment struct{ Start, End uint64 }

// Reader reads bytes one after the other. At the present end it returns io.EOF,
// and may be read again later. Where bytes were removed before they were read it
// returns a *LostError once, and goes on behind them.
type Reader interface{ io.ReadCloser }

// LostError says that the bytes from From to before To can be read no more.
type LostError struct{ From, To uint64 }

func (e *LostError) Error() string {
	return fmt.Sprintf("%d bytes were removed before they were read", e.To-e.From)
}

// Named is a Source in a request.
type Named struct {
	Child string
	// Streams are those that the file is for, Out first.
	Streams []spec.StreamName
	// Format is empty where the process writes to the file itself. Where a pump
	// does, Timestamps and Prefix say what it adds to a line.
	Format             spec.Format
	Timestamps, Prefix bool
	Source             Source
}

// name is what a client knows the source by, as in "web/out+err". It is the same
// in the next server.
func (n *Named) name() string {
	var b strings.Builder
	b.WriteString(n.Child)
	separator := byte('/')
	for _, stream := range n.Streams {
		b.WriteByte(separator)
		b.WriteString(string(stream))
		separator = '+'
	}
	return b.String()
}

// namesOf are the names that sources of a child can have.
func namesOf(child string) [3]string {
	return [...]string{child + "/out+err", child + "/out", child + "/err"}
}

// stamped tells whether lines have a time of their own.
func (n *Named) stamped() bool { return n.Format != "" && n.Timestamps }

// Set is the sources of a request. It may change while the request is followed.
type Set interface {
	// Sources are in the order in which lines of the same time are sent. No two
	// have the same child and streams.
	Sources() []Named
	// Subscribe has wake called when Sources may have changed, as in
	// Source.Subscribe.
	Subscribe(wake func()) (cancel func())
}
