package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kita/control/controltest"
	"kita/spec"
)

// cutter passes connections on to a server and breaks each after some bytes of
// the answer, until it has broken so many. It is down for the next one then.
type cutter struct {
	net.Listener
	to     string
	random *rand.Rand
	cuts   int64
	broken atomic.Int64
	conns  sync.WaitGroup
}

// newCutter breaks the first n connections to the address.
func newCutter(t *testing.T, to string, n int64) *cutter {
	t.Helper()
	c := &cutter{Listener: listenLocal(t), to: to, cuts: n, random: rand.New(rand.NewPCG(1, 2))}
	var serving sync.WaitGroup
	serving.Go(c.serve)
	t.Cleanup(func() {
		_ = c.Close()
		serving.Wait()
		c.conns.Wait()
	})
	return c
}

func (c *cutter) serve() {
	for {
		client, err := c.Accept()
		if err != nil {
			return
		}
		after := int64(-1)
		if c.broken.Load() < c.cuts {
			c.broken.Add(1)
			// Some come to nothing, the others beyond the head of the answer.
			after = max(c.random.Int64N(3000)-300, 0)
		}
		c.conns.Go(func() { c.pass(client, after) })
	}
}

// pass copies both ways until either side ends, or after so many bytes of the
// answer where that is not negative.
func (c *cutter) pass(client net.Conn, after int64) {
	defer client.Close()
	server, err := net.Dial("tcp", c.to)
	if err != nil {
		return
	}
	defer server.Close()
	var asking sync.WaitGroup
	asking.Go(func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	})
	if after < 0 {
		_, _ = io.Copy(client, server)
	} else {
		_, _ = io.CopyN(client, server, after)
	}
	_ = client.Close()
	asking.Wait()
}

