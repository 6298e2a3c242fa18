package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kita/control/controltest"
	"kita/spec"
)

const getHealth = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

func TestIdleConnectionsLiveOn(t *testing.T) {
	h := newHouse(t, Options{})
	idle := []*caller{h.dial("tcp", h.addr), h.dial("unix", h.socket)}
	for _, c := range idle {
		c.say(getHealth)
		c.wantAnswer(200, "ok")
	}
	fresh := h.dial("tcp", h.addr)
	text := h.dial("unix", h.socket)
	text.say("inf")
	half := h.dial("tcp", h.addr)
	half.say("GET /healthz HTTP/1.1\r\nHo")
	h.awaitHead("GET /healthz HTTP/1.1\r\nHo")
	kept := h.dial("tcp", h.addr)
	kept.say(getHealth + "GET /healthz HTTP/1.1\r\nHost: loc")
	kept.wantAnswer(200, "ok")
	metrics := h.dial("tcp", h.metrics)
	metrics.say("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
	metrics.wantAnswer(200, "kita_up")
	h.open(7)

	// Twice: what was handed over can be handed over again.
	for range 2 {
		if handed := h.handOver(Options{}, nil); len(handed) != 7 {
			t.Errorf("%d connections were handed over, want 7: %+v", len(handed), handed)
		}
	}
	for _, c := range idle {
		c.say(getHealth)
		c.wantAnswer(200, "ok")
	}
	fresh.say(getHealth)
	fresh.wantAnswer(200, "ok")
	half.say("st: localhost\r\n\r\n")
	half.wantAnswer(200, "ok")
	kept.say("alhost\r\n\r\n" + getHealth)
	kept.wantAnswer(200, "ok")
	kept.wantAnswer(200, "ok")
	metrics.say("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
	metrics.wantAnswer(200, "kita_up")
	text.say("o\n")
	if answer, err := io.ReadAll(text); err != nil || !strings.Contains(string(answer), "==Server Info Below==") {
		t.Errorf("text: %q, %v", answer, err)
	}
}

// slowService has commands that wait until they are let go or handed over, and
// counts those that came.
func slowService() (svc *controltest.Service, began <-chan string, finish func()) {
	svc = testService()
	begin, done := make(chan string, 10), make(chan struct{})
	wait := func(ctx context.Context, p spec.Pending) (spec.Outcome, error) {
		begin <- p.Command.Child
		select {
		case <-done:
			return spec.Outcome{Verb: p.Command.Verb, Child: p.Command.Child, Generation: p.Generation, Note: "after " + p.Note}, nil
		case <-ctx.Done():
		}
		if errors.Is(context.Cause(ctx), spec.ErrHandover) {
			p.Note += "+"
			return spec.Outcome{}, &spec.PendingError{Pending: p}
		}
		return spec.Outcome{}, ctx.Err()
	}
	svc.DoFunc = func(ctx context.Context, c spec.Command) (spec.Outcome, error) {
		return wait(ctx, spec.Pending{Command: c, Generation: 5})
	}
	svc.ResumeFunc = wait
	return svc, begin, sync.OnceFunc(func() { close(done) })
}

func post(path, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
}

func TestCommandsThatWaitAreAnsweredByTheNext(t *testing.T) {
	svc, began, _ := slowService()
	var observed atomic.Int32
	h := newHouse(t, Options{Service: svc, ObserveCommand: func(string, string) { observed.Add(1) }})
	viaHTTP, last, text := h.dial("unix", h.socket), h.dial("tcp", h.addr), h.dial("tcp", h.addr)
	viaHTTP.say(post("/v1/children/a/stop", "{}") + getHealth[:20])
	last.say(strings.Replace(post("/v1/stop", ""), "Host", "Connection: close\r\nHost", 1))
	text.say("stop b\n")
	for range 3 {
		<-began
	}
	svc, began, _ = slowService()
	h.handOver(Options{Service: svc}, nil)
	for range 3 {
		<-began
	}
	if n := observed.Load(); n != 0 {
		t.Errorf("%d commands were counted that are not at their end", n)
	}
	svc, _, finish := slowService()
	finish()
	h.handOver(Options{Service: svc}, nil)
	viaHTTP.wantAnswer(200, `"generation":5,"note":"after ++"`)
	viaHTTP.say(getHealth[20:])
	viaHTTP.wantAnswer(200, "ok")
	if response := last.wantAnswer(200, `"child":"all"`); !response.Close {
		t.Error("the answer to Connection: close keeps the connection")
	}
	if rest, err := io.ReadAll(last); err != nil || len(rest) > 0 {
		t.Errorf("after the last answer: %q, %v", rest, err)
	}
	if answer, err := io.ReadAll(text); err != nil || string(answer) != "stop b success" {
		t.Errorf("text: %q, %v", answer, err)
	}
}

func TestRefusalsOfTheNextServerReachWhoWaits(t *testing.T) {
	svc, began, _ := slowService()
	h := newHouse(t, Options{Service: svc})
	viaHTTP, text := h.dial("tcp", h.addr), h.dial("tcp", h.addr)
	viaHTTP.say(post("/v1/children/a/stop", "{}"))
	text.say("stop a\n")
	<-began
	<-began
	svc = testService()
	svc.ResumeFunc = func(_ context.Context, p spec.Pending) (spec.Outcome, error) {
		return spec.Outcome{}, spec.Refuse(spec.NotStopped, spec.VerbStop, p.Command.Child, "PID 7 is left")
	}
	h.handOver(Options{Service: svc}, nil)
	viaHTTP.wantAnswer(500, `"code":"not-stopped"`)
	if answer, err := io.ReadAll(text); err != nil || string(answer) != "PID 7 is left" {
		t.Errorf("text: %q, %v", answer, err)
	}
}

func TestWhoAskedForTheUpgradeIsAnswered(t *testing.T) {
	began := make(chan string, 2)
	opt := Options{Upgrade: func(ctx context.Context, binary, _ string) error {
		began <- binary
		<-ctx.Done()
		return ctx.Err()
	}}
	h := newHouse(t, opt)
	c := h.dial("unix", h.socket)
	ask := func() {
		c.say(post("/v1/upgrade", `{"binary":"/bin/kita"}`))
		if binary := <-began; binary != "/bin/kita" {
			t.Errorf("an upgrade to %q was asked for", binary)
		}
	}
	ask()
	h.handOver(opt, nil)
	c.wantAnswer(200, `{"from":"1","to":"2","binary":"/bin/kita","pid":7}`)
	ask()
	h.handOver(opt, spec.Refuse(spec.BadBinary, "", "", "it cannot be executed"))
	c.wantAnswer(422, "it cannot be executed")
	c.say(getHealth)
	c.wantAnswer(200, "ok")
}

func TestAWatchGoesOn(t *testing.T) {
	h := newHouse(t, Options{})
	watched := func(svc *controltest.Service) Options { return Options{Service: svc} }
	changes := make(chan string, 100)
	var client sync.WaitGroup
	ctx, leave := context.WithCancel(t.Context())
	client.Go(func() {
		for change, err := range Dial(Target{Unix: h.socket}).Watch(ctx) {
			if err != nil {
				if ctx.Err() == nil {
					changes <- "error " + err.Error()
				}
				return
			}
			changes <- string(change.Type) + " " + change.View.Name
		}
	})
	defer client.Wait()
	defer leave()
	want := func(list ...string) {
		t.Helper()
		for _, w := range list {
			if got := <-changes; got != w {
				t.Fatalf("the watch says %q, want %q", got, w)
			}
		}
	}
	want("present a", "present b", "present web", "present web2", "synced ")
	h.handOver(watched(controltest.New(controltest.Child("b"), controltest.Child("c"))), nil)
	want("present b", "present c", "removed a", "removed web", "removed web2", "synced ")
	h.handOver(watched(controltest.New(controltest.Child("c"))), nil)
	want("present c", "removed b", "synced ")
	closeServer(t, h.server)
	if got := <-changes; !strings.HasPrefix(got, "error ") || !strings.Contains(got, "closed the connection") {
		t.Errorf("at the end of the server the watch says %q", got)
	}
}

// One of a single child is of that alone at the next server too.
func TestAWatchOfOneChildGoesOn(t *testing.T) {
	h := newHouse(t, Options{})
	changes := make(chan string, 100)
	var client sync.WaitGroup
	ctx, leave := context.WithCancel(t.Context())
	client.Go(func() {
		for change := range Dial(Target{Unix: h.socket}).WatchChild(ctx, "web") {
			changes <- string(change.Type) + " " + change.View.Name
		}
	})
	defer client.Wait()
	defer leave()
	want := func(list ...string) {
		t.Helper()
		for _, w := range list {
			if got := <-changes; got != w {
				t.Fatalf("the watch says %q, want %q", got, w)
			}
		}
	}
	want("present web", "synced ")
	h.handOver(Options{Service: controltest.New(controltest.Child("b"), controltest.Child("web"))}, nil)
	want("present web", "synced ")
	h.handOver(Options{Service: controltest.New(controltest.Child("b"))}, nil)
	want("removed web", "synced ")
}

// The heartbeat that a watch was promised comes from the next servers too, whatever
// theirs is.
func TestAWatchKeepsItsHeartbeat(t *testing.T) {
	seldom := Options{Service: controltest.New(controltest.Child("web")), Timing: Timing{Heartbeat: time.Hour}}
	h := newHouse(t, seldom)
	c, err := net.Dial("unix", h.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	_, _ = io.WriteString(c, strings.Replace(watchRequest, "\r\n", "\r\nPrefer: heartbeat=1\r\n", 1))
	r := bufio.NewReader(c)
	beat := func() {
		t.Helper()
		for line := ""; line != "\n"; {
			if line, err = r.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
	}
	beat()
	for range 2 {
		h.handOver(seldom, nil)
		// It may have been sent before.
		beat()
		beat()
	}
}

// Requests come all the time, of every kind, while one server follows another:
// every one is answered.
func TestNobodyNoticesAHandover(t *testing.T) {
	h := newHouse(t, Options{})
	var asked [4]atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	kept := &http.Transport{}
	askHTTP := func(client *http.Client) error {
		response, err := client.Get("http://" + h.addr + "/v1/children")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		_, err = io.Copy(io.Discard, response.Body)
		return err
	}
	askText := func() error {
		nc, err := net.Dial("tcp", h.addr)
		if err != nil {
			return err
		}
		defer nc.Close()
		if _, err := io.WriteString(nc, "info\n"); err != nil {
			return err
		}
		answer, err := io.ReadAll(nc)
		if err == nil && !strings.HasPrefix(string(answer), "==Server Info Below==") {
			err = fmt.Errorf("it says %q", answer)
		}
		return err
	}
	for i, ask := range []func() error{
		func() error { return askHTTP(&http.Client{Transport: kept}) },
		func() error { return askHTTP(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}) },
		askText,
		func() error {
			_, err := Dial(Target{Unix: h.socket}).Do(context.Background(), spec.Command{Verb: spec.VerbTrystart, Child: "a"})
			return err
		},
	} {
		for range 2 {
			clients.Go(func() {
				for ctx.Err() == nil {
					if err := ask(); err != nil {
						t.Errorf("client %d: %v", i, err)
						return
					}
					asked[i].Add(1)
				}
			})
		}
	}
	defer kept.CloseIdleConnections()
	defer clients.Wait()
	defer stop()
	for range 20 {
		var before [4]int64
		for i := range asked {
			before[i] = asked[i].Load()
		}
		until(t, "some answers to each", func() bool {
			if t.Failed() {
				t.FailNow()
			}
			for i := range asked {
				if asked[i].Load() < before[i]+3 {
					return false
				}
			}
			return true
		})
		h.handOver(Options{}, nil)
	}
}

func TestABodyThatIsCompleteInTimeIsAnswered(t *testing.T) {
	h := newHouse(t, Options{})
	c := h.dial("tcp", h.addr)
	request := post("/v1/validate", "{        }")
	c.say(request[:len(request)-5])
	h.open(1)
	h.awaitBusy()
	over := make(chan struct{})
	go func() {
		defer close(over)
		h.handOver(Options{}, nil)
	}()
	<-h.server.handing.Done()
	c.say(request[len(request)-5:])
	<-over
	c.wantAnswer(200, "checked")
	c.say(getHealth)
	c.wantAnswer(200, "ok")
}

func TestWhatIsNotCompleteInTimeIsBrokenOff(t *testing.T) {
	h := newHouse(t, Options{})
	c := h.dial("tcp", h.addr)
	c.say(post("/v1/validate", "{}")[:len(post("/v1/validate", "{}"))-1])
	chunked := h.dial("tcp", h.addr)
	chunked.say("POST /v1/validate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
	if response := chunked.wantAnswer(200, "checked"); !response.Close {
		t.Error("a connection whose requests cannot be told apart is kept")
	}
	h.open(1)
	// Before its head is read the next server can have it all.
	h.awaitBusy()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	handed, err := h.server.HandOver(ctx)
	if err == nil || len(handed) != 0 {
		t.Errorf("handed over %v, %v, want an error for the one that is left", handed, err)
	}
	if again, err := h.server.HandOver(t.Context()); err != nil || again != nil {
		t.Errorf("a second time: %v, %v", again, err)
	}
	if _, err := io.ReadAll(c); err != nil {
		t.Errorf("the connection ends with %v", err)
	}
	_ = os.Remove(h.socket)
}

// A client that goes away while no server looks after it is no trouble.
func TestAClientThatResetsBetweenTwoServersIsForgotten(t *testing.T) {
	h := newHouse(t, Options{})
	c := h.dial("tcp", h.addr)
	c.say(getHealth)
	c.wantAnswer(200, "ok")
	handed, err := h.server.HandOver(t.Context())
	if err != nil || len(handed) != 1 {
		t.Fatalf("handed over %v, %v", handed, err)
	}
	_ = c.Conn.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
	next := NewServer(Options{Service: testService()})
	next.Resume(handed, spec.Upgraded{}, nil)
	if stats := next.Stats(); stats.Open != 0 || stats.Panics != 0 {
		t.Errorf("the next server has %+v", stats)
	}
	closeServer(t, next)
	_ = os.Remove(h.socket)
}
