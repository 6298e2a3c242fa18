package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kita/control/controltest"
	"kita/spec"
)

// postAs asks over HTTP with a body, and returns the status and the answer.
func (g *gated) postAs(a asker, path, body string) (int, string) {
	g.t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return g.dialAs(a), nil }}
	r, err := http.NewRequestWithContext(g.t.Context(), http.MethodPost, "http://localhost"+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := transport.RoundTrip(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return response.StatusCode, string(answer)
}

// logReader reads a stream of logs.
type logReader struct {
	t *testing.T
	*duplex
	r *bufio.Reader
}

// readLogs begins a stream.
func readLogs(t *testing.T, c *duplex, body string) *logReader {
	t.Helper()
	return readStream(t, c, "/v1/logs", body)
}

func readStream(t *testing.T, c *duplex, path, body string) *logReader {
	t.Helper()
	t.Cleanup(func() { _ = c.Close() })
	text := strings.Replace(post(path, body), "HTTP/1.1", "HTTP/1.0", 1)
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	l := &logReader{t: t, duplex: c, r: bufio.NewReader(c)}
	for {
		line, err := l.r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "\r\n" {
			return l
		}
	}
}

// next is what comes next: "web out: text", "caught up", "beat", the code of a
// problem, or "end".
func (l *logReader) next() string {
	l.t.Helper()
	line, err := l.r.ReadString('\n')
	if errors.Is(err, io.EOF) {
		return strings.TrimSpace("end " + line)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	if line == "\n" {
		return "beat"
	}
	var read struct {
		spec.LogChunk
		Problem *Problem
	}
	if err := json.Unmarshal([]byte(line), &read); err != nil {
		l.t.Fatalf("%q: %v", line, err)
	}
	switch {
	case read.Problem != nil:
		return string(read.Problem.Code)
	case read.CaughtUp:
		return "caught up"
	}
	return fmt.Sprintf("%s %s: %s", read.Child, read.Stream, strings.TrimSuffix(read.Text, "\n"))
}

func (l *logReader) want(lines ...string) {
	l.t.Helper()
	for _, want := range lines {
		if got := l.next(); got != want {
			l.t.Fatalf("got %q, want %q", got, want)
		}
	}
}

func TestLogsAreStreamedWithHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := testService()
		svc.Write("web", "one <b>\n", spec.Out)
		p := newPipeServer(Options{Service: svc})
		l := readLogs(t, p.dial(t), `{"children":["web"],"follow":true}`)
		l.want("web out: one <b>", "caught up")
		start := time.Now()
		l.want("beat")
		if took := time.Since(start); took != 15*time.Second {
			t.Errorf("a heartbeat after %v", took)
		}
		time.Sleep(10 * time.Second)
		svc.Write("web", "two\n", spec.Out)
		l.want("web out: two")
		start = time.Now()
		l.want("beat")
		if took := time.Since(start); took != 15*time.Second {
			t.Errorf("a heartbeat %v after a line", took)
		}
		// Close ends the stream at once, and in order.
		p.end(t)
		l.want("end")
	})
}