// A client that follows gets every line once and in order, wherever in a line
// its connections break, while the lines are written.
func TestFollowedLogsHaveNoGapAndNoRepeat(t *testing.T) {
	const lines, cuts = 4000, 60
	svc := testService()
	// Less than what a connection lives for, so that each brings it on.
	svc.MaxChunk = 500
	s := newTCPServer(t, Options{Service: svc})
	c := newCutter(t, s.addr, cuts)
	var writing sync.WaitGroup
	defer writing.Wait()
	writing.Go(func() {
		random := rand.New(rand.NewPCG(3, 4))
		for i := range lines {
			line := fmt.Sprintf("%d %s\n", i, strings.Repeat("ä", random.IntN(80)))
			// Some are written in two pieces.
			at := random.IntN(2 * len(line))
			if at < len(line) {
				svc.Write("web", line[:at], spec.Out)
				line = line[at:]
			}
			svc.Write("web", line, spec.Out)
			if i%50 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
	})
	client := Dial(Target{TCP: c.Addr().String()})
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got strings.Builder
	next := func() string { return fmt.Sprintf("%d ", strings.Count(got.String(), "\n")) }
	for ctx.Err() == nil && strings.Count(got.String(), "\n") < lines {
		for chunk, err := range client.FollowLogs(ctx, spec.LogRequest{Children: []string{"web"}}, nil) {
			var unreachable *Unreachable
			if err != nil && got.Len() == 0 && errors.As(err, &unreachable) {
				// The first attempt is not repeated by itself.
				break
			}
			if err != nil {
				t.Fatalf("after %s: %v", next(), err)
			}
			got.WriteString(chunk.Text + string(chunk.Bytes))
			if strings.Count(got.String(), "\n") == lines {
				break
			}
		}
	}
	i := 0
	for line := range strings.Lines(got.String()) {
		if !strings.HasPrefix(line, fmt.Sprintf("%d ", i)) || strings.Trim(line[len(fmt.Sprint(i)):], " ä\n") != "" {
			t.Fatalf("line %d is %q", i, line)
		}
		i++
	}
	if i != lines {
		t.Errorf("%d lines of %d", i, lines)
	}
	if broken := c.broken.Load(); broken < 10 {
		t.Errorf("only %d connections were broken", broken)
	}
}

// logScript answers each request in turn: with chunks, then an error, or where
// that is nil with the end of the connection.
type logScript struct {
	svc   *controltest.Service
	mu    sync.Mutex
	parts []scripted // owned by mu
}

type scripted struct {
	chunks []spec.LogChunk
	err    error
}

// play makes the service answer so; what comes after the script waits.
func play(svc *controltest.Service, parts ...scripted) {
	s := &logScript{svc: svc, parts: parts}
	svc.LogsFunc = func(ctx context.Context, _ spec.LogRequest, _ func(string) bool, send func(spec.LogChunk) error) error {
		s.mu.Lock()
		if len(s.parts) == 0 {
			s.mu.Unlock()
			<-ctx.Done()
			return ctx.Err()
		}
		part := s.parts[0]
		s.parts = s.parts[1:]
		s.mu.Unlock()
		for _, chunk := range part.chunks {
			if err := send(chunk); err != nil {
				return err
			}
		}
		return part.err
	}
	svc.Write("web", "", spec.Out)
}

func text(source, next, text string) spec.LogChunk {
	return spec.LogChunk{Child: "web", Source: source, Next: next, Text: text}
}

func TestWhatFollowingAsksForAgain(t *testing.T) {
	svc := testService()
	gone := spec.Refuse(spec.NotFound, "", "web", "there is no child web any more")
	play(svc,
		scripted{chunks: []spec.LogChunk{text("web/out", "1", "a\n")}},
		scripted{err: spec.Refuse(spec.Unavailable, "", "", "the server is about to end")},
		scripted{chunks: []spec.LogChunk{text("web/err", "7", "b\n"), text("web/out", "2", "c\n"), {CaughtUp: true}}},
		scripted{chunks: []spec.LogChunk{{CaughtUp: true}}},
		scripted{err: gone},
	)
	s := newTCPServer(t, Options{Service: svc})
	c := Dial(Target{Unix: s.socket})
	defer c.Close()
	tail := 3
	var got []string
	var outages int
	var last error
	request := spec.LogRequest{Children: []string{"web"}, Tail: &tail, Age: spec.Duration(time.Minute), After: map[string]string{"db/out": "9"}}
	for chunk, err := range c.FollowLogs(t.Context(), request, func(error) { outages++ }) {
		got, last = append(got, chunk.Text), err
	}
	var refusal *spec.Refusal
	if !errors.As(last, &refusal) || refusal.Code != gone.Code || strings.Join(got, "") != "a\nb\nc\n" {
		t.Errorf("got %q and %v", got, last)
	}
	if outages != 1 {
		t.Errorf("%d outages were told of", outages)
	}
	asked := svc.Asked()
	for i, want := range []struct {
		after string
		tail  bool
	}{
		{"map[db/out:9]", true}, {"map[db/out:9 web/out:1]", true}, {"map[db/out:9 web/out:1]", true},
		{"map[db/out:9 web/err:7 web/out:2]", false}, {"map[db/out:9 web/err:7 web/out:2]", false},
	} {
		r := asked[i]
		if fmt.Sprint(r.After) != want.after || (r.Tail != nil) != want.tail || (r.Age >= spec.Duration(time.Minute)) != want.tail || !r.Follow {
			t.Errorf("request %d: %+v", i, r)
		}
	}
	if len(asked) != 5 || len(request.After) != 1 {
		t.Errorf("%d requests, the caller's has %v", len(asked), request.After)
	}
}

func TestFollowingEndsWithItsFirstError(t *testing.T) {
	refused := testService()
	play(refused, scripted{err: spec.Refuse(spec.Unavailable, "", "", "the server is about to end")})
	for name, target := range map[string]Target{
		"nobody there":     {Unix: "/nowhere/kita.sock"},
		"a refusal":        {Unix: newTCPServer(t, Options{Service: refused}).socket},
		"no such child":    {TCP: newTCPServer(t, Options{}).addr},
		"something else":   {TCP: newCutter(t, "127.0.0.1:1", 0).Addr().String()},
		"a broken command": {Unix: ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := Dial(target)
			defer c.Close()
			n := 0
			for _, err := range c.FollowLogs(t.Context(), spec.LogRequest{Children: []string{"web"}}, func(error) { t.Error("it was tried again") }) {
				if n++; err == nil {
					t.Error("no error")
				}
			}
			if n != 1 {
				t.Errorf("%d errors", n)
			}
		})
	}
}

