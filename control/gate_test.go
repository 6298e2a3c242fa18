package control

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kita/spec"
)

func TestGate(t *testing.T) {
	const (
		none  = `access in server.yml gives it nothing`
		other = `for this child`
	)
	tests := []struct {
		who  asker
		http string
		text string // "" where the protocol has no such command
		want string // of the message of the refusal; "" for success
	}{
		{local, "POST /v1/children/a/stop", "stop a", ""},
		{local, "POST /v1/stop", "stop all", ""},
		{local, "POST /v1/kill", "kill", ""},
		{local, "GET /metrics", "", ""},
		{local, "GET /v1/sd", "", ""},
		{local, "GET /v1/children/a", "check a", ""},

		{plain, "GET /v1/children", "check", "check: access is set in server.yml, so over TCP a key is needed, as in `kita check on HOST with KEY`"},
		{plain, "GET /v1/children/a", "check a", "check a: access is set"},
		{plain, "GET /v1/info", "info", "info: access is set"},
		{plain, "GET /v1/watch", "", "watch: access is set"},
		{plain, "POST /v1/children/a/stop", "stop a", "stop a: access is set"},
		{plain, "POST /v1/stop", "stop all", "stop all: access is set"},
		{plain, "POST /v1/kill", "kill", "kill: access is set"},
		{plain, "POST /v1/validate", "", "validate: access is set"},
		{plain, "GET /metrics", "", "set metrics_addr"},
		{plain, "GET /v1/sd", "", "set metrics_addr"},
		{plain, "GET /healthz", "help", ""},
		{plain, "GET /readyz", "", ""},
		{plain, "GET /openapi.yaml", "", ""},

		{ops, "GET /v1/children", "check", ""},
		{ops, "POST /v1/children/b/start", "start b", ""},
		{ops, "POST /v1/stop", "stop all", ""},
		{ops, "POST /v1/validate", "", ""},
		{ops, "POST /v1/kill", "kill", ""},
		{ops, "GET /metrics", "", ""},
		{ops, "GET /v1/sd", "", ""},

		{ci, "GET /v1/children", "check", ""},
		{ci, "GET /v1/info", "info", ""},
		{ci, "GET /v1/children/web", "check web", ""},
		{ci, "POST /v1/children/web/start", "start web", ""},
		{ci, "POST /v1/children/web2/trystart", "trystart web2", ""},
		{ci, "GET /v1/children/a", "check a", `key "ci-1" may not check a: ` + none + " " + other},
		{ci, "POST /v1/children/a/restart", "restart a", `key "ci-1" may not restart a: ` + none + " " + other},
		{ci, "POST /v1/stop", "stop all", `key "ci-1" may not stop all: that takes a rule with verbs: [operate] and children: ["*"]`},
		{ci, "POST /v1/kill", "kill", `key "ci-1" may not kill: that takes a rule with verbs: [admin] and children: ["*"]`},
		{ci, "POST /v1/upgrade", "", `may not upgrade: that takes a rule with verbs: [admin]`},
		{ci, "POST /v1/validate", "", `may not validate: that takes a rule with verbs: [admin]`},
		{ci, "GET /metrics", "", `may not ask for metrics: that takes a rule with verbs: [read] and children: ["*"]`},
		{ci, "GET /v1/sd", "", `may not ask for metrics: that takes a rule with verbs: [read] and children: ["*"]`},

		{reader, "GET /v1/children/a", "check a", ""},
		{reader, "GET /metrics", "", ""},
		{reader, "POST /v1/children/a/stop", "stop a", `key "reader" may not stop a: access in server.yml gives it read for this child`},
		{reader, "POST /v1/stop", "stop all", `key "reader" may not stop all`},

		{starter, "POST /v1/children/b/start", "start b", ""},
		{starter, "POST /v1/stop", "stop all", ""},
		{starter, "GET /v1/children", "check", `key "starter" may not check: access in server.yml gives it operate`},
		{starter, "GET /v1/children/a", "check a", `gives it operate for this child`},
		{starter, "GET /v1/info", "info", `key "starter" may not ask for info: access in server.yml gives it operate`},
		{starter, "GET /v1/watch", "", `key "starter" may not watch: access in server.yml gives it operate`},

		{nobody, "GET /v1/children", "check", `key "nobody" may not check: ` + none},
		{nobody, "POST /v1/children/a/stop", "stop a", `key "nobody" may not stop a: ` + none},
		{nobody, "GET /v1/watch", "", `may not watch: ` + none},
	}
	for _, tt := range tests {
		t.Run(tt.who.by()+" "+tt.http, func(t *testing.T) {
			g := newGated(t, rulesOfTests(), nil)
			status, body := g.http(tt.who, tt.http)
			var problem Problem
			switch {
			case tt.want == "" && status >= 300:
				t.Errorf("%d: %s", status, body)
			case tt.want == "":
			case json.Unmarshal([]byte(body), &problem) != nil || status != 403 || problem.Code != codeForbidden || !strings.Contains(problem.Detail, tt.want):
				t.Errorf("%d: %s, want %s", status, body, tt.want)
			}
			if tt.text != "" {
				switch answer := g.text(tt.who, tt.text); {
				case tt.want == "" && strings.Contains(answer, "access"), tt.want != "" && !strings.Contains(answer, tt.want):
					t.Errorf("%q, want %s", answer, tt.want)
				}
			}
			if tt.want == "" {
				return
			}
			if done := len(g.svc.Commands()) + len(g.svc.Kills()); done != 0 {
				t.Errorf("it was done: %v, %v", g.svc.Commands(), g.svc.Kills())
			}
			g.mu.Lock()
			defer g.mu.Unlock()
			for _, counted := range g.observed {
				if !strings.HasSuffix(counted, " forbidden") {
					t.Errorf("counted as %q", counted)
				}
			}
			if len(g.observed) == 0 {
				t.Error("not counted")
			}
		})
	}
}

