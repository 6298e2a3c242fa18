package control

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"kita/control/controltest"
	"kita/spec"
)

func loadOpenAPI(t *testing.T) (*openapi3.T, routers.Router) {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	router, err := legacy.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return doc, router
}

func testAPI(svc Service) *api {
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = io.WriteString(w, "kita_up 1\n")
	})
	upgrade := func(context.Context, string, string) error {
		return spec.Refuse(spec.BadBinary, "", "", "the new version is no good")
	}
	s := NewServer(Options{Service: svc, Metrics: metrics, Upgrade: upgrade, Port: 33889})
	return newAPI(s.opt, s.observed(), s.gate, context.Background(), func() {})
}

func TestEveryRouteIsDescribed(t *testing.T) {
	doc, _ := loadOpenAPI(t)
	// The right that each takes.
	described := map[string]string{}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			right, _ := operation.Extensions["x-right"].(string)
			described[method+" "+path] = right
			if operation.Responses.Value("403") == nil {
				t.Errorf("%s %s cannot be forbidden", method, path)
			}
		}
	}
	served := map[string]string{}
	for _, r := range testAPI(testService()).routes() {
		right := ""
		if r.verb != "" {
			right = string(rightTo(r.verb))
		}
		served[r.method+" "+r.path] = right
	}
	if !maps.Equal(described, served) {
		t.Errorf("described:\n%q\nserved:\n%q", described, served)
	}
}

// The schemas have the members of the types, no more and no fewer, and require
// those that are always there.
func TestSchemasAreTheTypes(t *testing.T) {
	doc, _ := loadOpenAPI(t)
	types := map[string]any{
		"CommandOptions": commandBody{}, "Nothing": struct{}{}, "State": stateAnswer{}, "Children": childrenAnswer{},
		"Validation": validateAnswer{}, "UpgradeOptions": upgradeBody{}, "Upgraded": spec.Upgraded{}, "Problem": Problem{}, "Outcome": spec.Outcome{}, "View": spec.View{},
		"Change": spec.Change{}, "Desired": spec.Desired{}, "Status": spec.Status{}, "Process": spec.Process{},
		"Exit": spec.Exit{}, "Failure": spec.Failure{}, "Hook": spec.Hook{}, "Repeat": spec.Repeat{}, "Child": spec.Child{},
		"EnvVar": spec.EnvVar{}, "Stream": spec.Stream{}, "Rotate": spec.Rotate{}, "Limit": spec.Limit{}, "LastLines": spec.LastLines{}, "Resources": spec.Resources{}, "Stop": spec.Stop{}, "Restart": spec.Restart{},
		"Backoff": spec.Backoff{}, "StartLimit": spec.StartLimit{}, "ExitClass": spec.ExitClass{}, "Info": spec.Info{},
		"LogRequest": spec.LogRequest{}, "LogChunk": spec.LogChunk{}, "StreamEnd": streamEnd{},
		"EventRequest": spec.EventRequest{}, "Event": spec.Event{},
		"DiffRequest": diffBody{}, "Diffs": diffAnswer{}, "ChildDiff": spec.ChildDiff{}, "Difference": spec.Difference{}, "Part": spec.Part{},
		"OutputFiles": outputAnswer{}, "OutputFile": spec.OutputFile{}, "Archives": rotateAnswer{}, "Archive": spec.Archive{},
		"ChildMetrics": spec.Metrics{}, "TargetGroup": TargetGroup{},
		"UsageRequest": usageRequest{}, "Usages": usageAnswer{}, "ChildUsage": spec.ChildUsage{},
	}
	for name, value := range types {
		schema := doc.Components.Schemas[name]
		if schema == nil {
			t.Errorf("%s is not described", name)
			continue
		}
		var members, always []string
		for field := range reflect.TypeOf(value).Fields() {
			member, options, _ := strings.Cut(field.Tag.Get("json"), ",")
			if member == "" || member == "-" {
				continue
			}
			members = append(members, member)
			if !strings.HasPrefix(options, "omit") && name != "CommandOptions" {
				always = append(always, member)
			}
		}
		slices.Sort(members)
		slices.Sort(always)
		if got := slices.Sorted(maps.Keys(schema.Value.Properties)); !slices.Equal(got, members) {
			t.Errorf("%s has %q, its type %q", name, got, members)
		}
		if got := slices.Sorted(slices.Values(schema.Value.Required)); !slices.Equal(got, always) {
			t.Errorf("%s requires %q, its type always has %q", name, got, always)
		}
	}
	if got := len(doc.Components.Schemas); got != len(types) {
		t.Errorf("%d schemas are described, %d are compared", got, len(types))
	}
}

