package control

import (
	"context"
	"net/http"

	"kita/spec"
)

// logs streams the output of children, a chunk a line. The client goes on at the
// next server after the last chunk that arrived.
func (a *api) logs(w http.ResponseWriter, r *http.Request, body []byte) error {
	who := askerOf(r.Context())
	request, err := a.logRequest(who, body)
	if err != nil {
		return err
	}
	s := a.newStream(w, who, verbLogs, request.Children)
	return s.run(r.Context(), func(ctx context.Context) error {
		return a.svc.Logs(ctx, request, s.mayRead, func(chunk spec.LogChunk) error { return s.sendChunk(ctx, chunk) })
	})
}

// sendChunk writes a chunk, unless it is of a child that may no longer be read.
func (s *stream) sendChunk(ctx context.Context, chunk spec.LogChunk) error {
	if chunk.Child != "" && !s.mayRead(chunk.Child) {
		if s.named != nil {
			return s.unreadable
		}
		return nil
	}
	line, err := lineOf(chunk)
	if err != nil {
		return err
	}
	return s.send(ctx, line)
}
