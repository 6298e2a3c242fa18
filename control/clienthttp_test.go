package control

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"kita/spec"
)

// counting serves h over TCP and counts its connections.
func counting(t testing.TB, h http.Handler) (Target, *atomic.Int64) {
	t.Helper()
	var conns atomic.Int64
	server := httptest.NewUnstartedServer(h)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	return Target{TCP: server.Listener.Addr().String()}, &conns
}

func TestTwoQuestionsOverOneConnection(t *testing.T) {
	const view, files = `{"name":"web"}`, `{"files":[{"path":"/log"}]}`
	const problem = `{"code":"not-found","title":"x","status":404}`
	say := func(w http.ResponseWriter, status int, text string) {
		w.Header().Set("Content-Type", "application/json")
		if status >= 300 {
			w.Header().Set("Content-Type", "application/problem+json")
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
	for _, tt := range []struct {
		name      string
		first     func(w http.ResponseWriter)
		second    func(w http.ResponseWriter)
		conns     int64
		refused   bool
		wantFiles int
	}{
		{
			name:  "both are answered",
			first: func(w http.ResponseWriter) { say(w, 200, view) }, second: func(w http.ResponseWriter) { say(w, 200, files) },
			conns: 1, wantFiles: 1,
		},
		{
			name: "the connection ends with the first answer",
			first: func(w http.ResponseWriter) {
				w.Header().Set("Connection", "close")
				say(w, 200, view)
			},
			second: func(w http.ResponseWriter) { say(w, 200, files) },
			conns:  2, wantFiles: 1,
		},
		{
			name:  "the connection ends with the second question",
			first: func(w http.ResponseWriter) { say(w, 200, view) },
			second: func() func(w http.ResponseWriter) {
				var asked atomic.Int64
				return func(w http.ResponseWriter) {
					if asked.Add(1) == 1 {
						panic(http.ErrAbortHandler)
					}
					say(w, 200, files)
				}
			}(),
			conns: 2, wantFiles: 1,
		},
		{
			name:  "the first is refused",
			first: func(w http.ResponseWriter) { say(w, 404, problem) }, second: func(http.ResponseWriter) { t.Error("the second was asked") },
			conns: 1, refused: true,
		},
		{
			name:  "the second is refused",
			first: func(w http.ResponseWriter) { say(w, 200, view) }, second: func(w http.ResponseWriter) { say(w, 404, problem) },
			conns: 1,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			target, conns := counting(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/v1/children/web" {
					tt.first(w)
				} else {
					tt.second(w)
				}
			}))
			v, got, err := Dial(target).GetWithOutput(t.Context(), "web")
			var refusal *spec.Refusal
			if errors.As(err, &refusal) != tt.refused || err != nil && !tt.refused {
				t.Fatalf("error %v", err)
			}
			if !tt.refused && v.Name != "web" || len(got) != tt.wantFiles {
				t.Errorf("%q with %d files", v.Name, len(got))
			}
			if n := conns.Load(); n != tt.conns {
				t.Errorf("%d connections, want %d", n, tt.conns)
			}
		})
	}
}

// TestAnAnswerThatIsCutOffEndsWithTheContext: whatever the answer is in the middle
// of, the context has the last word.
func TestAnAnswerThatIsCutOffEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	target, _ := counting(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, `{"name":`)
		_ = http.NewResponseController(w).Flush()
		cancel()
		<-r.Context().Done()
	}))
	if _, err := Dial(target).Get(ctx, "web"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestInterimAnswersComeBeforeTheAnswer(t *testing.T) {
	addr := says(t, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{\"name\":\"web\"}")
	if v, err := Dial(Target{TCP: addr}).Get(t.Context(), "web"); err != nil || v.Name != "web" {
		t.Errorf("%q, %v", v.Name, err)
	}
}

// BenchmarkGet is a whole call over the unix socket, a connection included.
func BenchmarkGet(b *testing.B) {
	s := newTCPServer(b, Options{Service: testService()})
	c := Dial(Target{Unix: s.socket})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Get(b.Context(), "a"); err != nil {
			b.Fatal(err)
		}
	}
}

// oldServer refuses every query, and counts how often.
func oldServer(refused *int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.RawQuery != "":
			*refused++
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"code":"bad-request","detail":"it takes no query parameters"}`)
		case r.URL.Path == "/v1/info":
			_, _ = io.WriteString(w, `{"pid":1}`)
		default:
			_, _ = io.WriteString(w, `{"children":[{"name":"web"}]}`)
		}
	})
}
