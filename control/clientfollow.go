package control

import (
	"context"
	"errors"
	"iter"
	"maps"
	"time"

	"kita/spec"
)

// The waits between the attempts to go on with a stream that broke.
const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 2 * time.Second
)

// FollowLogs is Logs with Follow, beyond the end of a stream: it asks again, and
// goes on after the last chunk that it has yielded, until ctx ends. So nothing
// is missing and nothing comes twice, however often the server is killed. Its
// error is that of the first attempt, a refusal, or the context's.
//
// reconnecting, where it is not nil, hears once of each time that the server
// does not answer at once.
func (c *Client) FollowLogs(ctx context.Context, r spec.LogRequest, reconnecting func(error)) iter.Seq2[spec.LogChunk, error] {
	return func(yield func(spec.LogChunk, error) bool) {
		f := following{request: r, began: time.Now()}
		f.request.Follow = true
		f.request.After = maps.Clone(r.After)
		for {
			left := false
			err := c.streamLogs(ctx, f.next(), watchSilence, func(chunk spec.LogChunk) bool {
				f.note(chunk)
				left = !yield(chunk, nil)
				return !left
			})
			if left {
				return
			}
			if ctx.Err() != nil || !f.mayRetry(err) {
				yield(spec.LogChunk{}, err)
				return
			}
			if f.isOut() && reconnecting != nil {
				reconnecting(err)
			}
			if !pause(ctx, f.wait) {
				yield(spec.LogChunk{}, context.Cause(ctx))
				return
			}
		}
	}
}

// following is how far one FollowLogs has come.
type following struct {
	request spec.LogRequest
	began   time.Time
	// answered: there was an answer, in this attempt or an earlier one.
	answered bool
	caughtUp bool
	// wait is how long to wait before the next attempt.
	wait time.Duration
	// failures are the attempts since the last answer.
	failures int
}

// next is what is asked for now. Once all that there was has come, a source that
// is not known is a new one, of which everything is wanted.
func (f *following) next() spec.LogRequest {
	r := f.request
	switch {
	case f.caughtUp:
		r.Tail, r.Since, r.Age = nil, time.Time{}, 0
	case r.Age > 0:
		r.Age += spec.Duration(time.Since(f.began))
	}
	return r
}

// note takes down what has arrived.
func (f *following) note(chunk spec.LogChunk) {
	f.answered, f.failures = true, 0
	f.caughtUp = f.caughtUp || chunk.CaughtUp
	if chunk.Source != "" && chunk.Next != "" {
		if f.request.After == nil {
			f.request.After = map[string]string{}
		}
		f.request.After[chunk.Source] = chunk.Next
	}
	// A stream that only begins and ends must not be asked for in a hurry.
	if chunk.Text != "" || len(chunk.Bytes) > 0 {
		f.wait = 0
	}
}

// mayRetry tells whether a stream that ended with err may go on, and sets when.
func (f *following) mayRetry(err error) bool {
	f.wait = min(max(2*f.wait, firstRetry), lastRetry)
	f.failures++
	var (
		refusal     *spec.Refusal
		unreachable *Unreachable
	)
	if errors.As(err, &refusal) {
		return f.answered && refusal.Code == spec.Unavailable
	}
	return f.answered && errors.As(err, &unreachable)
}

// isOut: the server has just failed to answer for the first time. The end of a
// stream alone says nothing: after an upgrade the next server is there at once.
func (f *following) isOut() bool { return f.failures == 2 }

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
