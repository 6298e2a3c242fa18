package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"kita/spec"
)

// commandBody is the body of a command; an empty body is {}.
type commandBody struct {
	// NoWait answers as soon as the desired state is written.
	NoWait bool `json:"no_wait"`
	// IfChanged is that of spec.Command.
	IfChanged bool `json:"if_changed,omitempty"`
}

// childrenAnswer, validateAnswer and stateAnswer are the answers that package
// spec has no type for.
type (
	childrenAnswer struct {
		Children []spec.View `json:"children"`
	}
	validateAnswer struct {
		Checked  int      `json:"checked"`
		Problems []string `json:"problems"`
	}
	stateAnswer struct {
		Status string `json:"status"`
	}
)

func (a *api) children(w http.ResponseWriter, r *http.Request, _ []byte) error {
	views := a.gate.readable(askerOf(r.Context()), a.svc.List())
	if r.URL.RawQuery != "" {
		a.write(w, http.StatusOK, "application/json", append(appendSummaries(nil, views), '\n'))
		return nil
	}
	if views == nil {
		views = []spec.View{}
	}
	a.json(w, http.StatusOK, childrenAnswer{views})
	return nil
}

func (a *api) child(w http.ResponseWriter, r *http.Request, _ []byte) error {
	name := r.PathValue("name")
	view, ok := a.svc.Get(name)
	if !ok {
		return NoSuchChild("", name)
	}
	a.json(w, http.StatusOK, view)
	return nil
}

func (a *api) command(verb spec.Verb) func(http.ResponseWriter, *http.Request, []byte) error {
	return func(w http.ResponseWriter, r *http.Request, body []byte) error {
		name := r.PathValue("name")
		if spec.Reserved(name) {
			// All children have a path of their own, so that no name means more
			// than one.
			return spec.Refuse(spec.BadRequest, verb, name, "%s %s: %q is reserved, no child has that name", verb, name, name)
		}
		return a.do(w, r, spec.Command{Verb: verb, Child: name}, body)
	}
}

func (a *api) commandAll(verb spec.Verb) func(http.ResponseWriter, *http.Request, []byte) error {
	return func(w http.ResponseWriter, r *http.Request, body []byte) error {
		return a.do(w, r, spec.Command{Verb: verb, Child: spec.All}, body)
	}
}

// do carries out c. The request's context ends when the client goes away: then
// the wait ends, and what was written stays.
func (a *api) do(w http.ResponseWriter, r *http.Request, c spec.Command, body []byte) error {
	var options commandBody
	if err := decodeStrictly(body, &options); err != nil {
		return spec.Refuse(spec.BadRequest, c.Verb, c.Child, "%s %s: the body: %v", c.Verb, c.Child, err)
	}
	if options.IfChanged && c.Verb != spec.VerbTrystart {
		return spec.Refuse(spec.BadRequest, c.Verb, c.Child, "%s %s: the body: if_changed is for trystart alone", c.Verb, c.Child)
	}
	c.LeaveDown = c.Verb == spec.VerbStop
	c.NoWait, c.IfChanged, c.By = options.NoWait, options.IfChanged, askerOf(r.Context()).by()
	out, err := a.svc.Do(r.Context(), c)
	if pending := pendingIn(err); pending != nil {
		return a.surrender(w, r, Handed{Stage: StageCommand, Pending: pending})
	}
	if err != nil {
		return err
	}
	a.outcome(w, c, a.gate.outcome(askerOf(r.Context()), out))
	return nil
}

// outcome answers a command that was carried out.
func (a *api) outcome(w http.ResponseWriter, c spec.Command, out spec.Outcome) {
	status := http.StatusOK
	if c.NoWait {
		status = http.StatusAccepted
	}
	a.json(w, status, out)
}

// decodeStrictly reads one JSON object into v and refuses members that v does
// not have; an empty body leaves v as it is.
func decodeStrictly(body []byte, v any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	if bytes.TrimSpace(body)[0] != '{' {
		return errors.New("it must be a JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON object")
	}
	return nil
}

func (a *api) kill(w http.ResponseWriter, r *http.Request, body []byte) error {
	if err := decodeStrictly(body, &struct{}{}); err != nil {
		return spec.Refuse(spec.BadRequest, spec.VerbKill, "", "kill: the body: %v", err)
	}
	w.Header().Set("Connection", "close")
	a.json(w, http.StatusAccepted, stateAnswer{"stopping"})
	// The answer must be on its way before the server begins to end.
	_ = http.NewResponseController(w).Flush()
	a.svc.Kill(askerOf(r.Context()).by())
	return nil
}

func (a *api) validate(w http.ResponseWriter, _ *http.Request, body []byte) error {
	if err := decodeStrictly(body, &struct{}{}); err != nil {
		return spec.Refuse(spec.BadRequest, "", "", "validate: the body: %v", err)
	}
	checked, problems := a.svc.Validate()
	if problems == nil {
		problems = []string{}
	}
	a.json(w, http.StatusOK, validateAnswer{checked, problems})
	return nil
}

func (a *api) info(w http.ResponseWriter, r *http.Request, _ []byte) error {
	i := a.gate.inform(askerOf(r.Context()), a.svc.Info())
	// Lists are never null on the wire.
	for _, list := range []*[]string{&i.LoadPaths, &i.Listeners, &i.Running} {
		if *list == nil {
			*list = []string{}
		}
	}
	a.json(w, http.StatusOK, i)
	return nil
}

func (a *api) healthz(w http.ResponseWriter, _ *http.Request, _ []byte) error {
	a.json(w, http.StatusOK, stateAnswer{"ok"})
	return nil
}

func (a *api) readyz(w http.ResponseWriter, _ *http.Request, _ []byte) error {
	if err := a.svc.Ready(); err != nil {
		return spec.Refuse(spec.Unavailable, "", "", "not ready: %v", err)
	}
	a.json(w, http.StatusOK, stateAnswer{"ready"})
	return nil
}

func (a *api) openapi(w http.ResponseWriter, _ *http.Request, _ []byte) error {
	a.write(w, http.StatusOK, "application/yaml", OpenAPI)
	return nil
}

func (a *api) metrics(w http.ResponseWriter, r *http.Request, _ []byte) error {
	a.writeWithin(w)
	a.opt.Metrics.ServeHTTP(w, r)
	return nil
}

func (a *api) discovery(w http.ResponseWriter, r *http.Request, _ []byte) error {
	a.json(w, http.StatusOK, discover(r, a.opt))
	return nil
}

// metricsOnly is the handler of the listener that serves only /metrics and where
// else metrics are. It takes any host name: Prometheus asks by names the server
// does not know, and nothing can be changed here.
func metricsOnly(opt Options) http.Handler {
	mux := http.NewServeMux()
	serve := func(path string, h http.HandlerFunc) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			if !settle(r.Context()) {
				return
			}
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(opt.Timing.Write))
			h(w, r)
		})
	}
	if opt.Metrics != nil {
		serve("/metrics", opt.Metrics.ServeHTTP)
	}
	serve(discoveryPath, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		// An error means that the client is gone.
		_ = json.NewEncoder(w).Encode(discover(r, opt))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength == 0 {
			mux.ServeHTTP(w, r)
			return
		}
		// The HTTP server reads it after the answer, and would wait for it.
		_ = http.NewResponseController(w).SetReadDeadline(due(r.Context(), opt.Timing.Request))
		w.Header().Set("Connection", "close")
		http.Error(w, r.Method+" "+r.URL.Path+" takes no body here", http.StatusBadRequest)
	})
}
