package control

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"kita/spec"
)

// crowdScript is a crowd whose connections have names.
type crowdScript struct {
	*crowd
	names map[*conn]string
	conns map[string]*conn
}

func newCrowdScript(caps crowdCaps) *crowdScript {
	return &crowdScript{crowd: newCrowd(caps), names: map[*conn]string{}, conns: map[string]*conn{}}
}

// come is "" if nobody gives way, "refused", or who does.
func (s *crowdScript) come(name, ip string) string {
	c := &conn{}
	s.names[c], s.conns[name] = name, c
	givesWay, ok := s.enter(c, &net.TCPAddr{IP: net.ParseIP(ip), Port: 7})
	if !ok {
		return "refused"
	}
	var names []string
	for _, each := range givesWay {
		s.leave(each)
		names = append(names, s.names[each])
	}
	return strings.Join(names, " ")
}

func TestTheOldestGivesWay(t *testing.T) {
	s := newCrowdScript(crowdCaps{waiting: 4, waitingPerAddress: 3, perAddress: 5})
	for _, step := range []struct{ name, ip, want string }{
		{"a1", "10.0.0.1", ""},
		{"b1", "10.0.0.2", ""},
		{"a2", "10.0.0.1", ""},
		{"a3", "::ffff:10.0.0.1", ""},
		{"a4", "10.0.0.1", "a1"}, // of its own address
		{"c1", "10.0.0.3", "a2"}, // of the address that has most
		{"c2", "10.0.0.3", "a3"}, // a has two, as no other has
		{"d1", "10.0.0.4", "c1"}, // c has two
		{"e1", "10.0.0.5", "b1"}, // all have one: the oldest
	} {
		if got := s.come(step.name, step.ip); got != step.want {
			t.Errorf("%s: %q gives way, want %q", step.name, got, step.want)
		}
	}
}

func TestWhoHasShownWhatItWantsStays(t *testing.T) {
	s := newCrowdScript(crowdCaps{waiting: 10, waitingPerAddress: 2, perAddress: 4})
	s.come("a", "10.0.0.1")
	s.settle(s.conns["a"])
	s.settle(s.conns["a"])
	s.come("b", "10.0.0.1")
	s.come("c", "10.0.0.1")
	if got := s.come("d", "10.0.0.1"); got != "b" {
		t.Errorf("%q gives way", got)
	}
	s.settle(s.conns["c"])
	if got := s.come("e", "10.0.0.1"); got != "" {
		t.Errorf("%q gives way", got)
	}
	if got := s.come("f", "10.0.0.1"); got != "refused" {
		t.Errorf("beyond the cap of the address: %q", got)
	}
	if got := s.come("g", "10.0.0.2"); got != "" {
		t.Errorf("another address: %q", got)
	}
	for _, c := range s.conns {
		s.leave(c)
		s.leave(c)
	}
	if len(s.places) != 0 || len(s.from) != 0 || s.waiting != 0 {
		t.Errorf("%d places, %d addresses, %d waiting are left", len(s.places), len(s.from), s.waiting)
	}
}

// What was let through before gives way only where there is no room otherwise.
func TestWhoIsKeptGivesWayLast(t *testing.T) {
	s := newCrowdScript(crowdCaps{waiting: 10, waitingPerAddress: 2, perAddress: 5})
	for _, step := range []struct{ name, ip, want string }{
		{"a1", "10.0.0.1", ""},
		{"a2", "10.0.0.1", ""},
		{"a3", "10.0.0.1", ""},
		{"a4", "10.0.0.1", ""},
		{"b1", "10.0.0.2", ""},
	} {
		if got := s.come(step.name, step.ip); got != step.want {
			t.Errorf("%s: %q gives way", step.name, got)
		}
		if c := s.conns[step.name]; !s.settle(c) {
			t.Errorf("%s has given way", step.name)
		} else {
			s.keep(c)
		}
	}
	for _, step := range []struct{ name, want string }{
		{"a5", ""},   // as many as one address may have
		{"a6", "a1"}, // as many as may wait
		{"a7", "a5"}, {"a8", "a6"},
	} {
		if got := s.come(step.name, "10.0.0.1"); got != step.want {
			t.Errorf("%s: %q gives way, want %q", step.name, got, step.want)
		}
	}
	answered := s.conns["a3"]
	if !s.settle(answered) {
		t.Error("a3 has given way")
	}
	for _, want := range []string{"a2", "a4", "b1", ""} {
		if got := s.names[s.spare()]; got != want {
			t.Errorf("%q gives way, want %q", got, want)
		}
	}
	s.keep(answered)
	if s.spare() != answered || s.settle(answered) {
		t.Error("one that has given way is answered")
	}
	s.keep(answered)
	if s.spare() != nil {
		t.Error("one that has given way is kept")
	}
}