// Nobody learns which children exist beyond those that he may read: b does, x
// does not.
func TestGateIsNoOracle(t *testing.T) {
	g := newGated(t, rulesOfTests(), nil)
	unnamed := func(answer, name string) string {
		return strings.NewReplacer(" "+name+": ", " NAME: ", `"child":"`+name+`"`, `"child":"NAME"`).Replace(answer)
	}
	for _, who := range []asker{ci, nobody, plain} {
		for _, verb := range []string{"start", "stop", "restart", "trystart", "check"} {
			format := "POST /v1/children/%s/" + verb
			if verb == "check" {
				format = "GET /v1/children/%s"
			}
			_, there := g.http(who, fmt.Sprintf(format, "b"))
			_, absent := g.http(who, fmt.Sprintf(format, "x"))
			if unnamed(there, "b") != unnamed(absent, "x") {
				t.Errorf("%s: %s and %s", verb, there, absent)
			}
			there, absent = g.text(who, verb+" b"), g.text(who, verb+" x")
			if unnamed(there, "b") != unnamed(absent, "x") {
				t.Errorf("%s: %q and %q", verb, there, absent)
			}
		}
	}
}

// Nor from the time that an answer takes: web exists, and w and we might become it.
func TestTheTimeOfARefusalTellsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGated(t, rulesOfTests(), nil)
		took := map[time.Duration][]string{}
		for _, verb := range []string{"start", "stop", "restart", "trystart", "check"} {
			for _, name := range []string{"web", "we", "w", "x", "xyz"} {
				start := time.Now()
				g.dialAs(plain).say(t, 0, false, verb+" "+name)
				took[time.Since(start)] = append(took[time.Since(start)], verb+" "+name)
			}
		}
		if len(took) != 1 {
			t.Errorf("answers take %v", took)
		}
	})
}

