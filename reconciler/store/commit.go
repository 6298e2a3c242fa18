package store

import (
	"context"
	"fmt"
	"os"
	"slices"
)

// write is one caller's change.
type write struct {
	record record
	line   []byte
}

// batch is the writes that share one fdatasync. It is open, to be joined, for
// as long as the batch before it is being written.
type batch struct {
	writes []*write      // Store.mu, until the batch is taken
	done   chan struct{} // closed once err is final
	err    error
}

func newBatch() *batch { return &batch{done: make(chan struct{})} }

// commit makes r durable. The first of a batch's callers to get the disk writes
// for all of them, so no goroutine is needed and nobody waits for more than
// the write before his and his own.
//
// A ctx that ends while the change waits for its turn withdraws it; once it is
// being written the answer of the disk is waited for, because only that tells
// whether the change is in force.
func (s *Store) commit(ctx context.Context, r record) error {
	line, err := encodeLine(r)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	w := &write{record: r, line: line}
	b := s.join(w)
	select {
	case s.disk <- struct{}{}:
		s.writeBatch(b)
		<-s.disk
	case <-b.done:
	case <-ctx.Done():
		if s.withdraw(b, w) {
			return ctx.Err()
		}
	}
	<-b.done
	return b.err
}

func (s *Store) join(w *write) *batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open.writes = append(s.open.writes, w)
	return s.open
}

// withdraw takes w out of b, unless b has been taken.
func (s *Store) withdraw(b *batch, w *write) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open != b {
		return false
	}
	b.writes = slices.DeleteFunc(b.writes, func(other *write) bool { return other == w })
	return true
}

// writeBatch writes b unless that has been done. The caller holds the disk.
func (s *Store) writeBatch(b *batch) {
	s.mu.Lock()
	if s.open != b {
		s.mu.Unlock()
		return
	}
	s.open = newBatch()
	s.mu.Unlock()

	b.err = s.write(b.writes)
	close(b.done)
	s.compact()
}

// write makes writes durable and applies them. The caller holds the disk.
func (s *Store) write(writes []*write) error {
	if s.closed {
		return os.ErrClosed
	}
	var lines []byte
	for _, w := range writes {
		lines = append(lines, w.line...)
	}
	err := s.writeWhere(lines)
	s.setErr(&s.journalErr, err, "desired state")
	if err != nil {
		return fmt.Errorf("save desired state: %w", err)
	}
	for _, w := range writes {
		s.state.apply(w.record)
	}
	return nil
}

// compact rewrites a journal that has grown out of proportion. Its failure
// costs nobody a change: the old file goes on. The caller holds the disk.
func (s *Store) compact() {
	if s.closed || !s.journal.outgrown() {
		return
	}
	if err := s.journal.rewrite(&s.state, nil); err != nil {
		// Not at every write from now on, but when it has doubled.
		s.journal.base = s.journal.size / 2
		s.log.Warn("cannot compact the journal", "dir", s.stateDir, "error", err)
	}
}

// setErr remembers in *slot how the last write of its kind went. Only a change
// for the worse or the better is news.
func (s *Store) setErr(slot *error, err error, what string) {
	s.mu.Lock()
	was := *slot
	*slot = err
	s.mu.Unlock()
	switch {
	case err != nil && was == nil:
		s.log.Error("cannot save", "what", what, "error", err)
	case err == nil && was != nil:
		s.log.Info("can save again", "what", what)
	}
}
