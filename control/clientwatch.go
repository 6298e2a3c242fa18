package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"time"

	"kita/spec"
)

// errSilent ends a watch whose server sends not even heartbeats.
var errSilent = errors.New("the watch fell silent")

// Watch yields the changes as they come: every child that exists, a Synced,
// then what changes. It ends with an error, of the classes of Client, when the
// stream does; when the loop that reads it is left, it just ends.
func (c *Client) Watch(ctx context.Context) iter.Seq2[spec.Change, error] {
	return c.watch(ctx, "", 0, watchSilence)
}

// WatchChild is Watch of one child alone, or of all where child is empty. What there
// is not, and may come to be, is not told of.
func (c *Client) WatchChild(ctx context.Context, child string) iter.Seq2[spec.Change, error] {
	return c.watch(ctx, child, 0, watchSilence)
}

// WatchClosely is WatchChild for somebody who looks at what it tells: that the server
// hangs ends it within seconds. A server of a former version has as long as with the
// others.
func (c *Client) WatchClosely(ctx context.Context, child string) iter.Seq2[spec.Change, error] {
	return c.watch(ctx, child, closeHeartbeat, watchSilence)
}

// watch asks for that heartbeat, where it is not 0. silence is how long the server may
// say nothing where it has another one.
func (c *Client) watch(ctx context.Context, child string, heartbeat, silence time.Duration) iter.Seq2[spec.Change, error] {
	return func(yield func(spec.Change, error) bool) {
		each := func(change spec.Change) bool {
			isOther := child != "" && change.Type != spec.Synced && change.View.Name != child
			return isOther || yield(change, nil)
		}
		path, err := "/v1/watch", error(nil)
		if child != "" {
			path, err = childPath("", child, "/watch")
			if spec.ValidName(child) != nil {
				// A server would refuse it in other words than a child that is not there.
				err = NoSuchChild("", child)
			}
		}
		if err == nil {
			err = c.stream(ctx, path, heartbeat, silence, each)
		}
		var refusal *spec.Refusal
		if errors.As(err, &refusal) && refusal.Code == codeNoSuchPath && child != "" {
			// A server of a former version tells of all of them.
			err = c.stream(ctx, "/v1/watch", heartbeat, silence, each)
		}
		if err != nil {
			yield(spec.Change{}, err)
		}
	}
}

// stream calls each until it returns false, and then returns nil.
func (c *Client) stream(ctx context.Context, path string, heartbeat, silence time.Duration, each func(spec.Change) bool) error {
	watching, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	alarm := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer alarm.Stop()

	request, err := c.request(watching, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	if heartbeat > 0 {
		request.Header.Set(preferHeader, heartbeatPreference(heartbeat))
	}
	response, err := c.exchange(watching, request)
	if err != nil {
		return c.endOfWatch(ctx, watching, err)
	}
	defer response.Body.Close()
	if heartbeat > 0 && response.Header.Get(appliedHeader) == heartbeatPreference(heartbeat) {
		silence = missedBeats * heartbeat
		alarm.Reset(silence)
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		alarm.Reset(silence)
		if len(lines.Bytes()) == 0 {
			continue
		}
		var change spec.Change
		if err := json.Unmarshal(lines.Bytes(), &change); err != nil {
			return fmt.Errorf("%s: a line of the watch: %w", c.target, err)
		}
		// The caller's time with a change is not the server's silence.
		alarm.Stop()
		if !each(change) {
			return nil
		}
		alarm.Reset(silence)
	}
	err = lines.Err()
	if err == nil {
		err = &Unreachable{Host: c.target.String(), Err: io.ErrUnexpectedEOF}
	}
	return c.endOfWatch(ctx, watching, err)
}

// endOfWatch tells the three ends apart: the caller's context, the silence, and
// what the connection said.
func (c *Client) endOfWatch(ctx, watching context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if cause := context.Cause(watching); cause != nil {
		return &Unreachable{Host: c.target.String(), Err: cause}
	}
	var (
		refusal     *spec.Refusal
		unreachable *Unreachable
		notHTTP     *NotHTTP
	)
	if errors.As(err, &refusal) || errors.As(err, &unreachable) || errors.As(err, &notHTTP) {
		return err
	}
	return c.explain(ctx, err)
}
