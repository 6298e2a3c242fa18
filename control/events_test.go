package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kita/control/controltest"
	"kita/spec"
)

// eventReader reads a stream of events.
type eventReader struct{ *logReader }

// readEvents begins a stream.
func readEvents(t *testing.T, c *duplex, body string) eventReader {
	t.Helper()
	return eventReader{readStream(t, c, "/v1/events", body)}
}

// want are the next lines: "3 web started", "3  caught-up", "beat", the code of a
// problem, or "end".
func (r eventReader) want(lines ...string) {
	r.t.Helper()
	for _, want := range lines {
		if got := r.next(); got != want {
			r.t.Fatalf("got %q, want %q", got, want)
		}
	}
}

func (r eventReader) next() string {
	r.t.Helper()
	line, err := r.r.ReadString('\n')
	if err != nil {
		return "end"
	}
	if line == "\n" {
		return "beat"
	}
	var read struct {
		spec.Event
		Problem *Problem
	}
	if err := json.Unmarshal([]byte(line), &read); err != nil {
		r.t.Fatalf("%q: %v", line, err)
	}
	if read.Problem != nil {
		return string(read.Problem.Code)
	}
	return fmt.Sprintf("%d %s %s", read.Seq, read.Child, read.Type)
}

// happened has events of a, of web, and of the server.
func happened(svc *controltest.Service) {
	svc.Record(
		spec.Event{Type: spec.EventServer, Server: spec.ServerStarted},
		spec.Event{Child: "a", Type: spec.EventStarted},
		spec.Event{Child: "web", Type: spec.EventStarted, Message: "<b>"},
	)
}

func TestEventsAreStreamedWithHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := testService()
		happened(svc)
		p := newPipeServer(Options{Service: svc})
		r := readEvents(t, p.dial(t), `{"children":["web"],"follow":true}`)
		r.want("3 web started", "3  caught-up")
		start := time.Now()
		r.want("beat")
		if took := time.Since(start); took != 15*time.Second {
			t.Errorf("a heartbeat after %v", took)
		}
		svc.Record(spec.Event{Child: "web", Type: spec.EventExited})
		r.want("4 web exited")
		p.end(t)
	})
}