func TestEveryCodeIsDescribed(t *testing.T) {
	doc, _ := loadOpenAPI(t)
	var want []string
	for code := range kinds {
		want = append(want, string(code))
	}
	slices.Sort(want)
	var got []string
	for _, code := range doc.Components.Schemas["Problem"].Value.Properties["code"].Value.Enum {
		got = append(got, code.(string))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("described %q, used %q", got, want)
	}
}

// ask calls the handlers and holds the answer against the description.
func ask(t *testing.T, router routers.Router, svc Service, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	w := httptest.NewRecorder()
	testAPI(svc).handler().ServeHTTP(w, r.WithContext(ctx))
	route, params, err := router.FindRoute(r)
	if err != nil || strings.HasSuffix(r.URL.Path, "/") {
		// Not a path of the description, though its router may forgive a slash.
		return w
	}
	openapi3filter.RegisterBodyDecoder("application/x-ndjson", openapi3filter.PlainBodyDecoder)
	openapi3filter.RegisterBodyDecoder("application/yaml", openapi3filter.PlainBodyDecoder)
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route},
		Status:                 w.Code, Header: w.Header(),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	}
	if err := openapi3filter.ValidateResponse(t.Context(), input.SetBodyBytes(w.Body.Bytes())); err != nil {
		t.Errorf("%s %s: the answer is not as described: %v\n%s", r.Method, r.URL, err, w.Body)
	}
	return w
}

func request(method, path, body string) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "localhost"
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json; charset=utf-8")
	}
	return r
}