func TestAddressesCountBySubscriber(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"10.0.0.1", "10.0.0.2", false},
		{"10.0.0.1", "::ffff:10.0.0.1", true},
		{"2001:db8::1", "2001:db8::ffff:1", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
	} {
		prefix := func(ip string) string { return fmt.Sprint(prefixOf(&net.TCPAddr{IP: net.ParseIP(ip)})) }
		if got := prefix(c.a) == prefix(c.b); got != c.same {
			t.Errorf("%s and %s: %s and %s", c.a, c.b, prefix(c.a), prefix(c.b))
		}
	}
}

// A request that is refused does not buy its connection the time of an idle one.
func TestWhoIsNotHeardHoldsNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipeServer(Options{Encrypt: true})
		start := time.Now()
		got := p.dial(t).say(t, 0, false, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if took := time.Since(start); !strings.HasPrefix(got, "HTTP/1.1 403") || took > time.Second {
			t.Errorf("after %v: %q", took, got)
		}
		p.end(t)
	})
}

// A new connection over the cap of those that wait closes the oldest of them, and
// not one that is being answered.
func TestNewConnectionsPushOutOldOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipeServer(Options{MaxWaitingPerAddress: 2})
		kept := p.dial(t)
		_, _ = io.WriteString(kept, getHealth)
		_, _ = io.ReadAtLeast(kept, make([]byte, 4096), 12)
		oldest, second := p.dial(t), p.dial(t)
		synctest.Wait()
		third := p.dial(t)
		if rest, err := io.ReadAll(oldest); len(rest) > 0 || err != nil {
			t.Errorf("the oldest: %q, %v", rest, err)
		}
		for _, c := range []*duplex{second, third} {
			if got := c.say(t, 0, false, "check x"); got != "==Check Results Below==\n" {
				t.Errorf("one that may wait: %q", got)
			}
		}
		synctest.Wait()
		if stats := p.Stats(); stats != (Stats{Open: 1, Displaced: 1}) {
			t.Errorf("stats %+v", stats)
		}
		_ = kept.Close()
		_ = oldest.Close()
		p.end(t)
	})
}

func TestOneAddressCannotTakeEverySlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipeServer(Options{MaxPerAddress: 1})
		first := p.dial(t)
		synctest.Wait()
		if got := p.dial(t).say(t, 0, false); got != "" {
			t.Errorf("beyond the cap of an address: %q", got)
		}
		if got := first.say(t, 0, false, "check x"); got != "==Check Results Below==\n" {
			t.Errorf("within it: %q", got)
		}
		synctest.Wait()
		if stats := p.Stats(); stats != (Stats{Refused: 1}) {
			t.Errorf("stats %+v", stats)
		}
		p.end(t)
	})
}

// What comes in the last moment does not buy a client another ten seconds.
func TestTricklingBuysNoTime(t *testing.T) {
	for _, parts := range [][]string{
		{"", "SSH-2.0-x\r\n"},
		{"SSH", "-2.0-x\r\n"},
		{"", "GET / HTTP/1.1\r\n"},
		{"GET", " / HTTP/1.1\r\nHost: "},
		{"POST /v1/stop HTTP/1.1\r\nHost: localhost\r\n", "Content-Type: application/json\r\nContent-Length: 10\r\n\r\n{"},
		{"", "POST /v1/stop HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{"},
	} {
		synctest.Test(t, func(t *testing.T) {
			host, _ := newKey(t)
			p := newPipeServer(Options{HostKey: host})
			start := time.Now()
			p.dial(t).say(t, 9900*time.Millisecond, false, parts...)
			if took := time.Since(start); took > 11*time.Second {
				t.Errorf("%q: dropped after %v", parts, took)
			}
			p.end(t)
		})
	}
}