func TestRequestsForEvents(t *testing.T) {
	tests := []struct {
		name, body string
		status     int
		want       string
	}{
		{"nothing", ``, 400, "of whom? give the names of children, or all"},
		{"no children", `{"children":[]}`, 400, "of whom?"},
		{"a list", `["web"]`, 400, "the body: it must be a JSON object"},
		{"another member", `{"children":["web"],"lines":5}`, 400, `unknown field \"lines\"`},
		{"all and another", `{"children":["all","web"]}`, 400, "all is every child, name it alone"},
		{"no name", `{"children":[""]}`, 400, "a child has a name"},
		{"a negative tail", `{"children":["web"],"tail":-1}`, 400, "tail -1: give how many"},
		{"a negative age", `{"children":["web"],"age":"-5m"}`, 400, "age -5m0s: give how long ago"},
		{"since and age", `{"children":["web"],"age":"5m","since":"2026-01-31T00:00:00Z"}`, 400, "since and age say the same"},
		{"a negative number", `{"children":["web"],"after":-1}`, 400, "the body: "},
		{"a type that is none", `{"children":["web"],"types":["started","stopped"]}`, 400, `type \"stopped\": there is none of that name, there are command, `},
		{"the mark of the end", `{"children":["web"],"types":["caught-up"]}`, 400, `type \"caught-up\"`},
		{"no such child", `{"children":["web","x"]}`, 404, `there is no child \"x\"`},
		{"one that is gone", `{"children":["gone"]}`, 200, `"child":"gone"`},
		{"one without events", `{"children":["b"]}`, 200, `{"seq":4,"type":"caught-up"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newGated(t, nil, nil)
			happened(g.svc)
			g.svc.Record(spec.Event{Child: "gone", Type: spec.EventForgotten})
			status, body := g.postAs(local, "/v1/events", tt.body)
			if status != tt.status || !strings.Contains(body, tt.want) {
				t.Errorf("%d: %s, want %d and %s", status, body, tt.status, tt.want)
			}
		})
	}
}

// What the server did, and what could not be written, may be about any child.
func TestEventsAreForWhoMayReadThem(t *testing.T) {
	for _, tt := range []struct {
		who  asker
		body string
		want []string
	}{
		{local, `{"children":["all"]}`, []string{"1  server", "2 a started", "3 web started", "3  caught-up", "end"}},
		{ops, `{"children":["all"]}`, []string{"1  server", "2 a started", "3 web started", "3  caught-up", "end"}},
		{ci, `{"children":["all"]}`, []string{"3 web started", "3  caught-up", "end"}},
		{ci, `{"children":["all"],"tail":2}`, []string{"3 web started", "3  caught-up", "end"}},
		{ci, `{"children":["web","web"]}`, []string{"3 web started", "3  caught-up", "end"}},
	} {
		t.Run(tt.who.by()+" "+tt.body, func(t *testing.T) {
			g := newGated(t, rulesOfTests(), nil)
			happened(g.svc)
			readEvents(t, g.dialAs(tt.who), tt.body).want(tt.want...)
		})
	}
	for _, tt := range []struct {
		who        asker
		body, want string
	}{
		{plain, `{"children":["web"]}`, "events: access is set in server.yml, so over TCP a key is needed"},
		{ci, `{"children":["web","a"]}`, `key \"ci-1\" may not read the events of a: access in server.yml gives it nothing for this child`},
		{ci, `{"children":["nothing-of-this-name"]}`, `may not read the events of nothing-of-this-name: access`},
		{starter, `{"children":["all"]}`, `key \"starter\" may not read any events: access in server.yml gives it operate`},
	} {
		t.Run(tt.who.by()+" "+tt.body, func(t *testing.T) {
			g := newGated(t, rulesOfTests(), nil)
			if status, body := g.postAs(tt.who, "/v1/events", tt.body); status != 403 || !strings.Contains(body, tt.want) {
				t.Errorf("%d: %s, want %s", status, body, tt.want)
			}
			if asked := len(g.svc.Wanted()); asked != 0 {
				t.Errorf("the service was asked %d times", asked)
			}
		})
	}
}

func TestAuditOfEvents(t *testing.T) {
	g := newGated(t, rulesOfTests(), nil)
	happened(g.svc)
	readEvents(t, g.dialAs(ci), `{"children":["all"],"follow":true}`).want("3 web started")
	g.postAs(ops, "/v1/events", `{"children":["web","x"]}`)
	g.postAs(ci, "/v1/events", `{"children":["a"]}`)
	g.postAs(ops, "/v1/events", `{}`)
	want := []string{
		"ssh ci-1 10.0.0.7:2: events all: ok",
		"ssh ops 10.0.0.7:2: events web: ok", "ssh ops 10.0.0.7:2: events x: ok",
		"ssh ci-1 10.0.0.7:2: events a: forbidden",
		"ssh ops 10.0.0.7:2: events : bad-request",
	}
	if got := g.lines(); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAStreamOfEventsEndsWithTheRightToRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGated(t, rulesOfTests(), nil)
		happened(g.svc)
		named := readEvents(t, g.dialAs(reader), `{"children":["web"],"follow":true}`)
		every := readEvents(t, g.dialAs(reader), `{"children":["all"],"follow":true}`)
		named.want("3 web started", "3  caught-up")
		every.want("1  server", "2 a started", "3 web started", "3  caught-up")

		g.allow(spec.Access{rules("reader", "a", spec.Read)})
		g.svc.Record(spec.Event{Child: "web", Type: spec.EventExited}, spec.Event{Type: spec.EventServer}, spec.Event{Child: "a", Type: spec.EventExited})
		named.want("forbidden", "end")
		every.want("6 a exited", "beat")
		g.allow(spec.Access{rules("reader", "a", spec.Operate)})
		every.want("forbidden", "end")
	})
}

