package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"kita/spec"
)

func TestClientOverBothTransports(t *testing.T) {
	svc := testService()
	svc.Checked, svc.Problems = 4, []string{"b.yml:1: no"}
	s := newTCPServer(t, Options{Service: svc})
	for _, target := range []Target{{Unix: s.socket}, {TCP: s.addr}} {
		t.Run(target.String(), func(t *testing.T) {
			c := Dial(target)
			defer c.Close()
			views, err := c.List(t.Context())
			if want := svc.List(); err != nil || len(views) != len(want) || !reflect.DeepEqual(views[0], want[0]) {
				t.Errorf("List: %v, %v", views, err)
			}
			view, err := c.Get(t.Context(), "a")
			if err != nil || view.Status.Process == nil || view.Status.Process.PID != 80 {
				t.Errorf("Get: %+v, %v", view, err)
			}
			info, err := c.Info(t.Context())
			if err != nil || info.ConfigFile != "/srv/server.yml" || !slices.Equal(info.Running, []string{"a"}) {
				t.Errorf("Info: %+v, %v", info, err)
			}
			checked, problems, err := c.Validate(t.Context())
			if err != nil || checked != 4 || !slices.Equal(problems, svc.Problems) {
				t.Errorf("Validate: %d, %q, %v", checked, problems, err)
			}
			for _, command := range []spec.Command{
				{Verb: spec.VerbStart, Child: "b"}, {Verb: spec.VerbRestart, Child: "b", NoWait: true}, {Verb: spec.VerbStop, Child: "b"},
			} {
				if out, err := c.Do(t.Context(), command); err != nil || out.Verb != command.Verb || out.Child != "b" {
					t.Errorf("%v: %+v, %v", command, out, err)
				}
			}
		})
	}
	var sent []string
	for _, c := range svc.Commands() {
		sent = append(sent, string(c.Verb)+" "+c.By)
	}
	unix := "unix:" + strconv.Itoa(os.Getuid())
	if want := []string{"start " + unix, "restart " + unix, "stop " + unix, "start tcp:127.0.0.1", "restart tcp:127.0.0.1", "stop tcp:127.0.0.1"}; !slices.Equal(sent, want) {
		t.Errorf("commands %q, want %q", sent, want)
	}
	if got := svc.Commands()[1]; !got.NoWait {
		t.Error("NoWait got lost")
	}
}

func TestClientStopsAllAndKills(t *testing.T) {
	svc := testService()
	s := newTCPServer(t, Options{Service: svc})
	c := Dial(Target{Unix: s.socket})
	defer c.Close()
	if _, err := c.Do(t.Context(), spec.Command{Verb: spec.VerbStop, Child: spec.All}); err != nil {
		t.Error(err)
	}
	if info, _ := c.Info(t.Context()); len(info.Running) != 0 {
		t.Errorf("running: %q", info.Running)
	}
	if err := c.Kill(t.Context()); err != nil {
		t.Error(err)
	}
	<-svc.Killed()
}

func TestClientErrorsAreRefusals(t *testing.T) {
	svc := testService()
	want := &spec.Refusal{Code: spec.CannotStart, Verb: spec.VerbTrystart, Child: "an/odd näme?%2F", Message: "/bin/x: no such file", WasRunning: true}
	var asked string
	svc.DoFunc = func(_ context.Context, c spec.Command) (spec.Outcome, error) {
		asked = c.Child
		return spec.Outcome{}, want
	}
	s := newTCPServer(t, Options{Service: svc})
	c := Dial(Target{Unix: s.socket})
	defer c.Close()
	_, err := c.Do(t.Context(), spec.Command{Verb: spec.VerbTrystart, Child: want.Child})
	var got *spec.Refusal
	if !errors.As(err, &got) || *got != *want || asked != want.Child {
		t.Errorf("error %+v, want %+v; the child asked for was %q", err, want, asked)
	}
	if _, err := c.Get(t.Context(), "x"); !errors.As(err, &got) || got.Code != spec.NotFound {
		t.Errorf("Get of nothing: %v", err)
	}
}

// The wait of a command ends on the server when its client goes away.
func TestAClientThatGoesAwayEndsTheWait(t *testing.T) {
	svc := testService()
	waiting, ended := make(chan struct{}), make(chan struct{})
	svc.DoFunc = func(ctx context.Context, _ spec.Command) (spec.Outcome, error) {
		close(waiting)
		<-ctx.Done()
		close(ended)
		return spec.Outcome{}, ctx.Err()
	}
	s := newTCPServer(t, Options{Service: svc})
	c := Dial(Target{TCP: s.addr})
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-waiting
		cancel()
	}()
	if _, err := c.Do(ctx, spec.Command{Verb: spec.VerbStop, Child: "a"}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	<-ended
}

