package control

import (
	"bufio"
	"context"
	"errors"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kita/spec"
)

const watchRequest = "GET /v1/watch HTTP/1.0\r\n\r\n"

// latest is a Watch as the reconciler's is: it keeps the newest view of each
// child until it is read, and never blocks the writer.
type latest struct {
	mu      sync.Mutex
	pending map[string]spec.View
	order   []string
	wake    chan struct{}
	written int
}

func newLatest() *latest {
	return &latest{pending: map[string]spec.View{}, wake: make(chan struct{}, 1)}
}

func (l *latest) write(v spec.View) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.written++
	if _, there := l.pending[v.Name]; !there {
		l.order = append(l.order, v.Name)
	}
	l.pending[v.Name] = v
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *latest) next() (spec.Change, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.order) == 0 {
		return spec.Change{}, false
	}
	v := l.pending[l.order[0]]
	delete(l.pending, l.order[0])
	l.order = l.order[1:]
	return spec.Change{Type: spec.Present, View: v}, true
}

func (l *latest) watch(ctx context.Context) <-chan spec.Change {
	changes := make(chan spec.Change)
	go func() {
		defer close(changes)
		for {
			change, ok := l.next()
			if !ok {
				select {
				case <-l.wake:
				case <-ctx.Done():
					return
				}
				continue
			}
			select {
			case changes <- change:
			case <-ctx.Done():
				return
			}
		}
	}()
	return changes
}

func TestWatchStreamsLinesAndHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := newLatest()
		svc := testService()
		svc.WatchFunc = source.watch
		p := newPipeServer(Options{Service: svc})
		c := p.dial(t)
		_, _ = io.WriteString(c, watchRequest)
		r := bufio.NewReader(c)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if line == "\r\n" {
				break
			}
			if name, value, _ := strings.Cut(line, ": "); name == "Content-Type" && value != "application/x-ndjson\r\n" {
				t.Errorf("type %q", value)
			}
		}
		start := time.Now()
		if line, _ := r.ReadString('\n'); line != "\n" || time.Since(start) != 15*time.Second {
			t.Errorf("heartbeat %q after %v", line, time.Since(start))
		}
		source.write(spec.View{Name: "a"})
		if line, _ := r.ReadString('\n'); !strings.HasPrefix(line, `{"type":"present","view":{"name":"a"`) {
			t.Errorf("line %q", line)
		}
		// Close ends a watch at once.
		p.end(t)
		if rest, err := io.ReadAll(r); len(rest) != 0 || err != nil {
			t.Errorf("rest %q, %v", rest, err)
		}
		_ = c.Close()
	})
}

// Where the server ends with its children, a watch tells how each of them ended.
func TestTheEndOfTheServerIsNotTheEndOfAWatchBeforeTheLastChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		changes := make(chan spec.Change)
		svc := testService()
		svc.EndedChan = make(chan struct{})
		svc.WatchFunc = func(context.Context) <-chan spec.Change { return changes }
		p := newPipeServer(Options{Service: svc})
		c := p.dial(t)
		_, _ = io.WriteString(c, watchRequest)
		r := bufio.NewReader(c)
		for line := ""; line != "\r\n"; {
			line, _ = r.ReadString('\n')
		}
		close(svc.EndedChan)
		var ending sync.WaitGroup
		ending.Go(func() { p.end(t) })
		synctest.Wait()
		changes <- spec.Change{Type: spec.Present, View: spec.View{Name: "last"}}
		close(changes)
		if rest, err := io.ReadAll(r); !strings.Contains(string(rest), `"name":"last"`) || err != nil {
			t.Errorf("rest %q, %v", rest, err)
		}
		ending.Wait()
		_ = c.Close()
	})
}

// A reader that stands still delays nobody, and sees the last state when it
// reads on; one that stays still is cut off.
func TestASlowReaderOfAWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := newLatest()
		svc := testService()
		svc.WatchFunc = source.watch
		p := newPipeServer(Options{Service: svc})
		slow := p.dial(t)
		_, _ = io.WriteString(slow, watchRequest)
		r := bufio.NewReader(slow)
		for line := ""; line != "\r\n"; {
			line, _ = r.ReadString('\n')
		}
		for i := range uint64(1000) {
			source.write(spec.View{Name: "a", Desired: spec.Desired{Generation: i}})
			time.Sleep(time.Millisecond)
		}
		// Others are answered meanwhile.
		if got := p.dial(t).say(t, 0, false, "check x"); got != "==Check Results Below==\n" {
			t.Errorf("answer %q", got)
		}
		var lines []string
		for !strings.Contains(strings.Join(lines, ""), `"generation":999,`) {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, line)
		}
		if len(lines) > 4 {
			t.Errorf("%d lines for one child that was read once", len(lines))
		}
		time.Sleep(15*time.Second + 30*time.Second + time.Second)
		synctest.Wait()
		if open := p.Stats().Open; open != 0 {
			t.Errorf("%d connections are open, the dead reader's among them", open)
		}
		_ = slow.Close()
		p.end(t)
	})
}

