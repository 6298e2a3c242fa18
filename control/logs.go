package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"kita/spec"
)

// logEnd is the last line of a stream that ends because something went wrong.
type logEnd struct {
	Problem Problem `json:"problem"`
}

// logs streams the output of children, a chunk as a JSON object a line, and an
// empty line whenever there was nothing for a while, as a watch does.
//
// A reader may pause for Timing.Pause, as people do who look at what they read:
// that blocks this goroutine and nothing else. The stream ends with the server
// and is not handed over: the client asks the next one for what comes after the
// last chunk that arrived.
func (a *api) logs(w http.ResponseWriter, r *http.Request, body []byte) error {
	who := askerOf(r.Context())
	request, err := a.logRequest(who, body)
	if err != nil {
		return err
	}
	for _, child := range request.Children {
		a.gate.record(who, verbLogs, nameOf(verbLogs, child), resultOK, "")
	}
	a.gate.observe(verbLogs, resultOK)
	ctx, cancel := context.WithCancelCause(r.Context())
	s := &logStream{a: a, asker: who, named: namedIn(request), w: w, stream: http.NewResponseController(w), end: cancel}
	s.run(ctx, request)
	return errRecorded
}

// errEnding ends a stream because the server ends, or hands over.
var errEnding = spec.Refuse(spec.Unavailable, verbLogs, "", "logs: the server is about to end or to be upgraded, ask it again")

// errUnreadable ends a stream whose asker may no longer read it.
var errUnreadable = spec.Refuse(codeForbidden, verbLogs, "", "logs: the rules of access have been changed, and no longer let this be read")

// namedIn are the children that are asked for by name, nil for all.
func namedIn(r spec.LogRequest) []string {
	if r.Children[0] == spec.All {
		return nil
	}
	return r.Children
}

// logStream writes chunks to one client.
type logStream struct {
	a      *api
	asker  asker
	named  []string
	w      http.ResponseWriter
	stream *http.ResponseController
	// end ends the stream, for a cause.
	end context.CancelCauseFunc

	writing sync.Mutex // held while a line is written
	begun   bool       // owned by writing: the head of the answer was written
	failed  bool       // owned by writing: the client takes nothing any more
	last    time.Time  // owned by writing: when the last line was written
}

// run returns when the stream is at its end, which that of ctx is.
func (s *logStream) run(ctx context.Context, request spec.LogRequest) {
	var helpers sync.WaitGroup
	helpers.Go(func() { s.endWithServer(ctx) })
	helpers.Go(func() { s.beat(ctx) })
	err := s.a.svc.Logs(ctx, request, s.mayRead, func(chunk spec.LogChunk) error { return s.send(ctx, chunk) })
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	s.end(nil)
	helpers.Wait()
	s.finish(err)
}

// endWithServer ends the stream when the server ends or hands over, although a
// write may be waiting for the client.
func (s *logStream) endWithServer(ctx context.Context) {
	select {
	case <-s.a.handing.Done():
	case <-s.a.quit.Done():
	case <-ctx.Done():
		return
	}
	s.end(errEnding)
	_ = s.stream.SetWriteDeadline(longAgo)
}

// beat writes an empty line after each silence of Timing.Heartbeat, and looks
// then whether the rules have been edited.
func (s *logStream) beat(ctx context.Context) {
	silence := s.a.opt.Timing.Heartbeat
	timer := time.NewTimer(silence)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		if !s.mayGoOn() {
			s.end(errUnreadable)
			return
		}
		timer.Reset(s.beatOnce(ctx, silence))
	}
}

// beatOnce returns when to look again.
func (s *logStream) beatOnce(ctx context.Context, silence time.Duration) time.Duration {
	if !s.writing.TryLock() {
		// The client has yet to take what is being written.
		return silence
	}
	defer s.writing.Unlock()
	if left := silence - time.Since(s.last); left > 0 {
		return left
	}
	if err := s.writeLine(ctx, []byte("\n")); err != nil {
		s.end(err)
	}
	return silence
}

// mayRead tells whether the asker may read the child now.
func (s *logStream) mayRead(child string) bool {
	return isAllowed(s.a.gate.config().Access, s.asker, spec.Read, child)
}

// mayGoOn tells whether the asker may still read each child that was named, or
// any where none was.
func (s *logStream) mayGoOn() bool {
	if s.named == nil {
		return s.mayRead("")
	}
	for _, child := range s.named {
		if !s.mayRead(child) {
			return false
		}
	}
	return true
}

// send writes a chunk, unless it is of a child that may no longer be read.
func (s *logStream) send(ctx context.Context, chunk spec.LogChunk) error {
	if chunk.Child != "" && !s.mayRead(chunk.Child) {
		if s.named != nil {
			return errUnreadable
		}
		return nil
	}
	var line bytes.Buffer
	e := json.NewEncoder(&line)
	// No page shows it, and output may be full of what would be escaped for one.
	e.SetEscapeHTML(false)
	if err := e.Encode(chunk); err != nil {
		return err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.writeLine(ctx, line.Bytes())
}

// writeLine needs writing.
func (s *logStream) writeLine(ctx context.Context, line []byte) error {
	s.begin()
	_ = s.stream.SetWriteDeadline(time.Now().Add(s.a.opt.Timing.Pause))
	// Where the stream has ended meanwhile, the deadline in the past was before
	// this one.
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	_, err := s.w.Write(line)
	err = errors.Join(err, s.stream.Flush())
	s.failed = err != nil
	s.last = time.Now()
	return err
}

// begin writes the head of the answer; writing is held.
func (s *logStream) begin() {
	if !s.begun {
		s.begun = true
		s.w.Header().Set("Content-Type", "application/x-ndjson")
		s.w.WriteHeader(http.StatusOK)
	}
}

// finish ends the answer. err is why the stream is at its end, nil where all was
// sent.
func (s *logStream) finish(err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.failed || errors.Is(err, context.Canceled) {
		// There is nobody to tell.
		return
	}
	// The client has had its time.
	_ = s.stream.SetWriteDeadline(time.Now().Add(s.a.opt.Timing.Linger))
	refusal := s.refusal(err)
	switch {
	case refusal == nil, s.begun && refusal == errEnding:
		s.begin()
	case !s.begun:
		s.a.problem(s.w, refusal)
	default:
		line, _ := json.Marshal(logEnd{problemOf(refusal)})
		_, _ = s.w.Write(append(line, '\n'))
	}
}

// refusal is what the client hears of err, nil for nil.
func (s *logStream) refusal(err error) *spec.Refusal {
	if err == nil {
		return nil
	}
	refusal := refusalOf(err, spec.Command{Verb: verbLogs})
	if refusal.Code == codeInternalError {
		refusal.Message = "logs: " + err.Error()
		s.a.opt.Logger.Warn("the output of children cannot be read", "by", s.asker.by(), "error", err)
	}
	return refusal
}