func TestAnswersAreAsDescribed(t *testing.T) {
	_, router := loadOpenAPI(t)
	tests := []struct {
		method, path, body string
		want               int
		contains           string
	}{
		{"GET", "/v1/children", "", 200, `"name":"a"`},
		{"GET", "/v1/children?view=summary", "", 200, `"name":"a"`},
		{"GET", "/v1/children?view=full", "", 400, `/v1/children takes no query parameters but view=summary`},
		{"GET", "/v1/children/a", "", 200, `"pid":80`},
		{"GET", "/v1/children/x", "", 404, `"code":"not-found"`},
		{"POST", "/v1/children/b/start", "{}", 200, `"verb":"start"`},
		{"POST", "/v1/children/b/start", "", 200, `"phase":"running"`},
		{"POST", "/v1/children/b/start", `{"no_wait":true}`, 202, `"child":"b"`},
		{"POST", "/v1/children/a/start", "{}", 409, `"type":"urn:kita:already-running"`},
		{"POST", "/v1/children/b/restart", "{}", 409, `"code":"not-running"`},
		{"POST", "/v1/children/x/trystart", "{}", 404, `"child":"x"`},
		{"POST", "/v1/children/a/trystart", "{}", 200, `"was_running":true`},
		{"POST", "/v1/children/a/trystart", `{"if_changed":true}`, 200, `"unchanged":true`},
		{"POST", "/v1/children/a/start", `{"if_changed":true}`, 400, `if_changed is for trystart alone`},
		{"POST", "/v1/diff", `{"children":["a","b"]}`, 200, `"state":"not-running"`},
		{"POST", "/v1/diff", `{"children":["all"]}`, 200, `"state":"unchanged"`},
		{"POST", "/v1/diff", `{"children":["x"]}`, 404, `not-found`},
		{"POST", "/v1/diff", `{"children":["all","a"]}`, 400, `all stands alone`},
		{"POST", "/v1/diff", `{}`, 400, `which children`},
		{"POST", "/v1/children/a/stop", "{}", 200, `"phase":"stopped"`},
		{"POST", "/v1/children/all/stop", "{}", 400, `reserved`},
		{"POST", "/v1/children/a/stop", `{"nowait":true}`, 400, `unknown field`},
		{"POST", "/v1/children/a/stop", `{"no_wait":1}`, 400, `bad-request`},
		{"POST", "/v1/children/a/stop", `{} {}`, 400, `something follows`},
		{"POST", "/v1/children/a/stop", `null`, 400, `must be a JSON object`},
		{"POST", "/v1/children/a/stop?no_wait=1", `{}`, 400, `no query parameters`},
		{"POST", "/v1/children/a/stop", strings.Repeat(" ", maxBody+1), 413, `too-large`},
		{"POST", "/v1/stop", "{}", 200, `{"verb":"stop","child":"all","children":[{"child":"a","generation":1}]}`},
		{"POST", "/v1/start", "{}", 200, `"children":[{"child":"b",`},
		{"POST", "/v1/start", `{"no_wait":true}`, 202, `"child":"all"`},
		{"POST", "/v1/restart", "{}", 200, `"children":[{"child":"a",`},
		{"POST", "/v1/trystart", "{}", 200, `"children":[{"child":"a","generation":1},{"child":"b",`},
		{"POST", "/v1/trystart", `{"if_changed":true}`, 200, `"left_stopped":["b","web","web2"]`},
		{"POST", "/v1/kill", "", 202, `"stopping"`},
		{"POST", "/v1/kill", `{"now":true}`, 400, `unknown field`},
		{"POST", "/v1/validate", "{}", 200, `{"checked":4,"problems":["b.yml:1: no"]}`},
		{"POST", "/v1/validate", "[]", 400, `must be a JSON object`},
		{"GET", "/v1/info", "", 200, `"running":["a"]`},
		{"POST", "/v1/logs", `{"children":["a"]}`, 200, `"text":"one\n"`},
		{"POST", "/v1/logs", `{"children":["all"],"tail":0}`, 200, `{"caught_up":true}`},
		{"POST", "/v1/logs", `{"children":["b"]}`, 400, `it has no output file`},
		{"POST", "/v1/logs", `{"children":["x"]}`, 404, `"verb":"logs","child":"x"`},
		{"POST", "/v1/events", `{"children":["a"]}`, 200, `"child":"a","type":"started"`},
		{"POST", "/v1/events", `{"children":["all"],"tail":0}`, 200, `{"seq":2,"type":"caught-up"}`},
		{"POST", "/v1/events", `{"children":["all"],"types":["server"]}`, 200, `{"seq":2,"time":"2026-01-31T02:11:11Z","type":"server"`},
		{"POST", "/v1/events", `{"children":["x"]}`, 404, `"verb":"events","child":"x"`},
		{"POST", "/v1/events", `{"children":["all"],"types":["stopped"]}`, 400, `there are command, refused,`},
		{"POST", "/v1/usage", "", 200, `{"children":[{"name":"a","incarnation":1,"cpu_seconds":80,"memory_bytes":83886080,"processes":1,"sampled_at":`},
		{"POST", "/v1/usage", `{"children":["a","b","x"]}`, 200, `[{"name":"a",`},
		{"POST", "/v1/usage", `{"children":["b"]}`, 200, `{"children":[]}`},
		{"POST", "/v1/usage", `{"children":[]}`, 200, `{"children":[]}`},
		{"POST", "/v1/usage", `{"children":["all"]}`, 400, `leave ` + "`children`" + ` out`},
		{"POST", "/v1/usage", `{"child":"a"}`, 400, `unknown field`},
		{"GET", "/v1/children/a/output", "", 200, `{"files":[{"streams":["out"],"path":`},
		{"GET", "/v1/children/b/output", "", 200, `{"files":[]}`},
		{"GET", "/v1/children/x/output", "", 404, `not-found`},
		{"GET", "/v1/children/all/watch", "", 400, `the changes of all are at /v1/watch`},
		{"GET", "/v1/children/stop/watch", "", 400, `reserved`},
		{"GET", "/v1/children/a%2Fb/watch", "", 400, `watch: the name \"a/b\" has a '/'`},
		{"GET", "/v1/children/a.b/watch", "", 400, `has a '.'`},
		{"GET", "/v1/children/x%00/watch", "", 400, `"code":"bad-request"`},
		{"GET", "/v1/children/%ff/watch", "", 400, `is not UTF-8`},
		{"POST", "/v1/children/a/rotate", "", 200, `{"archives":[{"path":`},
		{"POST", "/v1/children/b/rotate", "{}", 200, `{"archives":[]}`},
		{"POST", "/v1/children/x/rotate", "{}", 404, `not-found`},
		{"POST", "/v1/children/all/rotate", "{}", 400, `reserved`},
		{"POST", "/v1/children/a/rotate", `{"now":true}`, 400, `unknown field`},
		{"POST", "/v1/rotate", "{}", 200, `"bytes":4`},
		{"POST", "/v1/upgrade", "", 422, `"code":"bad-binary"`},
		{"POST", "/v1/upgrade", `{"binary":"/bin/true"}`, 403, `only over the unix socket`},
		{"POST", "/v1/upgrade", `{"path":"/bin/true"}`, 400, `unknown field`},
		{"GET", "/healthz", "", 200, `ok`},
		{"GET", "/readyz", "", 200, `ready`},
		{"GET", "/metrics", "", 200, "kita_up 1"},
		{"GET", "/v1/sd", "", 200, `"__meta_kita_role":"server"`},
		{"GET", "/v1/sd?x=y", "", 400, "takes no query parameters"},
		{"GET", "/openapi.yaml", "", 200, "openapi: 3.0.3"},
		{"GET", "/v2", "", 404, `no-such-path`},
		{"GET", "/v1//children", "", 404, `no-such-path`},
		{"GET", "/v1/children/", "", 404, `no-such-path`},
		{"OPTIONS", "*", "", 404, `no-such-path`},
		{"DELETE", "/v1/children/a", "", 405, `method-not-allowed`},
		{"GET", "/v1/stop", "", 405, `it has POST`},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			svc := testService()
			svc.Checked, svc.Problems = 4, []string{"b.yml:1: no"}
			svc.Write("a", "one\n", spec.Out)
			svc.Record(
				spec.Event{Child: "a", Type: spec.EventStarted, PID: 80, At: controltest.Started},
				spec.Event{Type: spec.EventServer, Server: spec.ServerStarted, At: controltest.Started},
			)
			w := ask(t, router, svc, request(tt.method, tt.path, tt.body))
			if w.Code != tt.want || !strings.Contains(w.Body.String(), tt.contains) {
				t.Errorf("status %d, want %d, and %q in\n%s", w.Code, tt.want, tt.contains, w.Body)
			}
			if media := w.Header().Get("Content-Type"); w.Code >= 400 && media != "application/problem+json" {
				t.Errorf("an error as %q", media)
			}
			if w.Code == 405 && w.Header().Get("Allow") == "" {
				t.Error("no Allow")
			}
			if w.Header().Get("Access-Control-Allow-Origin") != "" {
				t.Error("CORS")
			}
		})
	}
}

