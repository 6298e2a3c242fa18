package history

import "context"

// maxReaders is how many read the file at once. Any number may follow: they wait for
// their turn, so that a hundred who begin together take no more of the processors,
// and of memory, than these few.
const maxReaders = 4

// places are those of the readers, each with the buffer that it reads with. Who has
// waited longest is next, and nobody has one while a client takes what was read.
type places chan *lines

func newPlaces(n int) places {
	p := make(places, n)
	for range n {
		p <- &lines{}
	}
	return p
}

// enter waits for a place, unless the reader has one.
func (v *reader) enter(ctx context.Context) error {
	if v.lines != nil {
		return nil
	}
	select {
	case v.lines = <-v.h.places:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave lets go of the place, if the reader has one. What is in its buffer is lost.
func (v *reader) leave() {
	if v.lines != nil {
		v.h.places <- v.lines
		v.lines = nil
	}
}
