package control

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httputil"
	"slices"
	"time"

	"kita/spec"
)

// watch streams the changes, a JSON object a line, and an empty line whenever
// nothing changed for a while, so that both sides notice when the other is
// gone. A client that does not read within Timing.Write is cut off; the Service
// coalesces meanwhile, so it costs nobody anything.
func (a *api) watch(w http.ResponseWriter, r *http.Request, _ []byte) {
	a.writeWithin(w)
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	stream := http.NewResponseController(w)
	if r.Method == http.MethodHead || stream.Flush() != nil {
		return
	}
	s := changeStream{a: a, told: map[string]bool{}, write: func(line []byte) error {
		a.writeWithin(w)
		if _, err := w.Write(line); err != nil {
			return err
		}
		return stream.Flush()
	}}
	if s.run(r.Context()) {
		a.surrender(w, r, Handed{Stage: StageWatch, Chunked: r.ProtoAtLeast(1, 1), Watched: s.names()})
	}
}

// resumeWatch goes on with a watch that an earlier server began. Its client is
// sent every child once more, and what is gone by now.
func (s *Server) resumeWatch(c *conn, h Handed) {
	var out io.Writer = c.Conn
	if h.Chunked {
		out = httputil.NewChunkedWriter(c.Conn)
	}
	stream := changeStream{a: s.answers, told: map[string]bool{}, missing: map[string]bool{}, write: func(line []byte) error {
		_ = c.SetWriteDeadline(time.Now().Add(s.opt.Timing.Write))
		_, err := out.Write(line)
		return err
	}}
	for _, name := range h.Watched {
		stream.told[name], stream.missing[name] = true, true
	}
	if stream.run(s.base) {
		h.Watched = stream.names()
		s.surrender(c, h)
		return
	}
	if h.Chunked {
		// The last chunk, of length 0, and an empty trailer.
		_, _ = fmt.Fprint(c.Conn, "0\r\n\r\n")
	}
	s.finish(c)
	s.linger(c)
}

// changeStream writes the changes to one client.
type changeStream struct {
	a     *api
	write func(line []byte) error
	// told are the children that the client knows of; missing those that it was
	// told of by an earlier server and that have not been seen by this one.
	told, missing map[string]bool
}

func (s *changeStream) names() []string { return slices.Sorted(maps.Keys(s.told)) }

// run returns when the stream is at its end, or with true when another server
// is to go on with it.
func (s *changeStream) run(ctx context.Context) (handOver bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes := s.a.svc.Watch(ctx)
	heartbeat := time.NewTicker(s.a.opt.Timing.Heartbeat)
	defer heartbeat.Stop()
	for {
		select {
		case <-s.a.handing.Done():
			return true
		default:
		}
		select {
		case change, open := <-changes:
			if !open || !s.send(change) {
				return false
			}
			heartbeat.Reset(s.a.opt.Timing.Heartbeat)
		case <-heartbeat.C:
			if s.write([]byte("\n")) != nil {
				return false
			}
		case <-s.a.handing.Done():
			return true
		case <-s.a.quit.Done():
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// send writes a change; before the first Synced of a resumed watch also what
// was removed meanwhile.
func (s *changeStream) send(change spec.Change) bool {
	switch name := change.View.Name; change.Type {
	case spec.Present:
		s.told[name] = true
		delete(s.missing, name)
	case spec.Removed:
		delete(s.told, name)
		delete(s.missing, name)
	case spec.Synced:
		for _, name := range slices.Sorted(maps.Keys(s.missing)) {
			if !s.send(spec.Change{Type: spec.Removed, View: spec.View{Name: name}}) {
				return false
			}
		}
	}
	line, err := json.Marshal(change)
	if err != nil {
		s.a.opt.Logger.Error("cannot encode a change", "child", change.View.Name, "error", err)
		return false
	}
	return s.write(append(line, '\n')) == nil
}