// A client that follows gets every event once and in order, wherever its
// connections break.
func TestFollowedEventsHaveNoGapAndNoRepeat(t *testing.T) {
	const events, cuts = 3000, 60
	svc := testService()
	s := newTCPServer(t, Options{Service: svc})
	c := newCutter(t, s.addr, cuts)
	var adding sync.WaitGroup
	defer adding.Wait()
	adding.Go(func() {
		for i := range events {
			svc.Record(spec.Event{Child: "web", Type: spec.EventStarted, PID: i + 1})
			if i%50 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
	})
	client := Dial(Target{TCP: c.Addr().String()})
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got := 0
	for ctx.Err() == nil && got < events {
		for e, err := range client.FollowEvents(ctx, spec.EventRequest{Children: []string{"web"}}, nil) {
			var unreachable *Unreachable
			if err != nil && got == 0 && errors.As(err, &unreachable) {
				// The first attempt is not repeated by itself.
				break
			}
			if err != nil {
				t.Fatalf("after %d: %v", got, err)
			}
			if e.Type == spec.EventCaughtUp {
				continue
			}
			if got++; e.PID != got {
				t.Fatalf("%d comes as number %d", e.PID, got)
			}
			if got == events {
				break
			}
		}
	}
	if got != events || c.broken.Load() < 10 {
		t.Errorf("%d events of %d over %d connections", got, events, c.broken.Load())
	}
}

func TestWhatFollowingEventsAsksForAgain(t *testing.T) {
	svc := testService()
	mark := func(seq uint64) spec.Event { return spec.Event{Seq: seq, Type: spec.EventCaughtUp} }
	event := func(seq uint64) spec.Event { return spec.Event{Seq: seq, Child: "web", Type: spec.EventStarted} }
	var mu sync.Mutex
	parts := []struct {
		events []spec.Event
		err    error
	}{
		{events: []spec.Event{event(4)}},
		{err: spec.Refuse(spec.Unavailable, "", "", "the server is about to end")},
		{events: []spec.Event{event(5), mark(9)}},
		{events: []spec.Event{mark(9)}},
		// A history that was begun anew.
		{events: []spec.Event{event(1), mark(2)}},
		{err: spec.Refuse(spec.NotFound, "", "web", "there is no child web any more")},
	}
	svc.EventsFunc = func(_ context.Context, _ spec.EventRequest, _ func(string) bool, send func([]spec.Event) error) error {
		mu.Lock()
		defer mu.Unlock()
		part := parts[0]
		parts = parts[1:]
		if part.events != nil {
			if err := send(part.events); err != nil {
				return err
			}
		}
		return part.err
	}
	s := newTCPServer(t, Options{Service: svc})
	c := Dial(Target{Unix: s.socket})
	defer c.Close()
	tail, outages := 3, 0
	var got []uint64
	var last error
	for e, err := range c.FollowEvents(t.Context(), spec.EventRequest{Children: []string{"web"}, Tail: &tail, Age: spec.Duration(time.Minute)}, func(error) { outages++ }) {
		if last = err; err == nil && e.Type != spec.EventCaughtUp {
			got = append(got, e.Seq)
		}
	}
	var refusal *spec.Refusal
	if !errors.As(last, &refusal) || refusal.Code != spec.NotFound || !slices.Equal(got, []uint64{4, 5, 1}) || outages != 1 {
		t.Errorf("got %v, %v and %d outages", got, last, outages)
	}
	var asked []string
	for _, r := range svc.Wanted() {
		asked = append(asked, fmt.Sprint(r.After, r.Tail != nil, r.Age >= spec.Duration(time.Minute), r.Follow))
	}
	if want := []string{"0 true true true", "4 true true true", "4 true true true", "9 false false true", "9 false false true", "2 false false true"}; !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
}

// Without what ends them, events were cut off.
func TestEventsEndWhenAllIsSaid(t *testing.T) {
	svc := testService()
	happened(svc)
	s := newTCPServer(t, Options{Service: svc})
	c := Dial(Target{Unix: s.socket})
	defer c.Close()
	n := 0
	for e, err := range c.Events(t.Context(), spec.EventRequest{Children: []string{spec.All}}) {
		if n++; err != nil || e.Seq != uint64(min(n, 3)) || (e.Type == spec.EventCaughtUp) != (n == 4) {
			t.Errorf("%+v, %v", e, err)
		}
	}
	if n != 4 {
		t.Errorf("%d events", n)
	}
	svc.EventsFunc = func(_ context.Context, _ spec.EventRequest, _ func(string) bool, send func([]spec.Event) error) error {
		return send([]spec.Event{{Seq: 1, Type: spec.EventServer}})
	}
	var last error
	for _, err := range c.Events(t.Context(), spec.EventRequest{Children: []string{spec.All}}) {
		last = err
	}
	if last == nil || !strings.Contains(last.Error(), "ended the stream before all was said") {
		t.Errorf("error %v", last)
	}
}
