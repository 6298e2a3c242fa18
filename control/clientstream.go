package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"kita/spec"
)

// maxStreamLine bounds a line of a stream: a chunk of 64 KiB, each byte of which
// may take six in JSON, and what is said of it.
const maxStreamLine = 1 << 20

// errCut is of a stream that ended before its time, maybe within a line.
var errCut = errors.New("the stream was cut off")

// streamLines asks for a stream and calls each with what its lines say until that
// returns false, and then returns nil, as it does at an end that is whole.
func streamLines[T any](ctx context.Context, c *Client, path string, request any, silence time.Duration, whole func() bool, each func(T) bool) error {
	reading, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	alarm := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer alarm.Stop()

	response, err := c.send(reading, http.MethodPost, path, request)
	if err != nil {
		return c.endOfStream(ctx, reading, err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, maxStreamLine)
	lines.Split(wholeLines)
	for lines.Scan() {
		alarm.Reset(silence)
		if len(lines.Bytes()) == 0 {
			continue
		}
		element, err := elementOf[T](lines.Bytes())
		var refusal *spec.Refusal
		switch {
		case errors.As(err, &refusal):
			return refusal
		case err != nil:
			return fmt.Errorf("%s: a line of %s: %w", c.target, path, err)
		}
		// The caller's time with it is not the server's silence.
		alarm.Stop()
		if !each(element) {
			return nil
		}
		alarm.Reset(silence)
	}
	err = lines.Err()
	switch {
	case err == nil && whole():
		return nil
	case err == nil:
		err = &Unreachable{Host: c.target.String(), Err: errCut}
	}
	return c.endOfStream(ctx, reading, err)
}

// elementOf reads a line; the error is that which it tells of, a *spec.Refusal.
func elementOf[T any](line []byte) (element T, err error) {
	if bytes.HasPrefix(line, []byte(`{"problem":`)) {
		var end streamEnd
		if err := json.Unmarshal(line, &end); err != nil {
			return element, err
		}
		return element, end.Problem.refusal()
	}
	err = json.Unmarshal(line, &element)
	return element, err
}

// endOfStream is endOfWatch, where the time of ctx is what the server has to
// answer.
func (c *Client) endOfStream(ctx, reading context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &Unreachable{Host: c.target.String(), Err: ctx.Err()}
	}
	return c.endOfWatch(ctx, reading, err)
}

// wholeLines is a bufio.SplitFunc of lines that have arrived with their end. What
// comes after the last of them was cut off.
func wholeLines(data []byte, atEOF bool) (advance int, line []byte, err error) {
	if end := bytes.IndexByte(data, '\n'); end >= 0 {
		return end + 1, data[:end], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, errCut
	}
	return 0, nil, nil
}