func TestLogRequestsThatMakeNoSense(t *testing.T) {
	tests := []struct {
		name, body string
		status     int
		want       string // of the message
	}{
		{"nothing", ``, 400, "whose output? give the names of children, or all"},
		{"no children", `{"children":[]}`, 400, "whose output?"},
		{"a list", `["web"]`, 400, "the body: it must be a JSON object"},
		{"another member", `{"children":["web"],"lines":5}`, 400, `unknown field \"lines\"`},
		{"a number for a child", `{"children":[5]}`, 400, "the body: "},
		{"garbage", "{\"children\":[\"web\"]}\x00\xff", 400, "the body: "},
		{"all and another", `{"children":["all","web"]}`, 400, "all is every child, name it alone"},
		{"a negative tail", `{"children":["web"],"tail":-1}`, 400, "tail -1: give how many"},
		{"a negative age", `{"children":["web"],"age":"-5m"}`, 400, "age -5m0s: give how long ago"},
		{"an age that is none", `{"children":["web"],"age":"yesterday"}`, 400, "the body: "},
		{"since and age", `{"children":["web"],"age":"5m","since":"2026-01-31T00:00:00Z"}`, 400, "since and age say the same"},
		{"another stream", `{"children":["web"],"stream":"both"}`, 400, `stream \"both\": give out or err`},
		{"no expression", `{"children":["web"],"grep":"("}`, 400, "grep: error parsing regexp: missing closing )"},
		{"a long expression", `{"children":["web"],"grep":"` + strings.Repeat("a", maxGrep+1) + `"}`, 400, "longer than 4096 bytes"},
		{"no such child", `{"children":["web","x"]}`, 404, `there is no child \"x\"`},
		{"a child without a file", `{"children":["b"]}`, 400, "logs b: it has no output file"},
		{"a cursor that is none", `{"children":["web"],"after":{"web/out":"x"}}`, 400, `\"x\" is no cursor`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newGated(t, nil, nil)
			g.svc.Write("web", "one\n", spec.Out)
			status, body := g.postAs(local, "/v1/logs", tt.body)
			if status != tt.status || !strings.Contains(body, tt.want) {
				t.Errorf("%d: %s, want %d and %s", status, body, tt.status, tt.want)
			}
		})
	}
}

func TestLogsAreForWhoMayReadThem(t *testing.T) {
	tests := []struct {
		who  asker
		body string
		want []string // "" ends a refusal
	}{
		{local, `{"children":["all"]}`, []string{"a out: x", "web out: y", "caught up", "end"}},
		{ops, `{"children":["all"]}`, []string{"a out: x", "web out: y", "caught up", "end"}},
		{ci, `{"children":["all"]}`, []string{"web out: y", "caught up", "end"}},
		{ci, `{"children":["web","web"]}`, []string{"web out: y", "caught up", "end"}},
	}
	for _, tt := range tests {
		t.Run(tt.who.by()+" "+tt.body, func(t *testing.T) {
			g := newGated(t, rulesOfTests(), nil)
			g.svc.Write("a", "x\n", spec.Out)
			g.svc.Write("web", "y\n", spec.Out)
			readLogs(t, g.dialAs(tt.who), tt.body).want(tt.want...)
		})
	}
	for _, tt := range []struct {
		who        asker
		path, body string
		want       string
	}{
		{plain, "/v1/logs", `{"children":["web"]}`, "logs: access is set in server.yml, so over TCP a key is needed"},
		{ci, "/v1/logs", `{"children":["web","a"]}`, `key \"ci-1\" may not read the output of a: access in server.yml gives it nothing for this child`},
		{ci, "/v1/logs", `{"children":["nothing-of-this-name"]}`, `may not read the output of nothing-of-this-name: access`},
		{starter, "/v1/logs", `{"children":["all"]}`, `key \"starter\" may not read any output: access in server.yml gives it operate`},
		{reader, "/v1/children/web/rotate", `{}`, `key \"reader\" may not rotate web: access in server.yml gives it read for this child`},
		{ci, "/v1/rotate", `{}`, `key \"ci-1\" may not rotate all: that takes a rule with verbs: [operate]`},
	} {
		t.Run(tt.who.by()+" "+tt.path+tt.body, func(t *testing.T) {
			g := newGated(t, rulesOfTests(), nil)
			if status, body := g.postAs(tt.who, tt.path, tt.body); status != 403 || !strings.Contains(body, tt.want) {
				t.Errorf("%d: %s, want %s", status, body, tt.want)
			}
			if asked := len(g.svc.Asked()) + len(g.svc.Rotated()); asked != 0 {
				t.Errorf("the service was asked %d times", asked)
			}
		})
	}
}

