package control

import (
	"bytes"
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"time"

	"kita/spec"
)

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
	caughtUp := false
	whole := func() bool { return caughtUp && !r.Follow }
	return streamLines(ctx, c, "/v1/logs", r, silence, whole, func(chunk spec.LogChunk) bool {
		caughtUp = caughtUp || chunk.CaughtUp
		return each(chunk)
	})
}
