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
	return c.watch(ctx, "", watchSilence)
}

// WatchChild is Watch of one child alone, or of all where child is empty. What there
// is not, and may come to be, is not told of.
func (c *Client) WatchChild(ctx context.Context, child string) iter.Seq2[spec.Change, error] {
	return c.watch(ctx, child, watchSilence)
}

func (c *Client) watch(ctx context.Context, child string, silence time.Duration) iter.Seq2[spec.Change, error] {
	return func(yield func(spec.Change, error) bool) {
		each := func(change spec.Change) bool {
			isOther := child != "" && change.Type != spec.Synced && change.View.Name != child
			return isOther || yield(change, nil)
		}
		path, err := "/v1/watch", error(nil)
		if child != "" {
			path, err = childPath("", child, "/watch")
		}
		if err == nil {
			err = c.stream(ctx, path, silence, each)
		}
		var refusal *spec.Refusal
		if errors.As(err, &refusal) && refusal.Code == codeNoSuchPath && child != "" {
			// A server of a former version tells of all of them.
			err = c.stream(ctx, "/v1/watch", silence, each)
		}
		if err != nil {
			yield(spec.Change{}, err)
		}
	}
}

// stream calls each until it returns false, and then returns nil.
func (c *Client) stream(ctx context.Context, path string, silence time.Duration, each func(spec.Change) bool) error {
	watching, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	alarm := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer alarm.Stop()

	response, err := c.send(watching, http.MethodGet, path, nil)
	if err != nil {
		return c.endOfWatch(ctx, watching, err)
	}
	defer response.Body.Close()
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
