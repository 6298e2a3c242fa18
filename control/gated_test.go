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
	"sync/atomic"
	"testing"
	"time"

	"kita/control/audit"
	"kita/control/controltest"
	"kita/spec"
)

// Those who ask in these tests.
var (
	local   = asker{via: viaUnix, peer: "0"}
	plain   = asker{via: viaTCP, peer: "10.0.0.7:2"}
	ops     = asker{via: viaSSH, peer: "10.0.0.7:2", key: "ops"}
	ci      = asker{via: viaSSH, peer: "10.0.0.7:2", key: "ci-1"}
	reader  = asker{via: viaSSH, peer: "10.0.0.7:2", key: "reader"}
	starter = asker{via: viaOld, peer: "10.0.0.7:2", key: "starter"}
	nobody  = asker{via: viaSSH, peer: "10.0.0.7:2", key: "nobody"}
)

func rules(keys string, children string, rights ...spec.Right) spec.AccessRule {
	return spec.AccessRule{Keys: []string{keys}, Rights: rights, Children: []string{children}}
}

// rulesOfTests give ops everything, ci-1 web and web2, reader to read and
// starter to operate all.
func rulesOfTests() spec.Access {
	return spec.Access{
		rules("ops", "*", spec.Admin), rules("ci-*", "web*", spec.Read, spec.Operate),
		rules("reader", "*", spec.Read), rules("starter", "*", spec.Operate),
	}
}

// gated is a server whose askers are made up.
type gated struct {
	*pipeServer
	t      *testing.T
	svc    *controltest.Service
	config atomic.Pointer[spec.Server]
	audit  string

	mu       sync.Mutex
	observed []string // owned by mu
}

func newGated(t *testing.T, access spec.Access, edit func(*Options)) *gated {
	t.Helper()
	g := &gated{t: t, svc: testService(), audit: filepath.Join(t.TempDir(), "audit")}
	g.allow(access)
	opt := Options{
		Service: g.svc, Config: g.config.Load,
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "kita_up 1\n") }),
		Upgrade: func(context.Context, string, string) error {
			return spec.Refuse(spec.BadBinary, "", "", "the new version is no good")
		},
		ObserveCommand: func(verb, result string) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.observed = append(g.observed, verb+" "+result)
		},
	}
	if edit != nil {
		edit(&opt)
	}
	g.pipeServer = newPipeServer(opt)
	t.Cleanup(func() { g.end(t) })
	return g
}

// allow edits server.yml.
func (g *gated) allow(access spec.Access) {
	server := spec.DefaultServer()
	server.Access, server.AuditLog = access, g.audit
	g.config.Store(server)
}

// dialAs returns the client's side of a connection of a.
func (g *gated) dialAs(a asker) *duplex {
	g.t.Helper()
	client, server := duplexPair()
	t := transport{network: viaTCP, slots: g.overTCP.slots}
	if a.via == viaUnix {
		t.network = viaUnix
	}
	t.slots <- struct{}{}
	c := &conn{Conn: server, s: g.Server, transport: t, asker: a}
	if !g.track(c) {
		g.t.Fatal("the server has ended")
	}
	g.Server.mu.Lock()
	g.beginHTTP()
	g.Server.mu.Unlock()
	g.tasks.Go(func() { g.handle(c) })
	return client
}

// http asks over HTTP: "POST /v1/stop", and returns the status and the body.
func (g *gated) http(a asker, line string) (int, string) {
	g.t.Helper()
	status, body, err := g.request(g.t.Context(), a, line)
	if err != nil {
		g.t.Fatalf("%s: %v", line, err)
	}
	return status, body
}

func (g *gated) request(ctx context.Context, a asker, line string) (int, string, error) {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return g.dialAs(a), nil }}
	method, path, _ := strings.Cut(line, " ")
	r, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, nil)
	if err != nil {
		return 0, "", err
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	response, err := transport.RoundTrip(r)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

// text asks over the text protocol.
func (g *gated) text(a asker, line string) string {
	g.t.Helper()
	return g.dialAs(a).say(g.t, 0, false, line+"\n")
}

// lines are those of the audit log so far, without their times.
func (g *gated) lines() []string {
	g.t.Helper()
	content, err := os.ReadFile(g.audit)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		g.t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(content)) {
		var e audit.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			g.t.Fatalf("%q: %v", line, err)
		}
		if e.Time.Location() != time.UTC || time.Since(e.Time) > time.Hour {
			g.t.Errorf("the time is %v", e.Time)
		}
		lines = append(lines, fmt.Sprintf("%s %s %s: %s %s: %s", e.Via, e.Key, e.Peer, e.Verb, e.Child, e.Result))
	}
	return lines
}

// watcher reads a watch.
type watcher struct {
	t *testing.T
	r *bufio.Reader
}

func (g *gated) watch(a asker) *watcher {
	g.t.Helper()
	return g.watchPath(a, "/v1/watch")
}

func (g *gated) watchPath(a asker, path string) *watcher {
	g.t.Helper()
	c := g.dialAs(a)
	g.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c, "GET "+path+" HTTP/1.0\r\nHost: localhost\r\n\r\n"); err != nil {
		g.t.Fatal(err)
	}
	w := &watcher{t: g.t, r: bufio.NewReader(c)}
	for {
		line, err := w.r.ReadString('\n')
		if err != nil {
			g.t.Fatal(err)
		}
		if line == "\r\n" {
			return w
		}
	}
}

// next is the next change: "present web", "synced", or "end".
func (w *watcher) next() string {
	w.t.Helper()
	for {
		line, err := w.r.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return "end"
		}
		if err != nil {
			w.t.Fatal(err)
		}
		if line == "\n" {
			continue
		}
		var change spec.Change
		if err := json.Unmarshal([]byte(line), &change); err != nil {
			w.t.Fatalf("%q: %v", line, err)
		}
		return strings.TrimSpace(string(change.Type) + " " + change.View.Name)
	}
}

func (w *watcher) want(changes ...string) {
	w.t.Helper()
	for _, want := range changes {
		if got := w.next(); got != want {
			w.t.Fatalf("got %q, want %q", got, want)
		}
	}
}
