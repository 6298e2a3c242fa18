package control

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestConnectionsBeyondTheCapAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipeServer(Options{MaxTCP: 2})
		first, second := p.dial(t), p.dial(t)
		synctest.Wait()
		for range 3 {
			if got := p.dial(t).say(t, 0, false); got != "" {
				t.Errorf("beyond the cap: %q", got)
			}
		}
		if stats := p.Stats(); stats != (Stats{Open: 2, Refused: 3}) {
			t.Errorf("stats %+v", stats)
		}
		// An HTTP connection holds its slot until it is closed.
		if got := first.say(t, 0, false, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200") {
			t.Errorf("within the cap: %q", got)
		}
		synctest.Wait()
		if got := p.dial(t).say(t, 0, false, "check x"); got != "==Check Results Below==\n" {
			t.Errorf("after one was closed: %q", got)
		}
		_ = second.Close()
		p.end(t)
	})
}

// The unix socket answers although TCP has no room left.
func TestTheSocketHasItsOwnReserve(t *testing.T) {
	s := newTCPServer(t, Options{MaxTCP: 1})
	s.dial(t)
	for s.Stats().Refused == 0 {
		if _, err := io.ReadAll(s.dial(t)); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Fatal(err)
		}
	}
	client := Dial(Target{Unix: s.socket})
	defer client.Close()
	if views, err := client.List(t.Context()); err != nil || len(views) != 4 {
		t.Errorf("%d children, %v", len(views), err)
	}
}

// scriptedListener returns its results one by one, then waits to be closed.
type scriptedListener struct {
	*pipeListener
	results []func() (net.Conn, error)
}

func (l *scriptedListener) Accept() (net.Conn, error) {
	if len(l.results) == 0 {
		return l.pipeListener.Accept()
	}
	next := l.results[0]
	l.results = l.results[1:]
	return next()
}

func TestOutOfDescriptors(t *testing.T) {
	emfile := func() (net.Conn, error) {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	client, server := duplexPair()
	accepted := func() (net.Conn, error) { return server, nil }

	t.Run("the next client is told and the reserve is kept", func(t *testing.T) {
		ln := &scriptedListener{newPipeListener(), []func() (net.Conn, error){emfile, accepted, emfile, emfile}}
		opened := 0
		a := &acceptor{ln: ln, open: func() (*os.File, error) {
			// None is to be had while the accepted connection is open.
			if opened++; opened == 2 {
				return nil, syscall.EMFILE
			}
			return os.Open(os.DevNull)
		}}
		defer a.close()
		if nc, err := a.accept(); nc != nil || !errors.Is(err, syscall.EMFILE) {
			t.Errorf("accept: %v, %v", nc, err)
		}
		if rest, err := io.ReadAll(client); len(rest) != 0 || err != nil {
			t.Errorf("the refused client: %q, %v", rest, err)
		}
		if a.reserve == nil {
			t.Error("the reserve is not there again")
		}
		if _, err := a.accept(); !errors.Is(err, syscall.EMFILE) || a.refill() != true {
			t.Errorf("second accept: %v", err)
		}
	})
	t.Run("descriptors are there again", func(t *testing.T) {
		ln := &scriptedListener{newPipeListener(), []func() (net.Conn, error){emfile, accepted}}
		a := newAcceptor(ln)
		defer a.close()
		if nc, err := a.accept(); nc != net.Conn(server) || err != nil {
			t.Errorf("accept: %v, %v", nc, err)
		}
	})
	t.Run("the server backs off and goes on", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var results []func() (net.Conn, error)
			for range 9 {
				results = append(results, func() (net.Conn, error) { return nil, syscall.ECONNABORTED })
			}
			ln := &scriptedListener{newPipeListener(), results}
			s := NewServer(Options{Service: testService()})
			served := make(chan error)
			go func() { served <- s.ServeTCP(t.Context(), ln) }()
			client, server := duplexPair()
			start := time.Now()
			ln.conns <- server
			// 5, 10, 20 … 640 ms, 1 s.
			if took := time.Since(start); took != 2275*time.Millisecond {
				t.Errorf("nine failures took %v", took)
			}
			if got := client.say(t, 0, false, "check x"); got != "==Check Results Below==\n" {
				t.Errorf("answer %q", got)
			}
			closeServer(t, s)
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
	})
}

func TestMetricsListenerServesMetricsOnly(t *testing.T) {
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "kita_up 1\n") })
	s := NewServer(Options{Service: testService(), Metrics: metrics, Encrypt: true})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.ServeMetrics(context.Background(), ln) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for path, want := range map[string]int{"/metrics": 200, "/v1/sd": 200, "/v1/children": 404, "/": 404} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+ln.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "whatever.prometheus.says"
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != want || path == "/metrics" && string(body) != "kita_up 1\n" {
			t.Errorf("%s: %d %q, want %d", path, response.StatusCode, body, want)
		}
	}
	closeServer(t, s)
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// A body that never comes holds no connection of the metrics.
func TestMetricsTakeNoBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipeServer(Options{Metrics: http.NotFoundHandler()})
		ln := newPipeListener()
		p.served.Go(func() { _ = p.ServeMetrics(context.Background(), ln) })
		for _, request := range []string{
			"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n",
			"GET /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
		} {
			client, server := duplexPair()
			ln.conns <- server
			start := time.Now()
			got := client.say(t, 0, false, request)
			if took := time.Since(start); !strings.HasPrefix(got, "HTTP/1.1 400") || took > 11*time.Second {
				t.Errorf("%q: %q after %v", request, got, took)
			}
		}
		p.end(t)
	})
}

// Neither the port nor the metrics use up the connections of the other.
func TestMetricsHaveSlotsOfTheirOwn(t *testing.T) {
	h := newHouse(t, Options{MaxTCP: 1})
	h.dial("tcp", h.addr)
	for range maxMetrics {
		c := h.dial("tcp", h.metrics)
		c.say("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
		c.wantAnswer(200, "kita_up")
	}
	h.open(1 + capsOfMetrics.perAddress)
	h.server.mu.Lock()
	defer h.server.mu.Unlock()
	for c := range h.server.conns {
		if !c.isMetrics {
			return
		}
	}
	t.Error("the connection to the port has given way")
}