func TestClientWatch(t *testing.T) {
	s := newTCPServer(t, Options{})
	c := Dial(Target{Unix: s.socket})
	defer c.Close()
	var names []string
	for change, err := range c.Watch(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if change.Type == spec.Synced {
			break
		}
		names = append(names, change.View.Name)
	}
	if got := strings.Join(names, " "); got != "a b web web2" {
		t.Errorf("children %q", got)
	}
}

// The server sends the one child, and one of a former version all of them.
func TestClientWatchesOneChild(t *testing.T) {
	read := func(c *Client, child string) string {
		t.Helper()
		var got []string
		for change, err := range c.WatchChild(t.Context(), child) {
			if err != nil {
				return err.Error()
			}
			got = append(got, strings.TrimSpace(string(change.Type)+" "+change.View.Name))
			if change.Type == spec.Synced {
				break
			}
		}
		return strings.Join(got, ", ")
	}
	s := newTCPServer(t, Options{})
	c := Dial(Target{Unix: s.socket})
	defer c.Close()
	for child, want := range map[string]string{
		"": "present a, present b, present web, present web2, synced", "web": "present web, synced", "nobody": "synced",
		"../info": `there is no child "../info": no file of that name is in the load paths`,
		"a b":     `there is no child "a b": no file of that name is in the load paths`,
	} {
		if got := read(c, child); got != want {
			t.Errorf("%q: %q, want %q", child, got, want)
		}
	}
	var asked []string
	former := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		if r.URL.Path != "/v1/watch" {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"type":"urn:kita:no-such-path","title":"There is no such path","status":404,"detail":"no","code":"no-such-path"}`)
			return
		}
		_, _ = io.WriteString(w, `{"type":"present","view":{"name":"a"}}`+"\n"+`{"type":"present","view":{"name":"web"}}`+"\n"+`{"type":"synced"}`+"\n")
	}))
	defer former.Close()
	old := Dial(Target{TCP: former.Listener.Addr().String()})
	defer old.Close()
	if got := read(old, "web"); got != "present web, synced" || len(asked) != 2 {
		t.Errorf("a former server: %q, asked for %q", got, asked)
	}
}

func TestClientWatchEnds(t *testing.T) {
	t.Run("with its context", func(t *testing.T) {
		s := newTCPServer(t, Options{})
		c := Dial(Target{TCP: s.addr})
		defer c.Close()
		ctx, cancel := context.WithCancel(t.Context())
		var last error
		for change, err := range c.Watch(ctx) {
			last = err
			if change.Type == spec.Synced {
				cancel()
			}
		}
		cancel()
		if !errors.Is(last, context.Canceled) {
			t.Errorf("error %v", last)
		}
	})
	t.Run("with the server", func(t *testing.T) {
		s := newTCPServer(t, Options{})
		c := Dial(Target{TCP: s.addr})
		defer c.Close()
		var last error
		for change, err := range c.Watch(t.Context()) {
			last = err
			if change.Type == spec.Synced {
				closeServer(t, s.Server)
			}
		}
		var unreachable *Unreachable
		if !errors.As(last, &unreachable) {
			t.Errorf("error %v", last)
		}
	})
	t.Run("with a silent server", func(t *testing.T) {
		s := newTCPServer(t, Options{Timing: Timing{Heartbeat: time.Hour}})
		c := Dial(Target{TCP: s.addr})
		defer c.Close()
		var last error
		for _, err := range c.watch(t.Context(), "", 0, 200*time.Millisecond) {
			last = err
		}
		if !errors.Is(last, errSilent) {
			t.Errorf("error %v", last)
		}
	})
	t.Run("with nobody there", func(t *testing.T) {
		c := Dial(Target{Unix: "/nowhere/kita.sock"})
		defer c.Close()
		for _, err := range c.Watch(t.Context()) {
			var unreachable *Unreachable
			if !errors.As(err, &unreachable) {
				t.Errorf("error %v", err)
			}
		}
	})
}

// What came of the next request must not hide that the client has left.
func TestAWatchEndsWithItsClientWhateverFollowsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := testService()
		svc.WatchFunc = newLatest().watch
		p := newPipeServer(Options{Service: svc})
		for _, next := range []string{"", "GET ", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", strings.Repeat("\n", 5000)} {
			start := time.Now()
			c := p.dial(t)
			c.say(t, 0, true, watchRequest+next)
			if took := time.Since(start); took >= 15*time.Second {
				t.Errorf("with %.10q behind it the watch went on for %v", next, took)
			}
			_ = c.Close()
		}
		p.end(t)
	})
}

func TestAWatchBeatsAsItsClientAsks(t *testing.T) {
	tests := []struct {
		name, prefer string
		applied      string
		every        time.Duration
	}{
		{"nothing", "", "", 15 * time.Second},
		{"less", "heartbeat=2", "heartbeat=2", 2 * time.Second},
		{"among others", "wait=5, Heartbeat = \"3\"; x, handling=lenient", "", 15 * time.Second},
		{"quoted", "wait=5, Heartbeat = \"3\" , handling=lenient", "heartbeat=3", 3 * time.Second},
		{"twice", "heartbeat=4,heartbeat=1", "heartbeat=4", 4 * time.Second},
		{"more", "heartbeat=16", "", 15 * time.Second},
		{"the same", "heartbeat=15", "", 15 * time.Second},
		{"none", "heartbeat=0", "", 15 * time.Second},
		{"negative", "heartbeat=-1", "", 15 * time.Second},
		{"half", "heartbeat=0.5", "", 15 * time.Second},
		{"huge", "heartbeat=99999999999999999999", "", 15 * time.Second},
		{"without a number", "heartbeat", "", 15 * time.Second},
		{"another", "heartbeats=2", "", 15 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := testService()
				svc.WatchFunc = newLatest().watch
				p := newPipeServer(Options{Service: svc})
				c := p.dial(t)
				request := watchRequest
				if tt.prefer != "" {
					request = strings.Replace(request, "\r\n", "\r\nPrefer: "+tt.prefer+"\r\n", 1)
				}
				_, _ = io.WriteString(c, request)
				r := bufio.NewReader(c)
				applied := ""
				for line := ""; line != "\r\n"; {
					var err error
					if line, err = r.ReadString('\n'); err != nil {
						t.Fatal(err)
					}
					if value, is := strings.CutPrefix(line, "Preference-Applied: "); is {
						applied = strings.TrimSpace(value)
					}
				}
				for range 2 {
					start := time.Now()
					if line, err := r.ReadString('\n'); line != "\n" || time.Since(start) != tt.every {
						t.Errorf("heartbeat %q after %v, %v", line, time.Since(start), err)
					}
				}
				if applied != tt.applied {
					t.Errorf("applied %q, want %q", applied, tt.applied)
				}
				p.end(t)
				_ = c.Close()
			})
		})
	}
}

// opener opens connections to a server of a test.
type opener func() net.Conn

func (o opener) Open(context.Context) (net.Conn, error) { return o(), nil }
func (o opener) String() string                         { return "h1" }

// A server that hangs is noticed after three heartbeats, those that it has promised; one
// that beats is not.
func TestAWatchNoticesAServerThatHangs(t *testing.T) {
	tests := []struct {
		name  string
		head  string
		watch func(*Client, context.Context, string) iter.Seq2[spec.Change, error]
		after time.Duration
	}{
		{"closely", "Preference-Applied: heartbeat=2\r\n", (*Client).WatchClosely, 6 * time.Second},
		{"closely, a former version", "", (*Client).WatchClosely, 45 * time.Second},
		{"closely, another preference", "Preference-Applied: heartbeat=1\r\n", (*Client).WatchClosely, 45 * time.Second},
		{"as usual", "Preference-Applied: heartbeat=2\r\n", (*Client).WatchChild, 45 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := duplexPair()
				var serving sync.WaitGroup
				serving.Go(func() {
					r := bufio.NewReader(server)
					for line := ""; line != "\r\n"; {
						line, _ = r.ReadString('\n')
					}
					_, _ = io.WriteString(server, "HTTP/1.1 200 OK\r\n"+tt.head+"\r\n{\"type\":\"synced\",\"view\":{\"name\":\"\"}}\n")
				})
				var start time.Time
				var last error
				for change, err := range tt.watch(Dial(Target{Through: opener(func() net.Conn { return client })}), t.Context(), "") {
					if change.Type == spec.Synced {
						start = time.Now()
					}
					last = err
				}
				if took := time.Since(start); took != tt.after || !errors.Is(last, errSilent) || last.Error() != "h1 says nothing any more" {
					t.Errorf("%v after %v", last, took)
				}
				serving.Wait()
				_ = server.Close()
			})
		})
	}
	t.Run("one that beats", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			svc := testService()
			source := newLatest()
			svc.WatchFunc = source.watch
			p := newPipeServer(Options{Service: svc})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			time.AfterFunc(time.Hour, func() { source.write(spec.View{Name: "a"}) })
			start := time.Now()
			for change, err := range Dial(Target{Through: opener(func() net.Conn { return p.dial(t) })}).WatchClosely(ctx, "") {
				if err != nil || change.View.Name != "a" {
					t.Fatalf("%v, %v after %v", change, err, time.Since(start))
				}
				break
			}
			p.end(t)
		})
	})
}
