package control

import (
	"context"
	"iter"
	"maps"
	"time"

	"kita/spec"
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
		err := f.goOn(ctx, reconnecting, func() (left bool, err error) {
			err = c.streamLogs(ctx, f.next(), watchSilence, func(chunk spec.LogChunk) bool {
				f.note(chunk)
				left = !yield(chunk, nil)
				return !left
			})
			return left, err
		})
		if err != nil {
			yield(spec.LogChunk{}, err)
		}
	}
}

// following is how far one FollowLogs has come.
type following struct {
	retries
	request  spec.LogRequest
	began    time.Time
	caughtUp bool
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
	f.heard(chunk.Text != "" || len(chunk.Bytes) > 0)
	f.caughtUp = f.caughtUp || chunk.CaughtUp
	if chunk.Source != "" && chunk.Next != "" {
		if f.request.After == nil {
			f.request.After = map[string]string{}
		}
		f.request.After[chunk.Source] = chunk.Next
	}
}