// Kept connections, of whatever address, leave room for new ones.
func TestKeptConnectionsLeaveRoom(t *testing.T) {
	const n = 30
	h := newSSHHouse(t, Options{MaxTCP: n, MaxPerAddress: n, MaxWaitingPerAddress: 2})
	key := h.admit(t, "ops")
	for range 2 * n {
		c := h.dial(t)
		_, _ = io.WriteString(c, getHealth)
		if _, err := c.Read(make([]byte, 4096)); err != nil {
			t.Fatal(err)
		}
	}
	if open := h.Stats().Open; open != n {
		t.Errorf("%d connections are open, %d may be", open, n)
	}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.2")}}
	nc, err := dialer.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	conn, channels, requests, err := ssh.NewClientConn(nc, h.addr, &ssh.ClientConfig{
		User: "ops", Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.FixedHostKey(h.hostKey),
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = ssh.NewClient(conn, channels, requests).Close()
}

// Many clients of one address that each keep a connection are all answered.
func TestManyKeptConnectionsAreAnswered(t *testing.T) {
	const n, each = 40, 50
	svc := testService()
	h := newSSHHouse(t, Options{Service: svc, MaxWaitingPerAddress: 2})
	var clients sync.WaitGroup
	for range n {
		client := &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}
		defer client.CloseIdleConnections()
		stop := func() bool {
			response, err := client.Post("http://"+h.addr+"/v1/stop", "application/json", nil)
			if err != nil {
				t.Error(err)
				return false
			}
			defer response.Body.Close()
			_, err = io.Copy(io.Discard, response.Body)
			return err == nil && response.StatusCode == http.StatusOK
		}
		stop()
		clients.Go(func() {
			for i := 1; i < each && stop(); i++ {
			}
		})
	}
	clients.Wait()
	if done := len(svc.Commands()); done != n*each {
		t.Errorf("%d commands are done of %d", done, n*each)
	}
}

// A command whose client has been sent away is not carried out.
func TestWhoGaveWayIsNotServed(t *testing.T) {
	g := newGated(t, nil, nil)
	server, _ := net.Pipe()
	c := &conn{Conn: server, s: g.Server, transport: g.overTCP, asker: plain}
	c.gaveWay.Store(true)
	r := httptest.NewRequest("POST", "http://localhost/v1/children/b/start", nil)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	g.answers.handler().ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), connKey{}, c)))
	text := &textService{observed: g.Server.observed(), gate: g.gate, conn: c}
	if err := text.may(spec.VerbStart, "b"); err == nil || w.Code != 503 || len(g.svc.Commands()) > 0 {
		t.Errorf("%d, %v, done: %v", w.Code, err, g.svc.Commands())
	}
}

// Connections that wait for the rest of a request, or want what is not let
// through, do not fill the port: who has a key gets in.
func TestConnectionsThatAreRefusedGiveWay(t *testing.T) {
	const half = "POST /v1/stop HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n"
	closed := spec.Access{rules("ops", "*", spec.Admin)}
	for _, tt := range []struct {
		name, request string
		encrypt       bool
		access        spec.Access
	}{
		{"forbidden", "GET /v1/children HTTP/1.1\r\nHost: localhost\r\n\r\n", false, closed},
		{"no such path", "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n", false, nil},
		{"half a body", half, false, nil},
		{"half a body that is not heard", half, true, nil},
		{"text that is refused", "check", true, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const n, waiting = 30, 4
			h := newSSHHouse(t, Options{Encrypt: tt.encrypt, MaxTCP: n, MaxPerAddress: n, MaxWaitingPerAddress: waiting, Timing: Timing{
				Request: time.Hour, Idle: time.Hour, Linger: time.Hour, Quiet: time.Millisecond, Patience: time.Millisecond,
			}})
			h.opt.Config().Access = tt.access
			key := h.admit(t, "ops")
			for range n {
				c := h.dial(t)
				_, _ = io.WriteString(c, tt.request)
				if _, err := c.Read(make([]byte, 4096)); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := h.ask(t, h.mustLogin(t, key)).List(t.Context()); err != nil {
				t.Error(err)
			}
			until(t, "no more wait than may", func() bool { return h.Stats().Open <= waiting+1 })
		})
	}
}
