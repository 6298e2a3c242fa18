package control

import (
	"context"
	"errors"
	"time"

	"kita/spec"
)

// The waits between the attempts to go on with a stream that broke.
const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 2 * time.Second
)

// retries are the attempts to go on with one stream.
type retries struct {
	// answered: there was an answer, in this attempt or an earlier one.
	answered bool
	// wait is how long to wait before the next attempt.
	wait time.Duration
	// failures are the attempts since the last answer.
	failures int
}

// goOn attempts a stream again after each end, until its reader has left, which is
// no error, ctx ends, or the server refuses. reconnecting, where it is not nil,
// hears once of each time that the server does not answer at once.
func (r *retries) goOn(ctx context.Context, reconnecting func(error), attempt func() (left bool, err error)) error {
	for {
		left, err := attempt()
		if left {
			return nil
		}
		if ctx.Err() != nil || !r.mayRetry(err) {
			return err
		}
		if r.isOut() && reconnecting != nil {
			reconnecting(err)
		}
		if !pause(ctx, r.wait) {
			return context.Cause(ctx)
		}
	}
}

// heard notes a line of the answer. A stream that only begins and ends, without
// news, must not be asked for in a hurry.
func (r *retries) heard(isNews bool) {
	r.answered, r.failures = true, 0
	if isNews {
		r.wait = 0
	}
}

// mayRetry tells whether a stream that ended with err may go on, and sets when.
func (r *retries) mayRetry(err error) bool {
	r.wait = min(max(2*r.wait, firstRetry), lastRetry)
	r.failures++
	var (
		refusal     *spec.Refusal
		unreachable *Unreachable
	)
	if errors.As(err, &refusal) {
		return r.answered && refusal.Code == spec.Unavailable
	}
	return r.answered && errors.As(err, &unreachable)
}

// isOut: the server has just failed to answer for the first time. The end of a
// stream alone says nothing: after an upgrade the next server is there at once.
func (r *retries) isOut() bool { return r.failures == 2 }

// pause is false where ctx ended first.
func pause(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
