package history

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kita/spec"
)

// crowd are many who read a history at once.
type crowd struct {
	t *testing.T
	h *History
	// inside counts those that read, most how many did at once, told those that have
	// had all there was.
	inside, most, told atomic.Int64
	// reading, where it is not nil, holds up each that reads until it is closed.
	reading chan struct{}
}

// readable is asked by a reader while it reads.
func (c *crowd) readable(string) bool {
	now := c.inside.Add(1)
	for most := c.most.Load(); now > most && !c.most.CompareAndSwap(most, now); {
		most = c.most.Load()
	}
	defer c.inside.Add(-1)
	if c.reading != nil {
		<-c.reading
	}
	return true
}

// joins has one more read; ended gets what came of it. take is called with each
// batch.
func (c *crowd) joins(ctx context.Context, r spec.EventRequest, take func()) (ended chan error) {
	ended = make(chan error, 1)
	go func() {
		ended <- c.h.Send(ctx, r, c.readable, func(batch []spec.Event) error {
			if batch[0].Type == spec.EventCaughtUp {
				c.told.Add(1)
				return nil
			}
			take()
			return nil
		})
	}()
	return ended
}

func following() spec.EventRequest {
	return spec.EventRequest{Children: []string{spec.All}, Follow: true}
}

func newCrowd(t *testing.T, events int) *crowd {
	c := &crowd{t: t, h: open(t, t.TempDir())}
	for i := range events {
		c.h.Add(started("web", uint64(i+1)))
	}
	c.h.Flush(t.Context())
	return c
}

func (c *crowd) want(what string, got, want int64) {
	c.t.Helper()
	if got != want {
		c.t.Errorf("%s: %d, want %d", what, got, want)
	}
}

// A hundred that begin at once take turns, and all get all.
func TestFewReadAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const followers, events = 100, 3 * maxBatch
		c := newCrowd(t, events)
		c.reading = make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		var batches atomic.Int64
		var ends []chan error
		for range followers {
			ends = append(ends, c.joins(ctx, following(), func() { batches.Add(1) }))
		}
		synctest.Wait()
		c.want("reading at the beginning", c.inside.Load(), maxReaders)
		close(c.reading)
		synctest.Wait()
		c.want("reading at once", c.most.Load(), maxReaders)
		c.want("told that all has come", c.told.Load(), followers)
		c.want("batches", batches.Load(), followers*events/maxBatch)
		c.want("places that are free", int64(len(c.h.places)), maxReaders)

		// All hear of what comes then.
		c.h.Add(started("web", events+1))
		c.h.Flush(ctx)
		synctest.Wait()
		c.want("batches then", batches.Load(), followers*(events/maxBatch+1))
		cancel()
		for _, end := range ends {
			if err := <-end; err != nil {
				t.Error(err)
			}
		}
		c.h.Close()
	})
}

// Clients that take nothing hold up nobody, however many they are.
func TestSlowClientsTakeNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 3*maxBatch)
		taken := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		for range 3 * maxReaders {
			c.joins(ctx, following(), func() { <-taken })
		}
		synctest.Wait()
		c.want("told that all has come", c.told.Load(), 0)
		if got := len(readAll(t, c.h)); got != 3*maxBatch {
			t.Errorf("another reader has %d events", got)
		}
		// What they have read before still comes to them whole.
		close(taken)
		synctest.Wait()
		c.want("told that all has come in the end", c.told.Load(), 3*maxReaders)
		cancel()
		synctest.Wait()
		c.h.Close()
	})
}

// One that goes away while it waits, or while it reads, leaves its place to others.
func TestAReaderThatGoesAwayLeavesItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 3*maxBatch)
		c.reading = make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		tail := maxBatch
		var ends []chan error
		for range maxReaders {
			ends = append(ends, c.joins(ctx, following(), func() {}))
		}
		synctest.Wait()
		for range maxReaders {
			r := following()
			r.Tail = &tail
			ends = append(ends, c.joins(ctx, r, func() {}))
		}
		synctest.Wait()
		c.want("reading", c.inside.Load(), maxReaders)
		cancel()
		// Those that wait are gone before anybody has left.
		for _, end := range ends[maxReaders:] {
			if err := <-end; err != nil {
				t.Error(err)
			}
		}
		c.want("places that are free meanwhile", int64(len(c.h.places)), 0)
		close(c.reading)
		for _, end := range ends[:maxReaders] {
			if err := <-end; err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		c.want("places that are free", int64(len(c.h.places)), maxReaders)
		c.h.Close()
	})
}

// One that follows a history that has no file yet takes no place while it waits.
func TestAReaderWithoutAFileTakesNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 0)
		c.h.path += ".gone"
		ctx, cancel := context.WithCancel(t.Context())
		c.joins(ctx, following(), func() {})
		synctest.Wait()
		c.want("places that are free", int64(len(c.h.places)), maxReaders)
		cancel()
		synctest.Wait()
		c.h.Close()
	})
}

// A reader has given its buffer up to others again and again: nothing is missing,
// nothing comes twice, nothing is of another line.
func TestReadersThatTakeTurnsReadAll(t *testing.T) {
	c := newCrowd(t, 0)
	e := started("web", 1)
	for i := range 20 * maxBatch {
		e.Incarnation, e.Message = uint64(i+1), strings.Repeat("x", i%900)
		c.h.Add(e)
	}
	done := make(chan error, 2*maxReaders)
	for range 2 * maxReaders {
		go func() {
			next := uint64(1)
			done <- c.h.Send(t.Context(), all(), anybody, func(batch []spec.Event) error {
				for _, e := range batch {
					if e.Type == spec.EventCaughtUp {
						continue
					}
					if e.Seq != next || e.Incarnation != next || e.Message != strings.Repeat("x", int(next-1)%900) {
						t.Errorf("%d is %+v", next, e)
					}
					next++
				}
				return nil
			})
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// The time that was asked for is about what there is: what happens then is told
// although the clock was set back before it.
func TestAClockThatIsSetBackHidesNoNews(t *testing.T) {
	now := time.Now()
	h := open(t, t.TempDir())
	old := spec.Event{Child: "web", Type: spec.EventStarted, At: now.Add(-2 * time.Hour)}
	h.Add(old, spec.Event{Child: "web", Type: spec.EventExited, At: now})
	for _, r := range []spec.EventRequest{
		{Children: []string{"web"}, Follow: true, Since: now.Add(-time.Hour)},
		{Children: []string{"web"}, Follow: true, Age: spec.Duration(time.Hour)},
	} {
		follow := newFollower(t, h, r)
		next := h.latest() + 1
		if e := <-follow.events; e.Seq != 2 {
			t.Errorf("the first is %d", e.Seq)
		}
		for e := range follow.events {
			if e.Type == spec.EventCaughtUp {
				break
			}
			// Of the round before, and not in the time.
			t.Errorf("%d is too old", e.Seq)
		}
		h.Add(old)
		if e := <-follow.events; e.Seq != next {
			t.Errorf("got %d, want %d", e.Seq, next)
		}
		follow.leave()
	}
}
