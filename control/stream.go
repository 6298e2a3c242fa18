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

// streamEnd is the last line of a stream that ends because something went wrong.
type streamEnd struct {
	Problem Problem `json:"problem"`
}

// stream writes JSON objects about children to one client, one a line, and an
// empty line whenever there was nothing for a while, as a watch does.
//
// A reader may pause for Timing.Pause, as people do who look at what they read:
// that blocks this goroutine and nothing else. The stream ends with the server
// and is not handed over: the client asks the next one for what comes after the
// last line that arrived.
type stream struct {
	a     *api
	asker asker
	verb  string
	// children are those that were asked for, named the same without spec.All.
	children, named []string
	// ending ends the stream because the server ends, or hands over, unreadable
	// because the asker may no longer read it.
	ending, unreadable *spec.Refusal
	w                  http.ResponseWriter
	deadlines          *http.ResponseController
	// end ends the stream, for a cause.
	end context.CancelCauseFunc

	writing sync.Mutex // held while a line is written
	begun   bool       // owned by writing: the head of the answer was written
	failed  bool       // owned by writing: the client takes nothing any more
	last    time.Time  // owned by writing: when the last line was written
}

// newStream makes one about the children, each of which may be read, or spec.All
// alone.
func (a *api) newStream(w http.ResponseWriter, who asker, verb string, children []string) *stream {
	s := &stream{
		a: a, asker: who, verb: verb, children: children, w: w, deadlines: http.NewResponseController(w),
		ending:     spec.Refuse(spec.Unavailable, spec.Verb(verb), "", "%s: the server is about to end or to be upgraded, ask it again", verb),
		unreadable: spec.Refuse(codeForbidden, spec.Verb(verb), "", "%s: the rules of access have been changed, and no longer let this be read", verb),
	}
	if children[0] != spec.All {
		s.named = children
	}
	return s
}

// run writes the audit log, then what produce sends, until that returns or the
// stream is at its end, which that of ctx is.
func (s *stream) run(ctx context.Context, produce func(context.Context) error) error {
	for _, child := range s.children {
		s.a.gate.record(s.asker, s.verb, nameOf(s.verb, child), resultOK, "")
	}
	s.a.gate.observe(s.verb, resultOK)
	ctx, s.end = context.WithCancelCause(ctx)
	var helpers sync.WaitGroup
	helpers.Go(func() { s.endWithServer(ctx) })
	helpers.Go(func() { s.beat(ctx) })
	err := produce(ctx)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	s.end(nil)
	helpers.Wait()
	s.finish(err)
	return errRecorded
}

// endWithServer ends the stream when the server ends or hands over, although a
// write may be waiting for the client.
func (s *stream) endWithServer(ctx context.Context) {
	select {
	case <-s.a.handing.Done():
	case <-s.a.quit.Done():
	case <-ctx.Done():
		return
	}
	s.end(s.ending)
	_ = s.deadlines.SetWriteDeadline(longAgo)
}

// beat writes an empty line after each silence of Timing.Heartbeat, and looks
// then whether the rules have been edited.
func (s *stream) beat(ctx context.Context) {
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
			s.end(s.unreadable)
			return
		}
		timer.Reset(s.beatOnce(ctx, silence))
	}
}

// beatOnce returns when to look again.
func (s *stream) beatOnce(ctx context.Context, silence time.Duration) time.Duration {
	if !s.writing.TryLock() {
		// The client has yet to take what is being written.
		return silence
	}
	defer s.writing.Unlock()
	if left := silence - time.Since(s.last); left > 0 {
		return left
	}
	if err := s.write(ctx, []byte("\n")); err != nil {
		s.end(err)
	}
	return silence
}

// mayRead tells whether the asker may read the child now.
func (s *stream) mayRead(child string) bool {
	return isAllowed(s.a.gate.config().Access, s.asker, spec.Read, child)
}

// mayGoOn tells whether the asker may still read each child that was named, or
// any where none was.
func (s *stream) mayGoOn() bool {
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

// lineOf is v as a line.
func lineOf(v any) ([]byte, error) {
	var line bytes.Buffer
	e := json.NewEncoder(&line)
	// No page shows it, and output may be full of what would be escaped for one.
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return line.Bytes(), err
}

// send writes lines.
func (s *stream) send(ctx context.Context, lines []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.write(ctx, lines)
}

// write needs writing.
func (s *stream) write(ctx context.Context, lines []byte) error {
	s.begin()
	_ = s.deadlines.SetWriteDeadline(time.Now().Add(s.a.opt.Timing.Pause))
	// Where the stream has ended meanwhile, the deadline in the past was before
	// this one.
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	_, err := s.w.Write(lines)
	err = errors.Join(err, s.deadlines.Flush())
	s.failed = err != nil
	s.last = time.Now()
	return err
}

// begin writes the head of the answer; writing is held.
func (s *stream) begin() {
	if !s.begun {
		s.begun = true
		s.w.Header().Set("Content-Type", "application/x-ndjson")
		s.w.WriteHeader(http.StatusOK)
	}
}

// finish ends the answer. err is why the stream is at its end, nil where all was
// sent.
func (s *stream) finish(err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.failed || errors.Is(err, context.Canceled) {
		// There is nobody to tell.
		return
	}
	// The client has had its time.
	_ = s.deadlines.SetWriteDeadline(time.Now().Add(s.a.opt.Timing.Linger))
	refusal := s.refusal(err)
	switch {
	case refusal == nil, s.begun && refusal == s.ending:
		s.begin()
	case !s.begun:
		s.a.problem(s.w, refusal)
	default:
		line, _ := json.Marshal(streamEnd{problemOf(refusal)})
		_, _ = s.w.Write(append(line, '\n'))
	}
}

// refusal is what the client hears of err, nil for nil.
func (s *stream) refusal(err error) *spec.Refusal {
	if err == nil {
		return nil
	}
	refusal := refusalOf(err, spec.Command{Verb: spec.Verb(s.verb)})
	if refusal.Code == codeInternalError {
		refusal.Message = s.verb + ": " + err.Error()
		s.a.opt.Logger.Warn("cannot read what a client asks for", "verb", s.verb, "by", s.asker.by(), "error", err)
	}
	return refusal
}