func TestUnreachableServers(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	vacant := ln.Addr().String()
	ln.Close()
	missing := filepath.Join(t.TempDir(), "kita.sock")
	expired, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	tests := []struct {
		name   string
		ctx    context.Context
		target Target
		want   string
	}{
		{"nothing listens", t.Context(), Target{TCP: vacant}, "nothing listens on " + vacant + ", is kita serve running there?"},
		{"no socket", t.Context(), Target{Unix: missing}, "no server answers on " + missing + ", is kita serve running?"},
		{"no time", expired, Target{TCP: vacant}, vacant + " did not answer in time"},
		{"closes at once", t.Context(), Target{TCP: says(t, "")}, "closed the connection before it had answered"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := Dial(tt.target)
			defer c.Close()
			_, err := c.Info(tt.ctx)
			var unreachable *Unreachable
			if !errors.As(err, &unreachable) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %T %q, want %q", err, err, tt.want)
			}
			if unreachable != nil && unreachable.Host != tt.target.String() {
				t.Errorf("host %q", unreachable.Host)
			}
		})
	}
}

func TestUnreachableInWords(t *testing.T) {
	for want, err := range map[string]*Unreachable{
		"no permission to use /run/kita.sock: only root and the user who runs kita serve may": {Host: "/run/kita.sock", Err: os.ErrPermission},
		"the host of nowhere:33889 is not known":                                              {Host: "nowhere:33889", Err: &net.DNSError{IsNotFound: true}},
		"10.0.0.1:33889 did not answer in time":                                               {Host: "10.0.0.1:33889", Err: &net.DNSError{IsTimeout: true}},
		"cannot reach 10.0.0.1:33889: no route":                                               {Host: "10.0.0.1:33889", Err: errors.New("no route")},
	} {
		if err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	}
}

// says is a server that answers anything with text and closes.
func says(t *testing.T, text string) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 4096)
			_, _ = nc.Read(buf)
			_, _ = io.WriteString(nc, text)
			nc.Close()
		}
	})
	t.Cleanup(func() {
		ln.Close()
		served.Wait()
	})
	return ln.Addr().String()
}

func TestServersOfAnotherKind(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"supervisor-rs", "no legal operations input", "it may be a server of supervisor-rs (it says \"no legal operations input\"): ask it with --legacy"},
		{"supervisor-rs in encrypt mode", "Running on encrypt mode, need to dencrypt your command.\nx", `says "Running on encrypt mode, need to dencrypt your command."`},
		{"a short word", "no", `says "no"`},
		{"SSH", "SSH-2.0-OpenSSH_9.9\r\n", "it speaks SSH"},
		{"another web server", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "not as kita does (404 Not Found)"},
		{"a redirect", "HTTP/1.1 302 Found\r\nLocation: http://localhost/x\r\nContent-Length: 0\r\n\r\n", "not as kita does (302 Found)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := Dial(Target{TCP: says(t, tt.text)})
			defer c.Close()
			_, err := c.Do(t.Context(), spec.Command{Verb: spec.VerbStop, Child: "a"})
			var other *NotHTTP
			if !errors.As(err, &other) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %T %v, want %q", err, err, tt.want)
			}
		})
	}
}

// TestAnAnswerOfAnotherServerIsNoSuccess: there are many that answer any request
// with some JSON.
func TestAnAnswerOfAnotherServerIsNoSuccess(t *testing.T) {
	for _, body := range []string{"hello", "", "null", "{}", "[]", `{"status":200}`, `{"children":null}`, `{"children":[{}]}`, `{"verb":"start","child":"a"}`} {
		c := Dial(Target{TCP: says(t, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body))})
		defer c.Close()
		_, do := c.Do(t.Context(), spec.Command{Verb: spec.VerbStop, Child: "a"})
		_, list := c.List(t.Context())
		_, get := c.Get(t.Context(), "a")
		_, info := c.Info(t.Context())
		_, _, validate := c.Validate(t.Context())
		_, upgrade := c.Upgrade(t.Context(), "")
		for path, err := range map[string]error{
			"POST /v1/children/a/stop": do, "GET /v1/children": list, "GET /v1/children/a": get, "GET /v1/info": info,
			"POST /v1/kill": c.Kill(t.Context()), "POST /v1/validate": validate, "POST /v1/upgrade": upgrade,
		} {
			var other *NotHTTP
			if !errors.As(err, &other) || !strings.Contains(err.Error(), "is no kita server: its answer to "+path+" is not") {
				t.Errorf("%s answered %q: %v", path, body, err)
			}
		}
	}
}

func TestTooLongAnAnswer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, 1<<20)
		for {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(ln)
	}()
	c := Dial(Target{TCP: ln.Addr().String()})
	defer c.Close()
	if _, err := c.Info(t.Context()); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("error %v", err)
	}
	server.Close()
	<-served
}

func TestClientTellsThatAServerIsTooOld(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"type":"about:blank","title":"There is no such path","status":404,"code":"no-such-path","detail":"/v1/start is no path of the API, see /openapi.yaml"}`)
	}))
	defer server.Close()
	c := Dial(Target{TCP: server.Listener.Addr().String()})
	defer c.Close()
	_, err := c.Do(t.Context(), spec.Command{Verb: spec.VerbStart, Child: spec.All})
	if want := "cannot start all: this server is too old for that, start each child by its name"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