// Every code a Service may refuse with has an answer as described.
func TestRefusalsAreAsDescribed(t *testing.T) {
	_, router := loadOpenAPI(t)
	for code, k := range kinds {
		if strings.HasPrefix(k.title, "The path") || code == codeNoSuchPath {
			continue
		}
		svc := testService()
		svc.DoFunc = func(_ context.Context, c spec.Command) (spec.Outcome, error) {
			refusal := spec.Refuse(code, c.Verb, c.Child, "the reason")
			refusal.WasRunning = true
			return spec.Outcome{}, refusal
		}
		w := ask(t, router, svc, request("POST", "/v1/children/a/restart", "{}"))
		if w.Code != k.status || !strings.Contains(w.Body.String(), `"detail":"the reason"`) {
			t.Errorf("%s: status %d, want %d: %s", code, w.Code, k.status, w.Body)
		}
	}
	for err, want := range map[error]int{
		context.Canceled: 503, context.DeadlineExceeded: 504, errors.New("a defect"): 500,
	} {
		svc := testService()
		svc.DoFunc = func(context.Context, spec.Command) (spec.Outcome, error) { return spec.Outcome{}, err }
		if w := ask(t, router, svc, request("POST", "/v1/stop", "")); w.Code != want {
			t.Errorf("%v: status %d, want %d", err, w.Code, want)
		}
	}
}

