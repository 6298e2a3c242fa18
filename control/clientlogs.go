package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"time"

	"kita/spec"
)

// maxLogLine bounds a line of a stream: a chunk of 64 KiB, each byte of which
// may take six in JSON, and what is said of it.
const maxLogLine = 1 << 20

// errCut is of a stream that ended before its time, maybe within a line.
var errCut = errors.New("the stream was cut off")

// Output returns the output files of a child; none where it writes to the
// server's own output.
func (c *Client) Output(ctx context.Context, child string) ([]spec.OutputFile, error) {
	var answer outputAnswer
	q, err := outputQuestion(child, &answer)
	if err == nil {
		err = c.call(ctx, http.MethodGet, q.path, nil, q.answer, q.sound)
	}
	return answer.Files, err
}

func outputQuestion(child string, answer *outputAnswer) (question, error) {
	path, err := childPath("", child, "/output")
	return question{path, answer, func() bool { return answer.Files != nil }}, err
}

// read knows the answer of a child that has no files without encoding/json.
func (a *outputAnswer) read(content []byte) error {
	if string(bytes.TrimSpace(content)) == `{"files":[]}` {
		a.Files = []spec.OutputFile{}
		return nil
	}
	return json.Unmarshal(content, a)
}

// Rotate makes archives of what the output files of a child hold, or of every
// child's for spec.All, and returns them.
func (c *Client) Rotate(ctx context.Context, child string) ([]spec.Archive, error) {
	path := "/v1/rotate"
	if child != spec.All {
		var err error
		if path, err = childPath(verbRotate, child, "/rotate"); err != nil {
			return nil, err
		}
	}
	var answer rotateAnswer
	err := c.call(ctx, http.MethodPost, path, struct{}{}, &answer, func() bool { return answer.Archives != nil })
	return answer.Archives, err
}

// Logs yields the output of children as it comes: what there is, a chunk with
// CaughtUp, and with r.Follow what is written then. It ends with an error of the
// classes of Client where it ends before its time, which with r.Follow is at any
// time: see FollowLogs. The loop that reads it may take as long as it likes.
func (c *Client) Logs(ctx context.Context, r spec.LogRequest) iter.Seq2[spec.LogChunk, error] {
	return func(yield func(spec.LogChunk, error) bool) {
		err := c.streamLogs(ctx, r, watchSilence, func(chunk spec.LogChunk) bool { return yield(chunk, nil) })
		if err != nil {
			yield(spec.LogChunk{}, err)
		}
	}
}

// streamLogs calls each until it returns false, and then returns nil, as it does
// at the end of what does not follow.
func (c *Client) streamLogs(ctx context.Context, r spec.LogRequest, silence time.Duration, each func(spec.LogChunk) bool) error {
	reading, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	alarm := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer alarm.Stop()

	response, err := c.send(reading, http.MethodPost, "/v1/logs", r)
	if err != nil {
		return c.endOfLogs(ctx, reading, err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, maxLogLine)
	lines.Split(wholeLines)
	caughtUp := false
	for lines.Scan() {
		alarm.Reset(silence)
		if len(lines.Bytes()) == 0 {
			continue
		}
		var line struct {
			spec.LogChunk
			Problem *Problem `json:"problem"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return fmt.Errorf("%s: a line of the logs: %w", c.target, err)
		}
		if line.Problem != nil {
			return line.Problem.refusal()
		}
		caughtUp = caughtUp || line.CaughtUp
		// The caller's time with a chunk is not the server's silence.
		alarm.Stop()
		if !each(line.LogChunk) {
			return nil
		}
		alarm.Reset(silence)
	}
	err = lines.Err()
	switch {
	case err == nil && caughtUp && !r.Follow:
		return nil
	case err == nil:
		err = &Unreachable{Host: c.target.String(), Err: errCut}
	}
	return c.endOfLogs(ctx, reading, err)
}

// endOfLogs is endOfWatch, where the time of ctx is what the server has to answer.
func (c *Client) endOfLogs(ctx, reading context.Context, err error) error {
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
