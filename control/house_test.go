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
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"kita/spec"
)

// house is a TCP port, a unix socket and a metrics port that one server after
// another serves, as a process and its successors do.
type house struct {
	t              *testing.T
	addr, metrics  string
	socket         string
	fds            [3]int // TCP, unix, metrics
	server         *Server
	serving        sync.WaitGroup
	done           spec.Upgraded
	handOverWithin time.Duration
}

func newHouse(t *testing.T, opt Options) *house {
	t.Helper()
	dir, err := os.MkdirTemp("", "kita")
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, socket: filepath.Join(dir, "kita.sock"), done: spec.Upgraded{From: "1", To: "2", Binary: "/bin/kita", PID: 7}, handOverWithin: 10 * time.Second}
	unixListener, err := ListenUnix(h.socket)
	if err != nil {
		t.Fatal(err)
	}
	tcp, metrics := listenLocal(t), listenLocal(t)
	h.addr, h.metrics = tcp.Addr().String(), metrics.Addr().String()
	h.start(opt, tcp, unixListener, metrics)
	t.Cleanup(func() {
		closeServer(t, h.server)
		h.serving.Wait()
		if _, err := os.Lstat(h.socket); err == nil {
			t.Errorf("%s is left", h.socket)
		}
		os.RemoveAll(dir)
	})
	return h
}

func listenLocal(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func (h *house) start(opt Options, tcp, unix, metrics net.Listener) {
	h.t.Helper()
	if opt.Service == nil {
		opt.Service = testService()
	}
	opt.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "kita_up 1\n") })
	if opt.Upgrade == nil {
		opt.Upgrade = func(ctx context.Context, _, _ string) error {
			<-ctx.Done()
			return ctx.Err()
		}
	}
	s := NewServer(opt)
	h.server = s
	for i, ln := range []net.Listener{tcp, unix, metrics} {
		fd, err := Descriptor(ln)
		if err != nil {
			h.t.Fatal(err)
		}
		h.fds[i] = fd
		serve := []func(context.Context, net.Listener) error{s.ServeTCP, s.ServeUnix, s.ServeMetrics}[i]
		h.serving.Go(func() {
			// It may be handed over before it has begun.
			if err := serve(context.Background(), ln); err != nil && !errors.Is(err, http.ErrServerClosed) {
				h.t.Errorf("serve: %v", err)
			}
			// An exec would close it without a word.
			if s.isLeaving() {
				if l, ok := ln.(*unixListener); ok {
					ln = l.UnixListener
				}
				_ = ln.Close()
			}
		})
	}
	h.t.Cleanup(func() {
		for _, fd := range h.fds {
			Handed{FD: fd}.Drop()
		}
	})
}

// handOver ends the server and begins the next, with what has gone through the
// form in which it passes an exec.
func (h *house) handOver(opt Options, failure *spec.Refusal) []Handed {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), h.handOverWithin)
	defer cancel()
	handed, err := h.server.HandOver(ctx)
	if err != nil {
		h.t.Errorf("hand over: %v", err)
	}
	h.serving.Wait()
	text, err := json.Marshal(handed)
	if err != nil {
		h.t.Fatal(err)
	}
	handed = nil
	if err := json.Unmarshal(text, &handed); err != nil {
		h.t.Fatal(err)
	}
	var listeners [3]net.Listener
	for i, path := range []string{"", h.socket, ""} {
		if listeners[i], err = InheritListener(h.fds[i], path); err != nil {
			h.t.Fatal(err)
		}
	}
	h.start(opt, listeners[0], listeners[1], listeners[2])
	h.server.Resume(handed, h.done, failure)
	return handed
}

// until waits for a condition that no event tells of.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(30 * time.Second); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never came: %s", what)
		}
	}
}

func (h *house) open(n int) {
	h.t.Helper()
	until(h.t, fmt.Sprintf("%d open connections", n), func() bool { return h.server.Stats().Open == n })
}

// awaitHead waits until an HTTP server has read the beginning of a head.
func (h *house) awaitHead(head string) {
	h.t.Helper()
	until(h.t, "the server has read "+head, func() bool {
		h.server.mu.Lock()
		defer h.server.mu.Unlock()
		for c := range h.server.conns {
			c.mu.Lock()
			read := string(c.frame.head)
			c.mu.Unlock()
			if read == head {
				return true
			}
		}
		return false
	})
}

// awaitBusy waits until the only connection has a request under way, the head of
// which was read.
func (h *house) awaitBusy() {
	h.t.Helper()
	until(h.t, "the head is read", func() bool {
		h.server.mu.Lock()
		defer h.server.mu.Unlock()
		for c := range h.server.conns {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.busy
		}
		return false
	})
}

// caller is a client of a raw connection.
type caller struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func (h *house) dial(network, addr string) *caller {
	h.t.Helper()
	nc, err := net.Dial(network, addr)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	return &caller{Conn: nc, t: h.t, r: bufio.NewReader(nc)}
}

func (c *caller) say(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads one HTTP response.
func (c *caller) answer() (*http.Response, string) {
	c.t.Helper()
	response, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatalf("read an answer: %v", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatalf("read the body: %v", err)
	}
	return response, string(body)
}

func (c *caller) wantAnswer(status int, contains string) *http.Response {
	c.t.Helper()
	response, body := c.answer()
	if response.StatusCode != status || !strings.Contains(body, contains) {
		c.t.Fatalf("got %d, want %d and %q in\n%s", response.StatusCode, status, contains, body)
	}
	return response
}