func TestAuditOfLogsAndRotations(t *testing.T) {
	g := newGated(t, rulesOfTests(), nil)
	g.svc.Write("web", "y\n", spec.Out)
	readLogs(t, g.dialAs(ci), `{"children":["all"],"follow":true}`).want("web out: y", "caught up")
	g.postAs(ops, "/v1/logs", `{"children":["web","a"]}`)
	g.svc.Write("a", "x\n", spec.Out)
	g.postAs(ops, "/v1/logs", `{"children":["web","a"]}`)
	g.postAs(ci, "/v1/logs", `{"children":["a"]}`)
	g.postAs(ops, "/v1/logs", `{}`)
	g.http(ops, "GET /v1/children/web/output")
	g.postAs(ops, "/v1/children/web/rotate", "{}")
	g.postAs(ops, "/v1/children/x/rotate", "{}")
	g.postAs(ops, "/v1/rotate", "")
	const of = "ssh ops 10.0.0.7:2: "
	want := []string{
		"ssh ci-1 10.0.0.7:2: logs all: ok",
		of + "logs a: bad-request",
		of + "logs a: ok", of + "logs web: ok",
		"ssh ci-1 10.0.0.7:2: logs a: forbidden",
		of + "logs : bad-request",
		of + "check web: ok",
		of + "rotate web: ok", of + "rotate x: not-found", of + "rotate all: ok",
	}
	if got := g.lines(); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, want := range []string{"logs ok", "logs forbidden", "rotate ok", "rotate not-found"} {
		if !slices.Contains(g.observed, want) {
			t.Errorf("%q is not counted: %q", want, g.observed)
		}
	}
}

// A person who looks at what came takes longer than a client that reads an
// answer, and misses nothing; who never reads on is cut off in the end.
func TestAReaderOfLogsMayPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := testService()
		svc.Write("web", "one\n", spec.Out)
		p := newPipeServer(Options{Service: svc})
		l := readLogs(t, p.dial(t), `{"children":["web"],"follow":true}`)
		l.want("web out: one", "caught up")
		for i := range 10 {
			svc.Write("web", fmt.Sprintf("%d\n", i), spec.Out)
			time.Sleep(5 * time.Minute)
		}
		got := ""
		for !strings.Contains(got, "9") {
			got += l.next() + "\n"
		}
		for i := range 10 {
			if !strings.Contains(got, fmt.Sprint(i)) {
				t.Errorf("%d is missing in %q", i, got)
			}
		}
		svc.Write("web", "last\n", spec.Out)
		time.Sleep(time.Hour + time.Minute)
		synctest.Wait()
		if open := p.Stats().Open; open != 0 {
			t.Errorf("%d connections are open", open)
		}
		p.end(t)
	})
}

// What is waited for is a reader's, so an end or an upgrade does not wait for it.
func TestAPausingReaderHoldsUpNothing(t *testing.T) {
	for name, end := range map[string]func(*Server){
		"close":    func(s *Server) { _ = s.Close(context.Background()) },
		"handover": func(s *Server) { _, _ = s.HandOver(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := testService()
				svc.Write("web", "one\n", spec.Out)
				p := newPipeServer(Options{Service: svc})
				l := readLogs(t, p.dial(t), `{"children":["web"],"follow":true}`)
				svc.Write("web", "two\n", spec.Out)
				synctest.Wait() // the server writes what nobody reads
				start := time.Now()
				end(p.Server)
				if took := time.Since(start); took > 100*time.Millisecond {
					t.Errorf("it took %v", took)
				}
				_ = p.ln.Close()
				p.served.Wait()
				_ = l.Close()
			})
		})
	}
}

func TestAStreamEndsWithTheRightToRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGated(t, rulesOfTests(), nil)
		g.svc.Write("web", "one\n", spec.Out)
		g.svc.Write("a", "x\n", spec.Out)
		g.svc.Write("web2", "two\n", spec.Out)
		named := readLogs(t, g.dialAs(reader), `{"children":["web"],"follow":true}`)
		quiet := readLogs(t, g.dialAs(reader), `{"children":["web2"],"follow":true}`)
		every := readLogs(t, g.dialAs(reader), `{"children":["all"],"follow":true}`)
		named.want("web out: one", "caught up")
		quiet.want("web2 out: two", "caught up")
		every.want("web out: one", "a out: x", "web2 out: two", "caught up")

		g.allow(spec.Access{rules("reader", "a", spec.Read)})
		g.svc.Write("web", "secret\n", spec.Out)
		g.svc.Write("a", "y\n", spec.Out)
		named.want("forbidden", "end")
		every.want("a out: y")
		quiet.want("forbidden", "end")
		every.want("beat")
		g.allow(spec.Access{rules("reader", "a", spec.Operate)})
		every.want("forbidden", "end")
	})
}

