package control

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httputil"
	"reflect"
	"slices"
	"time"

	"kita/spec"
)

// watch streams the changes, a JSON object a line, and an empty line whenever
// nothing changed for a while, so that both sides notice when the other is
// gone. A client that has to notice sooner asks for a shorter while. A client that does not read within Timing.Write is cut off; the Service
// coalesces meanwhile, so it costs nobody anything.
func (a *api) watch(w http.ResponseWriter, r *http.Request, _ []byte) error {
	who, only := askerOf(r.Context()), r.PathValue("name")
	if only != "" {
		if err := cannotWatch(only); err != nil {
			return err
		}
	}
	// The line is written now, because a watch does not end by itself.
	a.gate.record(who, verbWatch, nameOf(verbWatch, only), resultOK, "")
	a.writeWithin(w)
	w.Header().Set("Content-Type", "application/x-ndjson")
	heartbeat := preferredHeartbeat(r.Header, a.opt.Timing.Heartbeat)
	if heartbeat > 0 {
		w.Header().Set(appliedHeader, heartbeatPreference(heartbeat))
	}
	w.WriteHeader(http.StatusOK)
	stream := http.NewResponseController(w)
	if r.Method == http.MethodHead || stream.Flush() != nil {
		return errRecorded
	}
	s := changeStream{a: a, asker: who, only: only, heartbeat: heartbeat, told: map[string]bool{}, write: func(line []byte) error {
		a.writeWithin(w)
		if _, err := w.Write(line); err != nil {
			return err
		}
		return stream.Flush()
	}}
	if s.run(r.Context()) {
		return a.surrender(w, r, Handed{Stage: StageWatch, Chunked: r.ProtoAtLeast(1, 1), Only: s.only, Heartbeat: s.heartbeat, Watched: s.names()})
	}
	return errRecorded
}

// cannotWatch tells why there never is a child of that name to tell of: who asked
// would believe that nothing changes.
func cannotWatch(name string) error {
	if name == spec.All {
		return spec.Refuse(spec.BadRequest, verbWatch, name, "watch %s: that is no child, the changes of all are at /v1/watch", name)
	}
	if err := spec.ValidName(name); err != nil {
		return spec.Refuse(spec.BadRequest, verbWatch, name, "watch: %v", err)
	}
	return nil
}

// resumeWatch goes on with a watch that an earlier server began. Its client is
// sent every child once more, and what is gone by now.
func (s *Server) resumeWatch(c *conn, h Handed) {
	var out io.Writer = c.Conn
	if h.Chunked {
		out = httputil.NewChunkedWriter(c.Conn)
	}
	stream := changeStream{a: s.answers, asker: c.asker, only: h.Only, heartbeat: h.Heartbeat, told: map[string]bool{}, missing: map[string]bool{}, write: func(line []byte) error {
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
	s.endWatch(c, h)
}

// endWatch ends a watch that an earlier server began.
func (s *Server) endWatch(c *conn, h Handed) {
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
	asker asker
	write func(line []byte) error
	// only is the one child that is watched; empty: all are.
	only string
	// heartbeat is what the client asked for; 0: the usual one.
	heartbeat time.Duration
	// told are the children that the client knows of; missing those that it was
	// told of by an earlier server and that have not been seen by this one.
	told, missing map[string]bool
	// access are the rules that the client was told by.
	access spec.Access
}

func (s *changeStream) names() []string { return slices.Sorted(maps.Keys(s.told)) }

// run returns when the stream is at its end, or with true when another server
// is to go on with it.
func (s *changeStream) run(ctx context.Context) (handOver bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.access = s.a.gate.config().Access
	if !isAllowed(s.access, s.asker, spec.Read, s.only) {
		return false
	}
	changes := s.a.svc.Watch(ctx)
	every := cmp.Or(s.heartbeat, s.a.opt.Timing.Heartbeat)
	heartbeat := time.NewTicker(every)
	defer heartbeat.Stop()
	for {
		select {
		case <-s.a.handing.Done():
			return true
		default:
		}
		select {
		case change, open := <-changes:
			if !open || !s.keepUp() || !s.send(change) {
				return false
			}
			heartbeat.Reset(every)
		case <-heartbeat.C:
			if !s.keepUp() || s.write([]byte("\n")) != nil {
				return false
			}
		case <-s.a.handing.Done():
			return true
		case <-s.a.quit.Done():
			s.tellEnd(changes)
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// tellEnd sends what is still to be told where the server ends with its children:
// who waits for one would take it for a server that is gone. Where they go on there
// is nothing to tell.
func (s *changeStream) tellEnd(changes <-chan spec.Change) {
	select {
	case <-s.a.svc.Ended():
	default:
		return
	}
	for change := range changes {
		if !s.keepUp() || !s.send(change) {
			return
		}
	}
}

// keepUp looks whether the rules have been edited. What the client may no longer
// read is removed for it, and what it may read now is told. It is false where
// the client may read nothing any more, or is gone.
func (s *changeStream) keepUp() bool {
	access := s.a.gate.config().Access
	if reflect.DeepEqual(access, s.access) {
		return true
	}
	s.access = access
	if s.only == "" && !isAllowed(access, s.asker, spec.Read, "") {
		return false
	}
	for _, name := range s.names() {
		if !isAllowed(access, s.asker, spec.Read, name) && !s.send(spec.Change{Type: spec.Removed, View: spec.View{Name: name}}) {
			return false
		}
	}
	// What the watch is still to tell of is told twice then, which does no harm.
	if s.only != "" && !isAllowed(access, s.asker, spec.Read, s.only) {
		return false
	}
	for _, view := range s.a.svc.List() {
		if !s.told[view.Name] && !s.send(spec.Change{Type: spec.Present, View: view}) {
			return false
		}
	}
	return true
}

// send writes a change, if the client may read it; before the first Synced of a
// resumed watch also what was removed meanwhile.
func (s *changeStream) send(change spec.Change) bool {
	if s.only != "" && change.Type != spec.Synced && change.View.Name != s.only {
		return true
	}
	switch name := change.View.Name; change.Type {
	case spec.Present:
		delete(s.missing, name)
		if !isAllowed(s.access, s.asker, spec.Read, name) {
			if !s.told[name] {
				return true
			}
			// It was told of under other rules, by an earlier server.
			change = spec.Change{Type: spec.Removed, View: spec.View{Name: name}}
			delete(s.told, name)
			break
		}
		s.told[name] = true
	case spec.Removed:
		if !s.told[name] {
			return true
		}
		delete(s.told, name)
		delete(s.missing, name)
	case spec.Synced:
		change.Now = time.Now().UTC()
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
