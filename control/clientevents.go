package control

import (
	"context"
	"iter"
	"time"

	"kita/spec"
)

// Events yields the events that r asks for, oldest first: what there is, one of the
// type EventCaughtUp, and with r.Follow what happens then. It ends with an error of
// the classes of Client where it ends before its time, which with r.Follow is at any
// time: see FollowEvents.
func (c *Client) Events(ctx context.Context, r spec.EventRequest) iter.Seq2[spec.Event, error] {
	return func(yield func(spec.Event, error) bool) {
		err := c.streamEvents(ctx, r, watchSilence, func(e spec.Event) bool { return yield(e, nil) })
		if err != nil {
			yield(spec.Event{}, err)
		}
	}
}

// streamEvents is streamLogs for events.
func (c *Client) streamEvents(ctx context.Context, r spec.EventRequest, silence time.Duration, each func(spec.Event) bool) error {
	caughtUp := false
	whole := func() bool { return caughtUp && !r.Follow }
	return streamLines(ctx, c, "/v1/events", r, silence, whole, func(e spec.Event) bool {
		caughtUp = caughtUp || e.Type == spec.EventCaughtUp
		return each(e)
	})
}

// FollowEvents is Events with Follow, beyond the end of a stream: it asks again,
// and goes on after the last event that it has yielded, until ctx ends. So nothing
// is missing and nothing comes twice, however often the server is killed or
// upgraded; EventCaughtUp comes once for each stream. Its error is that of the first
// attempt, a refusal, or the context's.
//
// reconnecting, where it is not nil, hears once of each time that the server does
// not answer at once.
func (c *Client) FollowEvents(ctx context.Context, r spec.EventRequest, reconnecting func(error)) iter.Seq2[spec.Event, error] {
	return func(yield func(spec.Event, error) bool) {
		f := eventFollowing{request: r, began: time.Now()}
		f.request.Follow = true
		err := f.goOn(ctx, reconnecting, func() (left bool, err error) {
			err = c.streamEvents(ctx, f.next(), watchSilence, func(e spec.Event) bool {
				f.note(e)
				left = !yield(e, nil)
				return !left
			})
			return left, err
		})
		if err != nil {
			yield(spec.Event{}, err)
		}
	}
}

// eventFollowing is how far one FollowEvents has come.
type eventFollowing struct {
	retries
	request  spec.EventRequest
	began    time.Time
	caughtUp bool
}

// next is what is asked for now. Once all that there was has come, whatever else
// there is is news; before, what was cut off is asked for behind the last that
// came.
func (f *eventFollowing) next() spec.EventRequest {
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
func (f *eventFollowing) note(e spec.Event) {
	f.heard(e.Type != spec.EventCaughtUp)
	f.caughtUp = f.caughtUp || e.Type == spec.EventCaughtUp
	// That of a history that was begun anew may be smaller.
	f.request.After = e.Seq
}
