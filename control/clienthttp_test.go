package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

// conversation has say answer every connection, whose number is i, and closes it.
func conversation(t *testing.T, say func(nc net.Conn, i int)) Target {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for i := 0; ; i++ {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			say(nc, i)
			nc.Close()
		}
	})
	t.Cleanup(func() {
		ln.Close()
		served.Wait()
	})
	return Target{TCP: ln.Addr().String()}
}

// hears reads one question.
func hears(t *testing.T, nc net.Conn) (path string) {
	r, err := http.ReadRequest(bufio.NewReader(nc))
	if err != nil {
		t.Error(err)
		return ""
	}
	return r.URL.Path
}

// A question that nobody reads would end the connection with a reset, before the
// end of the answer.
func TestNoSecondQuestionToAServerThatCloses(t *testing.T) {
	target := conversation(t, func(nc net.Conn, _ int) {
		path := hears(t, nc)
		_, _ = io.WriteString(nc, "HTTP/1.0 200 OK\r\n\r\n")
		// Long enough for what must not come.
		_ = nc.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if n, _ := nc.Read(make([]byte, 1)); n > 0 {
			t.Error("another question came after the answer had said that it is the last")
		}
		if path == "/v1/info" {
			_, _ = io.WriteString(nc, `{"pid":1}`)
		} else {
			_, _ = io.WriteString(nc, `{"children":[{"name":"web"}]}`)
		}
	})
	views, info, err := Dial(target).Overview(t.Context(), true)
	if err != nil || len(views) != 1 || info.PID != 1 {
		t.Errorf("%v, PID %d, %v", views, info.PID, err)
	}
}

func TestAnAnswerLostToTheSecondQuestionIsAskedForAgain(t *testing.T) {
	const files, view = `{"files":[{"path":"/log"}]}`, `{"name":"web"}`
	target := conversation(t, func(nc net.Conn, i int) {
		text := files
		if hears(t, nc) == "/v1/children/web" {
			text = view
		}
		_, _ = fmt.Fprintf(nc, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(text))
		if i == 0 {
			text = text[:5]
			_, _ = io.WriteString(nc, text)
			// The rest of the second question makes the close a reset.
			_, _ = nc.Read(make([]byte, 1))
			return
		}
		_, _ = io.WriteString(nc, text)
	})
	v, got, err := Dial(target).GetWithOutput(t.Context(), "web")
	if err != nil || v.Name != "web" || len(got) != 1 {
		t.Errorf("%q with %d files, %v", v.Name, len(got), err)
	}
}

func TestTheHeadOfAnAnswerHasALimit(t *testing.T) {
	for name, text := range map[string]string{
		"one line":        strings.Repeat("x", 4096),
		"many lines":      strings.Repeat("A: b\r\n", 1000),
		"interim answers": strings.Repeat("b\r\n\r\nHTTP/1.1 100 Continue\r\nA: ", 1000),
	} {
		t.Run(name, func(t *testing.T) {
			target := conversation(t, func(nc net.Conn, _ int) {
				hears(t, nc)
				_, err := io.WriteString(nc, "HTTP/1.1 100 Continue\r\nA: ")
				for err == nil {
					_, err = io.WriteString(nc, text)
				}
			})
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, err := Dial(target).Get(ctx, "web")
			var other *NotHTTP
			if !errors.As(err, &other) || !strings.Contains(err.Error(), "longer than 1048576 bytes") {
				t.Errorf("error %v", err)
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