// What cannot be read is said, before the first line and in the middle.
func TestErrorsOfTheService(t *testing.T) {
	fail := errors.New("read /srv/log/web.log.3.zst: input/output error")
	svc := testService()
	svc.Write("web", "one\n", spec.Out)
	for name, tt := range map[string]struct {
		chunks int
		status int
		want   string
	}{
		"at once":       {0, 500, `"code":"internal-error"`},
		"in the middle": {1, 200, `{"problem":{"type":"urn:kita:internal-error"`},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGated(t, nil, func(o *Options) { o.Service = svc })
			svc.LogsFunc = func(_ context.Context, _ spec.LogRequest, _ func(string) bool, send func(spec.LogChunk) error) error {
				for range tt.chunks {
					if err := send(spec.LogChunk{Child: "web", Text: "one\n"}); err != nil {
						return err
					}
				}
				return fail
			}
			status, body := g.postAs(local, "/v1/logs", `{"children":["web"]}`)
			if status != tt.status || !strings.Contains(body, tt.want) || !strings.Contains(body, "logs: "+fail.Error()) {
				t.Errorf("%d: %s", status, body)
			}
		})
	}
}

func TestOutputAndRotate(t *testing.T) {
	svc := testService()
	svc.OutputFiles = map[string][]spec.OutputFile{"a": {{
		Streams: []spec.StreamName{spec.Err}, Path: "/srv/a.err", Size: 3, Written: 9, Rotations: 2, Dropped: 1, Fault: "it is full",
		Archives: []spec.Archive{{Path: "/srv/a.err.1.zst", Size: 4, Bytes: 6, At: controltest.Started}},
	}}}
	svc.Write("web", "one\n", spec.Out, spec.Err)
	s := newTCPServer(t, Options{Service: svc})
	c := Dial(Target{Unix: s.socket})
	defer c.Close()
	files, err := c.Output(t.Context(), "a")
	if err != nil || len(files) != 1 || files[0].Archives[0] != svc.OutputFiles["a"][0].Archives[0] || files[0].Fault != "it is full" {
		t.Errorf("%+v, %v", files, err)
	}
	if files, err := c.Output(t.Context(), "b"); err != nil || len(files) != 0 {
		t.Errorf("a child without files: %+v, %v", files, err)
	}
	for _, name := range []string{"web", spec.All} {
		if archives, err := c.Rotate(t.Context(), name); err != nil || len(archives) != 1 || archives[0].Bytes != 4 {
			t.Errorf("rotate %s: %+v, %v", name, archives, err)
		}
	}
	if archives, err := c.Rotate(t.Context(), "b"); err != nil || len(archives) != 0 {
		t.Errorf("a child without files: %+v, %v", archives, err)
	}
	var refusal *spec.Refusal
	for _, ask := range []func() error{
		func() error { _, err := c.Output(t.Context(), "x"); return err },
		func() error { _, err := c.Rotate(t.Context(), "x"); return err },
	} {
		if err := ask(); !errors.As(err, &refusal) || refusal.Code != spec.NotFound {
			t.Errorf("no such child: %v", err)
		}
	}
	svc.RotateFunc = func(context.Context, string) ([]spec.Archive, error) {
		return nil, errors.New("/srv/log/web.log: no space left on device")
	}
	if _, err := c.Rotate(t.Context(), "web"); !errors.As(err, &refusal) || refusal.Code != spec.Unavailable || refusal.Message != "rotate web: /srv/log/web.log: no space left on device" {
		t.Errorf("a full disk: %v", err)
	}
}