func TestReadyzBeforeTheStart(t *testing.T) {
	_, router := loadOpenAPI(t)
	svc := testService()
	svc.ReadyErr = errors.New("3 of 5 children are started")
	w := ask(t, router, svc, request("GET", "/readyz", ""))
	if w.Code != 503 || !strings.Contains(w.Body.String(), "3 of 5") {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}

// A child with every field there is.
func TestAFullViewIsAsDescribed(t *testing.T) {
	_, router := loadOpenAPI(t)
	svc := controltest.New(controltest.Child("full"))
	view, _ := svc.Get("full")
	now := time.Now()
	umask, nice := uint32(0o27), 5
	c := view.Spec
	c.Env, c.EnvFile = []spec.EnvVar{{Name: "A", Value: "b"}}, "env"
	c.Stdout, c.Stderr = &spec.Stream{Path: "o", Mode: spec.Create}, &spec.Stream{Path: "e", Mode: spec.Append}
	c.User, c.Group, c.Umask, c.Nice = "u", "g", &umask, &nice
	c.Limits = []spec.Limit{{Name: "nofile", Soft: 1024, Hard: spec.Unlimited}}
	c.Restart.Success = []spec.ExitClass{{Code: 3}, {Signal: 15}}
	c.Restart.Limit = spec.StartLimit{Starts: 5, Within: spec.Duration(time.Minute)}
	c.Repeat = &spec.Repeat{Action: spec.VerbStop, Every: spec.Duration(time.Minute)}
	c.Prehook, c.Posthook = &spec.Hook{Verb: spec.VerbStart, Child: "db"}, &spec.Hook{Verb: spec.VerbStop, Child: "db"}
	svc.SetRunning("full", 7)
	view, _ = svc.Get("full")
	view.FileError, view.Stale = "full.yml:1: no", true
	view.Desired = spec.Desired{Run: spec.Running, Generation: 3, RestartGeneration: 2, Posthook: 1, Cause: spec.CauseRepeat, By: "unix:0", At: now}
	view.Status.Process.Adopted = true
	view.Status.LastExit = &spec.Exit{Incarnation: 1, Known: true, Signal: 11, CoreDumped: true, At: now}
	view.Status.NextStart, view.Status.RepeatAt, view.Status.Reason = &now, &now, "why"
	view.Status.Failure = &spec.Failure{Generation: 1, Code: spec.CannotStart, Message: "no"}
	ask(t, router, oneView{svc, view}, request("GET", "/v1/children", ""))
	ask(t, router, oneView{svc, view}, request("GET", "/v1/children/full", ""))
}

// Whom a command for all has spared.
func TestThoseLeftAsTheyAreAreAsDescribed(t *testing.T) {
	_, router := loadOpenAPI(t)
	svc := testService()
	svc.DoFunc = func(_ context.Context, c spec.Command) (spec.Outcome, error) {
		return spec.Outcome{Verb: c.Verb, Child: c.Child, LeftStopped: []string{"db"}, LeftRunning: []string{"mid"}}, nil
	}
	w := ask(t, router, svc, request("POST", "/v1/restart", "{}"))
	if !strings.Contains(w.Body.String(), `"left_stopped":["db"],"left_running":["mid"]`) {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}

type oneView struct {
	*controltest.Service
	view spec.View
}

func (o oneView) List() []spec.View                 { return []spec.View{o.view} }
func (o oneView) Get(name string) (spec.View, bool) { return o.view, true }

func TestForeignPagesAreRefused(t *testing.T) {
	_, router := loadOpenAPI(t)
	tests := []struct {
		name, host, header, value string
		want                      int
	}{
		{"its address", "10.0.0.1:33889", "", "", 200},
		{"its IPv6 address", "[::1]:33889", "", "", 200},
		{"an IPv6 address without a port", "[fe80::1]", "", "", 200},
		{"localhost", "LocalHost:33889", "", "", 200},
		{"a name it was given", "kita.example.com", "", "", 200},
		{"a rebound name", "evil.example.com:33889", "", "", 421},
		{"a name that looks like an address", "10.0.0.1.evil.com", "", "", 421},
		{"no host", "", "", "", 421},
		{"its own page", "localhost:33889", "Origin", "http://localhost:33889", 200},
		{"a page of another port", "localhost:33889", "Origin", "http://localhost:8080", 403},
		{"a page of another host", "localhost", "Origin", "http://evil.example.com", 403},
		{"a page of another scheme", "localhost", "Origin", "https://localhost", 403},
		{"a page from a file", "localhost", "Origin", "null", 403},
		{"another site, says the browser", "localhost", "Sec-Fetch-Site", "cross-site", 403},
		{"another subdomain", "localhost", "Sec-Fetch-Site", "same-site", 403},
		{"the address bar", "localhost", "Sec-Fetch-Site", "none", 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, r := range []*http.Request{request("GET", "/v1/children", ""), request("POST", "/v1/stop", "")} {
				svc := testService()
				r.Host = tt.host
				if tt.header != "" {
					r.Header.Set(tt.header, tt.value)
				}
				a := testAPI(svc)
				a.guard = newGuard([]string{"Kita.example.com."})
				w := httptest.NewRecorder()
				a.handler().ServeHTTP(w, r)
				if w.Code != tt.want {
					t.Errorf("%s: status %d, want %d: %s", r.Method, w.Code, tt.want, w.Body)
				}
				if tt.want != 200 && len(svc.Commands()) != 0 {
					t.Error("the command was carried out")
				}
			}
		})
	}
	if w := ask(t, router, testService(), func() *http.Request { r := request("GET", "/v1/info", ""); r.Host = "evil"; return r }()); w.Code != 421 {
		t.Errorf("status %d", w.Code)
	}
}

func TestChangesNeedJSON(t *testing.T) {
	_, router := loadOpenAPI(t)
	for _, path := range []string{"/v1/children/a/stop", "/v1/stop", "/v1/kill", "/v1/validate", "/v1/upgrade"} {
		for _, media := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "multipart/form-data; boundary=x"} {
			svc := testService()
			r := request("POST", path, "{}")
			r.Header.Set("Content-Type", media)
			if w := ask(t, router, svc, r); w.Code != 415 || len(svc.Commands())+len(svc.Kills()) != 0 {
				t.Errorf("%s as %q: status %d, commands %v, kills %v", path, media, w.Code, svc.Commands(), svc.Kills())
			}
		}
	}
}