func TestLogsEndWhenAllIsSaid(t *testing.T) {
	svc := testService()
	svc.Write("web", "one\n\xff", spec.Out)
	s := newTCPServer(t, Options{Service: svc})
	for _, target := range []Target{{Unix: s.socket}, {TCP: s.addr}} {
		c := Dial(target)
		got := ""
		for chunk, err := range c.Logs(t.Context(), spec.LogRequest{Children: []string{"web"}}) {
			if err != nil {
				t.Fatal(err)
			}
			got += chunk.Text + string(chunk.Bytes)
		}
		c.Close()
		if got != "one\n\xff" {
			t.Errorf("%s: %q", target, got)
		}
	}
}

// Without what ends it, a stream was cut off.
func TestLogsThatEndBeforeTheirTime(t *testing.T) {
	cause := errors.New("the user has had enough")
	fail := scripted{chunks: []spec.LogChunk{text("web/out", "1", "a\n"), {CaughtUp: true}}, err: errors.New("an archive cannot be read")}
	for name, tt := range map[string]struct {
		part   scripted
		follow bool
		want   string
	}{
		"in the middle":          {scripted{chunks: []spec.LogChunk{text("web/out", "1", "a\n")}}, false, "ended the stream before all was said"},
		"while it is followed":   {scripted{chunks: []spec.LogChunk{text("web/out", "1", "a\n"), {CaughtUp: true}}}, true, "ended the stream before all was said"},
		"with an error":          {fail, false, "logs: an archive cannot be read"},
		"with the caller's own ": {scripted{chunks: []spec.LogChunk{text("web/out", "1", "a\n")}}, false, cause.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			svc := testService()
			play(svc, tt.part)
			s := newTCPServer(t, Options{Service: svc})
			c := Dial(Target{TCP: s.addr})
			defer c.Close()
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			var last error
			for _, err := range c.Logs(ctx, spec.LogRequest{Children: []string{"web"}, Follow: tt.follow}) {
				if last = err; tt.want == cause.Error() {
					cancel(cause)
				}
			}
			if last == nil || !strings.Contains(last.Error(), tt.want) {
				t.Errorf("error %v, want %s", last, tt.want)
			}
		})
	}
}

// FuzzLogStream: whatever a server sends, the client yields only what came whole,
// and ends with an error or with all that there was.
func FuzzLogStream(f *testing.F) {
	for _, seed := range []string{
		"", "\n\n", `{"text":"a\n"}` + "\n" + `{"caught_up":true}` + "\n", `{"text":"cut`, `{"problem":{"code":"unavailable"}}` + "\n",
		`{"problem":null}` + "\n", "[]\n", "null\n", `{"bytes":"!"}` + "\n", "\x00\n", strings.Repeat("x", maxStreamLine+1) + "\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }))
		defer server.Close()
		c := Dial(Target{TCP: server.Listener.Addr().String()})
		defer c.Close()
		chunks, caughtUp := 0, false
		var last error
		for chunk, err := range c.Logs(t.Context(), spec.LogRequest{Children: []string{"web"}}) {
			if last = err; err == nil {
				chunks++
				caughtUp = caughtUp || chunk.CaughtUp
			}
		}
		if last == nil && !caughtUp || chunks > strings.Count(body, "\n") {
			t.Errorf("%d chunks and %v of %q", chunks, last, body)
		}
	})
}
