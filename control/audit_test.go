package control

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"kita/spec"
)

func TestAuditLines(t *testing.T) {
	g := newGated(t, rulesOfTests(), func(o *Options) { o.AllowedHosts = []string{"localhost"} })
	g.http(local, "GET /v1/children")
	g.http(ops, "GET /v1/children/a")
	g.http(ops, "GET /v1/children/x")
	g.http(ops, "GET /v1/info")
	g.http(ops, "GET /metrics")
	g.http(ops, "POST /v1/validate")
	g.http(ops, "POST /v1/upgrade")
	g.http(ops, "POST /v1/children/b/start")
	g.http(ops, "POST /v1/children/b/start")
	g.http(ops, "POST /v1/stop")
	g.http(ops, "POST /v1/stop?x=y")
	g.http(ops, "GET /v1/watch?x=y")
	g.http(ops, "GET /v1/children/all/watch")
	g.http(ops, "GET /v1/children/a.b/watch")
	g.http(ci, "GET /v1/children/all/watch")
	g.http(ci, "POST /v1/children/a/stop")
	g.http(plain, "POST /v1/kill")
	g.http(ops, "POST /v1/kill")
	// These are no commands.
	g.http(ops, "GET /healthz")
	g.http(ops, "GET /readyz")
	g.http(ops, "GET /openapi.yaml")
	g.http(ops, "GET /v2")
	g.http(ops, "DELETE /v1/stop")
	g.text(ops, "help")

	g.text(local, "check")
	g.text(ops, "info")
	g.text(starter, "start web")
	g.text(starter, "start web")
	g.text(starter, "check web")
	g.text(starter, "stop all")
	g.text(plain, "garbage")
	g.text(ops, "kill")
	want := []string{
		"unix  uid:0: check : ok",
		"ssh ops 10.0.0.7:2: check a: ok",
		"ssh ops 10.0.0.7:2: check x: not-found",
		"ssh ops 10.0.0.7:2: info : ok",
		"ssh ops 10.0.0.7:2: metrics : ok",
		"ssh ops 10.0.0.7:2: validate : ok",
		"ssh ops 10.0.0.7:2: upgrade : bad-binary",
		"ssh ops 10.0.0.7:2: start b: ok",
		"ssh ops 10.0.0.7:2: start b: already-running",
		"ssh ops 10.0.0.7:2: stop all: ok",
		"ssh ops 10.0.0.7:2: stop all: bad-request",
		// One that is refused never began.
		"ssh ops 10.0.0.7:2: watch : bad-request",
		"ssh ops 10.0.0.7:2: watch : bad-request",
		`ssh ops 10.0.0.7:2: watch "a.b": bad-request`,
		"ssh ci-1 10.0.0.7:2: watch : forbidden",
		"ssh ci-1 10.0.0.7:2: stop a: forbidden",
		"tcp  10.0.0.7:2: kill : forbidden",
		"ssh ops 10.0.0.7:2: kill : ok",
		"unix  uid:0: check : ok",
		"ssh ops 10.0.0.7:2: info : ok",
		"old starter 10.0.0.7:2: start web: ok",
		"old starter 10.0.0.7:2: start web: already-running",
		"old starter 10.0.0.7:2: check web: forbidden",
		"old starter 10.0.0.7:2: stop all: ok",
		"tcp  10.0.0.7:2: connect : bad-request",
		"ssh ops 10.0.0.7:2: kill : ok",
	}
	if got := g.lines(); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// The line of a watch is written when it begins, that of a command when its
// result is known, also when nobody is left to hear it.
func TestAuditOfWhatTakesLong(t *testing.T) {
	g := newGated(t, nil, nil)
	g.watch(plain).want("present a")
	if got := g.lines(); !slices.Equal(got, []string{"tcp  10.0.0.7:2: watch : ok"}) {
		t.Errorf("got %q", got)
	}
	begun := make(chan struct{})
	g.svc.DoFunc = func(ctx context.Context, _ spec.Command) (spec.Outcome, error) {
		close(begun)
		<-ctx.Done()
		return spec.Outcome{}, ctx.Err()
	}
	ctx, leave := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	asking.Go(func() {
		if _, _, err := g.request(ctx, plain, "POST /v1/children/a/stop"); err == nil {
			t.Error("an answer")
		}
	})
	<-begun
	if got := len(g.lines()); got != 1 {
		t.Errorf("%d lines before the result", got)
	}
	leave()
	asking.Wait()
	until(t, "the line", func() bool { return len(g.lines()) == 2 })
	if got := g.lines()[1]; got != "tcp  10.0.0.7:2: stop a: gone" {
		t.Errorf("got %q", got)
	}
}

func TestAuditOfRefusedConnections(t *testing.T) {
	t.Run("encrypt", func(t *testing.T) {
		g := newGated(t, nil, func(o *Options) { o.Encrypt = true })
		for range 2 {
			g.dial(t).say(t, 0, false, "stop all\n")
			g.dial(t).say(t, 0, true, "GET /metrics HTTP/1.0\r\n\r\n")
		}
		want := slices.Repeat([]string{"tcp  10.0.0.7:2: connect : forbidden"}, 4)
		if got := g.lines(); !slices.Equal(got, want) {
			t.Errorf("got %q", got)
		}
	})
	t.Run("a foreign page", func(t *testing.T) {
		g := newGated(t, nil, nil)
		g.dial(t).say(t, 0, true, "GET /v1/info HTTP/1.1\r\nHost: evil.example.com\r\nConnection: close\r\n\r\n")
		g.dial(t).say(t, 0, true, "GET /v1/info HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example.com\r\nConnection: close\r\n\r\n")
		want := []string{"tcp  10.0.0.7:2: connect : misdirected", "tcp  10.0.0.7:2: connect : forbidden"}
		if got := g.lines(); !slices.Equal(got, want) {
			t.Errorf("got %q", got)
		}
	})
	t.Run("a flood", func(t *testing.T) {
		g := newGated(t, nil, nil)
		for range refusalBurst + 50 {
			g.recordRefused(plain, codeForbidden, "no")
		}
		if got := len(g.lines()); got < refusalBurst || got > refusalBurst+40 {
			t.Errorf("%d lines", got)
		}
	})
}

// What a key's owner asks for in vain leaves a line, too, and a question for help
// none.
func TestAuditOfWhatIsNoCommand(t *testing.T) {
	h := newSSHHouse(t, Options{Exec: func(ctx context.Context, e Exec) int {
		switch e.Line {
		case "help":
			return 0
		case "check":
			_ = echo(ctx, e)
		}
		return 2
	}})
	client := h.mustLogin(t, h.admit(t, "ops"))
	for _, line := range []string{"help", "check", "rm -rf \u202e/"} {
		session, err := client.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		_ = session.Run(line)
	}
	if _, err := client.Dial("tcp", "127.0.0.1:22"); err == nil {
		t.Error("a port is forwarded")
	}
	if _, err := client.Listen("tcp", "127.0.0.1:0"); err == nil {
		t.Error("a port is listened on")
	}
	h.wantAudit(t, `"key":"ops"`, `"check"`, `"ok"`)
	h.wantAudit(t, `"key":"ops"`, `"connect"`, `"bad-request"`, `rm -rf \\u202e/`)
	h.wantAudit(t, `"key":"ops"`, `"connect"`, `"forbidden"`, `direct-tcpip`)
	h.wantAudit(t, `"key":"ops"`, `"connect"`, `"forbidden"`, `listen on a port`)
	if text, err := os.ReadFile(h.audit); err != nil || strings.Count(string(text), "\n") != 4 {
		t.Errorf("%v, the log has\n%s", err, text)
	}
}

// Whoever floods the port does not hide which keys are tried.
func TestAFloodDoesNotHideWrongKeys(t *testing.T) {
	flood := func(s *Server) {
		for range refusalBurst + 50 {
			s.recordRefused(plain, codeForbidden, "no")
		}
	}
	h := newSSHHouse(t, Options{})
	flood(h.Server)
	key, _ := newKey(t)
	if _, err := h.login(t, key); err == nil {
		t.Fatal("a key that nobody knows is admitted")
	}
	h.wantAudit(t, `"via":"ssh"`, `"forbidden"`, ssh.FingerprintSHA256(key.PublicKey()))

	old := newOldHouse(t)
	p := newTCPServer(t, old.options(testService()))
	flood(p.Server)
	c := p.dial(t)
	_, _ = io.WriteString(c, old.sealed("away", old.away, "check"))
	if _, err := io.ReadAll(c); err != nil {
		t.Fatal(err)
	}
	wantAuditLine(t, old.config.AuditLog, `"via":"old"`, `"forbidden"`, "away")
}

func TestAuditLogThatCannotBeWritten(t *testing.T) {
	g := newGated(t, nil, nil)
	g.audit = filepath.Join(g.audit, "no", "directory")
	g.allow(nil)
	if status, _ := g.http(plain, "POST /v1/children/b/start"); status != 200 {
		t.Errorf("the command is refused: %d", status)
	}
	_, body := g.http(plain, "GET /v1/info")
	var info spec.Info
	if err := json.Unmarshal([]byte(body), &info); err != nil {
		t.Fatal(err)
	}
	if len(info.Problems) != 1 || !strings.HasPrefix(info.Problems[0], "the audit log cannot be written, commands are carried out without it: "+g.audit) {
		t.Errorf("problems %q", info.Problems)
	}
}

// Who waits over an upgrade keeps the key that was proved, and the next server
// writes the line.
func TestAuditOverAnUpgrade(t *testing.T) {
	g := newGated(t, rulesOfTests(), nil)
	ln := listenLocal(t)
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	g.overTCP.slots <- struct{}{}
	c := &conn{Conn: nc, s: g.Server, transport: transport{network: viaTCP, slots: g.overTCP.slots}, asker: starter}
	g.track(c)
	pending := &spec.Pending{Command: spec.Command{Verb: spec.VerbStart, Child: "web"}}
	g.surrender(c, Handed{Stage: StageText, Read: []byte("starter;sealed"), Pending: pending})
	g.Server.mu.Lock()
	handed := g.handed
	g.handed = nil
	g.Server.mu.Unlock()
	text, err := json.Marshal(handed)
	if err != nil {
		t.Fatal(err)
	}
	handed = nil
	if err := json.Unmarshal(text, &handed); err != nil {
		t.Fatal(err)
	}

	// The rules of the next one would not allow it, and it takes no packets: it has
	// been begun.
	next := newGated(t, spec.Access{}, nil)
	next.Resume(handed, spec.Upgraded{}, nil)
	_ = client.SetReadDeadline(time.Now().Add(30 * time.Second))
	answer, err := io.ReadAll(client)
	if err != nil || !strings.HasPrefix(string(answer), "Running on encrypt mode, need to dencrypt your command.\nstart web success") {
		t.Errorf("%q, %v", answer, err)
	}
	want := "old starter " + nc.RemoteAddr().String() + ": start web: ok"
	if got := next.lines(); !slices.Equal(got, []string{want}) {
		t.Errorf("got %q, want %s", got, want)
	}
	if got := g.lines(); got != nil {
		t.Errorf("the former one wrote %q", got)
	}
}
