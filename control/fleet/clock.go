package fleet

import (
	"context"
	"sync"
	"time"
)

// Suspend stops the time of the host that ctx was made for by a Stream, until
// resume is called, once: nobody is to be late because the user is asked
// something. With any other ctx it does nothing.
func Suspend(ctx context.Context) (resume func()) {
	c, ok := ctx.Value(clockKey{}).(*clock)
	if !ok {
		return func() {}
	}
	c.suspend()
	return c.resume
}

type clockKey struct{}

// clock is the context of one host. It ends with the one it is made of, or after
// its time, which a context.WithTimeout could not stop.
type clock struct {
	context.Context
	done  chan struct{} // closed when err is there
	timer *time.Timer

	mu      sync.Mutex
	err     error         // owned by mu
	waiting int           // owned by mu: how many have suspended it
	left    time.Duration // owned by mu: the time there was at since
	since   time.Time     // owned by mu
}

// withClock returns a context that lasts as long as limit, if not suspended.
// cancel frees what belongs to it.
func withClock(ctx context.Context, limit time.Duration) (_ context.Context, cancel func()) {
	c := &clock{Context: ctx, done: make(chan struct{}), left: limit, since: time.Now()}
	c.timer = time.AfterFunc(limit, c.expire)
	detach := context.AfterFunc(ctx, func() { c.end(ctx.Err()) })
	return c, func() {
		detach()
		c.timer.Stop()
		c.end(context.Canceled)
	}
}

func (c *clock) Done() <-chan struct{} { return c.done }

// Deadline is when the time will be over, if nobody suspends it before: package
// net divides what is left among the addresses of a host.
func (c *clock) Deadline() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting > 0 {
		return time.Time{}, false
	}
	return c.since.Add(c.left), true
}

func (c *clock) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *clock) Value(key any) any {
	if key == (clockKey{}) {
		return c
	}
	return c.Context.Value(key)
}

func (c *clock) suspend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting++
	if c.waiting == 1 {
		c.timer.Stop()
		c.left -= time.Since(c.since)
	}
}

func (c *clock) resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting--
	if c.waiting == 0 && c.err == nil {
		c.since = time.Now()
		c.timer.Reset(c.left)
	}
}

func (c *clock) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	// It may have been suspended when the timer had just fired.
	if c.waiting == 0 {
		c.endLocked(context.DeadlineExceeded)
	}
}

func (c *clock) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLocked(err)
}

// endLocked needs mu.
func (c *clock) endLocked(err error) {
	if c.err == nil {
		c.err = err
		close(c.done)
	}
}