// The address that serves only metrics asks for nothing, whatever access says.
func TestMetricsAddressIsForEverybody(t *testing.T) {
	server := spec.DefaultServer()
	server.Access = spec.Access{}
	for _, encrypt := range []bool{false, true} {
		h := newHouse(t, Options{Encrypt: encrypt, Config: func() *spec.Server { return server }})
		const ask = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
		c := h.dial("tcp", h.metrics)
		c.say(ask)
		c.wantAnswer(200, "kita_up 1")
		c = h.dial("tcp", h.addr)
		c.say(ask)
		c.wantAnswer(403, "metrics_addr")
	}
}

func TestListsAreCutDown(t *testing.T) {
	g := newGated(t, rulesOfTests(), nil)
	g.svc.InfoValue.Problems = []string{"b.yml:1: no"}
	g.svc.SetRunning("web", 81)
	tests := []struct {
		who      asker
		children []string
		running  []string
		problems []string
	}{
		{local, []string{"a", "b", "web", "web2"}, []string{"a", "web"}, []string{"b.yml:1: no"}},
		{ops, []string{"a", "b", "web", "web2"}, []string{"a", "web"}, []string{"b.yml:1: no"}},
		{reader, []string{"a", "b", "web", "web2"}, []string{"a", "web"}, []string{"b.yml:1: no"}},
		{ci, []string{"web", "web2"}, []string{"web"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.who.by(), func(t *testing.T) {
			var list childrenAnswer
			if _, body := g.http(tt.who, "GET /v1/children"); json.Unmarshal([]byte(body), &list) != nil {
				t.Fatal(body)
			}
			var names []string
			for _, v := range list.Children {
				names = append(names, v.Name)
			}
			if !slices.Equal(names, tt.children) {
				t.Errorf("children %q", names)
			}
			var info spec.Info
			if _, body := g.http(tt.who, "GET /v1/info"); json.Unmarshal([]byte(body), &info) != nil {
				t.Fatal(body)
			}
			if !slices.Equal(info.Running, tt.running) || !slices.Equal(info.Problems, tt.problems) {
				t.Errorf("running %q, problems %q", info.Running, info.Problems)
			}
			check, told := g.text(tt.who, "check"), g.text(tt.who, "info")
			for _, name := range []string{"a", "web"} {
				may := slices.Contains(tt.running, name)
				if strings.Contains(check, "child name: "+name+"\n") != may {
					t.Errorf("check has %s, or not: %q", name, check)
				}
				if strings.Contains(told, "["+name+" ") != may && strings.Contains(told, " "+name+" ]") != may {
					t.Errorf("info has %s, or not: %q", name, told)
				}
			}
		})
	}
}

// What is allowed is what server.yml says at the time of the request.
func TestGateIsReadAnew(t *testing.T) {
	g := newGated(t, nil, nil)
	stop := func() int {
		status, _ := g.http(plain, "POST /v1/children/b/trystart")
		return status
	}
	if got := stop(); got != 200 {
		t.Errorf("without access: %d", got)
	}
	g.allow(spec.Access{})
	if got := stop(); got != 403 {
		t.Errorf("with an empty one: %d", got)
	}
	if got, _ := g.http(ops, "GET /v1/info"); got != 403 {
		t.Errorf("a key with an empty one: %d", got)
	}
	g.allow(nil)
	if got := stop(); got != 200 {
		t.Errorf("without it again: %d", got)
	}
}

func TestWatchIsCutDown(t *testing.T) {
	changes := make(chan spec.Change)
	g := newGated(t, rulesOfTests(), func(o *Options) {
		// Its heartbeat is not waited for.
		o.Timing.Heartbeat = time.Hour
	})
	g.svc.WatchFunc = func(ctx context.Context) <-chan spec.Change {
		out := make(chan spec.Change)
		go func() {
			defer close(out)
			for {
				select {
				case c := <-changes:
					select {
					case out <- c:
					case <-ctx.Done():
						return
					}
				case <-ctx.Done():
					return
				}
			}
		}()
		return out
	}
	send := func(kind spec.ChangeType, name string) {
		changes <- spec.Change{Type: kind, View: spec.View{Name: name}}
	}
	w := g.watch(ci)
	for _, name := range []string{"a", "b", "web"} {
		send(spec.Present, name)
	}
	changes <- spec.Change{Type: spec.Synced}
	w.want("present web", "synced")
	send(spec.Removed, "a")
	send(spec.Present, "a")
	send(spec.Present, "web2")
	send(spec.Removed, "web")
	w.want("present web2", "removed web")

	// The rules are edited: it may read a and not web2, which is told before
	// the next change, whatever that is about.
	g.allow(spec.Access{rules("ci-1", "a", spec.Read)})
	send(spec.Present, "b")
	w.want("removed web2", "present a")
	send(spec.Present, "web2")
	send(spec.Present, "a")
	w.want("present a")

	// The same rules, read again, change nothing.
	g.allow(spec.Access{rules("ci-1", "a", spec.Read)})
	send(spec.Present, "a")
	w.want("present a")

	// Without a right to read anything the watch ends.
	g.allow(spec.Access{rules("ci-1", "*", spec.Operate)})
	send(spec.Present, "a")
	w.want("end")
}

// A watch of one child takes the right to read it, and no other is told of.
func TestAWatchOfOneChildIsOfThatAlone(t *testing.T) {
	g := newGated(t, rulesOfTests(), func(o *Options) { o.Timing.Heartbeat = time.Millisecond })
	if status, body := g.http(ci, "GET /v1/children/a/watch"); status != 403 || !strings.Contains(body, "may not watch a") {
		t.Errorf("%d %s", status, body)
	}
	w := g.watchPath(ci, "/v1/children/web/watch")
	w.want("present web", "synced")
	// The other of its two is not told of when the rules are read again.
	g.allow(spec.Access{rules("ci-1", "*", spec.Read)})
	other := g.watchPath(ci, "/v1/children/nobody/watch")
	other.want("synced")
	g.allow(spec.Access{rules("ci-1", "a", spec.Read)})
	w.want("removed web", "end")
	other.want("end")
}

func TestAWatchEndsAtItsHeartbeatWithItsRight(t *testing.T) {
	g := newGated(t, rulesOfTests(), func(o *Options) { o.Timing.Heartbeat = time.Millisecond })
	w := g.watch(ci)
	w.want("present web", "present web2", "synced")
	g.allow(spec.Access{rules("ci-1", "web", spec.Read)})
	w.want("removed web2")
	g.allow(spec.Access{})
	w.want("end")
}

// Who has no key cannot fill the disk with what he is refused; who has one is
// told of line by line.
func TestForbiddenCommandsFillNoDisk(t *testing.T) {
	const n = 2 * refusalBurst
	g := newGated(t, rulesOfTests(), nil)
	name := strings.Repeat("\x01", 1000)
	for i := range n {
		if i%2 == 0 {
			g.http(plain, "POST /v1/children/"+url.PathEscape(name)+"/start")
		} else {
			g.text(plain, "stop "+name)
		}
		g.http(ci, "GET /v1/children/a")
	}
	count := map[string]int{}
	for _, line := range g.lines() {
		via, _, _ := strings.Cut(line, " ")
		count[via]++
	}
	if count[viaSSH] != n || count[viaTCP] < refusalBurst || count[viaTCP] > n*3/4 {
		t.Errorf("%v lines", count)
	}
	text, err := os.ReadFile(g.audit)
	if err != nil || !strings.Contains(string(text), `"verb":"start"`) || !strings.Contains(string(text), `"verb":"stop"`) {
		t.Errorf("the lines do not say what was refused: %v", err)
	}
	for line := range strings.Lines(string(text)) {
		if len(line) > 3000 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
}
