package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"kita/spec"
)

// Time limits of a Client. How long a command may take is up to its context.
const (
	dialTimeout = 5 * time.Second
	// watchSilence is three heartbeats of a server with the default Timing.
	watchSilence = missedBeats * 15 * time.Second
	// closeHeartbeat is what a server is asked for by who has to notice soon that it
	// hangs.
	closeHeartbeat = 2 * time.Second
	// missedBeats end a watch.
	missedBeats = 3
)

// maxResponse bounds an answer: 10,000 children with their configurations are
// about 20 MiB.
const maxResponse = 64 << 20

// Client speaks the HTTP API to one server. Its methods may be called from many
// goroutines. Errors are a *spec.Refusal when the server refused, *Unreachable
// when there was no answer, *NotHTTP when something else than kita answered,
// and the context's when that ended.
type Client struct {
	target Target
}

// Dial makes a client of the server at target. It connects for each call anew: a
// kept connection that the server has closed would make a command fail without
// anybody knowing whether it was carried out.
func Dial(target Target) *Client { return &Client{target: target} }

// Do carries out a command. c.By is not sent: the server sees for itself.
func (c *Client) Do(ctx context.Context, command spec.Command) (spec.Outcome, error) {
	where := "/v1/" + string(command.Verb)
	if command.Child != spec.All {
		var err error
		if where, err = childPath(command.Verb, command.Child, "/"+string(command.Verb)); err != nil {
			return spec.Outcome{}, err
		}
	}
	var out spec.Outcome
	err := c.call(ctx, http.MethodPost, where, commandBody{NoWait: command.NoWait, IfChanged: command.IfChanged}, &out, func() bool {
		return out.Verb == command.Verb && out.Child != ""
	})
	return out, tooOld(command, err)
}

// tooOld says of an older server what it cannot do.
func tooOld(command spec.Command, err error) error {
	refusal, ok := errors.AsType[*spec.Refusal](err)
	switch {
	case !ok:
	case refusal.Code == codeNoSuchPath && command.Child == spec.All:
		return spec.Refuse(codeNoSuchPath, command.Verb, command.Child,
			"cannot %s %s: this server is too old for that, %s each child by its name", command.Verb, command.Child, command.Verb)
	case refusal.Code == spec.BadRequest && command.IfChanged && strings.Contains(refusal.Message, `unknown field "if_changed"`):
		return spec.Refuse(spec.BadRequest, command.Verb, command.Child,
			"cannot %s %s: this server is too old to tell whether it has changed, leave out --if-changed", command.Verb, command.Child)
	}
	return err
}

// List returns every child, sorted by name.
func (c *Client) List(ctx context.Context) ([]spec.View, error) {
	var answer childrenAnswer
	q := answer.question()
	err := c.ask(ctx, q)
	return answer.Children, err
}

func (a *childrenAnswer) question() question {
	return question{"/v1/children", a, func() bool {
		nameless := func(v spec.View) bool { return v.Name == "" }
		return a.Children != nil && !slices.ContainsFunc(a.Children, nameless)
	}}
}

// Overview is List and Info over one connection. With summaries the views have no
// configurations, no history, no last lines and not who asked for what there is.
func (c *Client) Overview(ctx context.Context, summaries bool) ([]spec.View, spec.Info, error) {
	var (
		children childrenAnswer
		info     infoAnswer
	)
	list := children.question()
	if summaries {
		list.path += "?view=" + summaryView
		list.answer = (*summariesAnswer)(&children)
	}
	err, infoErr := c.callTwo(ctx, list, info.question())
	var refusal *spec.Refusal
	if summaries && errors.As(err, &refusal) && refusal.Code == spec.BadRequest {
		// An older server does not know of them.
		return c.Overview(ctx, false)
	}
	if err == nil {
		err = infoErr
	}
	if err != nil {
		return nil, spec.Info{}, err
	}
	return children.Children, info.info(), nil
}

// summariesAnswer is a childrenAnswer that reads itself.
type summariesAnswer childrenAnswer

func (a *summariesAnswer) read(content []byte) error {
	views, ok := decodeSummaries(string(content))
	if !ok {
		return json.Unmarshal(content, (*childrenAnswer)(a))
	}
	a.Children = views
	return nil
}

// Get returns one child; a Refusal with spec.NotFound when there is none.
func (c *Client) Get(ctx context.Context, name string) (spec.View, error) {
	var view spec.View
	q, err := viewQuestion(name, &view)
	if err == nil {
		err = c.ask(ctx, q)
	}
	return view, err
}

// GetWithOutput is Get and Output over one connection. There are no files where
// the server does not tell of them.
func (c *Client) GetWithOutput(ctx context.Context, name string) (spec.View, []spec.OutputFile, error) {
	var (
		view   viewAnswer
		output outputAnswer
	)
	ofView, err := viewQuestion(name, &view.View)
	if err != nil {
		return view.View, nil, err
	}
	ofView.answer = &view
	ofFiles, err := outputQuestion(name, &output)
	if err != nil {
		return view.View, nil, err
	}
	if err, _ = c.callTwo(ctx, ofView, ofFiles); err != nil {
		return spec.View{}, nil, err
	}
	return view.View, output.Files, nil
}

// viewAnswer is a view that reads itself.
type viewAnswer struct{ spec.View }

func (a *viewAnswer) read(content []byte) error {
	if decodeView(string(content), &a.View) {
		return nil
	}
	a.View = spec.View{}
	return json.Unmarshal(content, &a.View)
}

func viewQuestion(name string, view *spec.View) (question, error) {
	where, err := childPath("", name, "")
	return question{where, view, func() bool { return view.Name != "" }}, err
}

// childPath is the path of a child and of what is below it. A name with which it
// would be another path is no child's.
func childPath(verb spec.Verb, name, below string) (string, error) {
	if path.Clean("/"+name) != "/"+name {
		return "", NoSuchChild(verb, name)
	}
	return "/v1/children/" + url.PathEscape(name) + below, nil
}

// Info returns what the server says of itself.
func (c *Client) Info(ctx context.Context) (spec.Info, error) {
	var answer infoAnswer
	q := answer.question()
	if err := c.ask(ctx, q); err != nil {
		return spec.Info{}, err
	}
	return answer.info(), nil
}

// infoAnswer tells an answer of kita's by its PID.
type infoAnswer struct {
	spec.Info
	PID *int `json:"pid"`
}

func (a *infoAnswer) question() question {
	return question{"/v1/info", a, func() bool { return a.PID != nil }}
}

func (a *infoAnswer) info() spec.Info {
	a.Info.PID = *a.PID
	return a.Info
}

// Kill has the server stop all children and end; it returns when that begins.
func (c *Client) Kill(ctx context.Context) error {
	var answer stateAnswer
	return c.call(ctx, http.MethodPost, "/v1/kill", struct{}{}, &answer, func() bool { return answer.Status != "" })
}

// Validate has the server read every file again.
func (c *Client) Validate(ctx context.Context) (checked int, problems []string, err error) {
	var answer validateAnswer
	err = c.call(ctx, http.MethodPost, "/v1/validate", struct{}{}, &answer, func() bool { return answer.Problems != nil })
	return answer.Checked, answer.Problems, err
}

// String is the address of the server, or the path of its socket.
func (c *Client) String() string { return c.target.String() }

// Answers returns nil if the server answers at all, whatever it says.
func (c *Client) Answers(ctx context.Context) error {
	response, err := c.send(ctx, http.MethodGet, "/healthz", nil)
	var unreachable *Unreachable
	switch {
	case err == nil:
		return response.Body.Close()
	case ctx.Err() != nil:
		// What the connection said as it was given up is of no use.
		return &Unreachable{Host: c.target.String(), Err: ctx.Err()}
	case errors.As(err, &unreachable):
		return err
	}
	return nil
}

// Close is there for what a client may keep one day.
func (c *Client) Close() {}

// call makes one request with the JSON of body, where there is one, and decodes
// the answer into answer. sound tells whether it is one of kita's: other servers
// speak HTTP and JSON too, and nothing of theirs is to pass for a success.
func (c *Client) call(ctx context.Context, method, path string, body, answer any, sound func() bool) error {
	response, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return c.decode(ctx, response, answer, sound)
}

// decode reads the JSON of an answer into answer.
func (c *Client) decode(ctx context.Context, response *http.Response, answer any, sound func() bool) error {
	content, err := readBody(response)
	if err != nil {
		return c.explain(ctx, err)
	}
	if len(content) > maxResponse {
		return fmt.Errorf("%s: the answer is longer than %d bytes", c.target, maxResponse)
	}
	read := func() error { return json.Unmarshal(content, answer) }
	if a, ok := answer.(interface{ read(content []byte) error }); ok {
		read = func() error { return a.read(content) }
	}
	if read() != nil || !sound() {
		return &NotHTTP{Target: c.target, Reason: fmt.Sprintf("its answer to %s %s is not one of kita's", response.Request.Method, response.Request.URL.Path)}
	}
	return nil
}

// send is exchange of a request that it makes.
func (c *Client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	request, err := c.request(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	return c.exchange(ctx, request)
}

// exchange makes the request and turns anything but success into an error.
func (c *Client) exchange(ctx context.Context, request *http.Request) (*http.Response, error) {
	request.Close = true
	_, response, err := c.roundTrip(ctx, request)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	return c.success(response)
}

// request is one that send makes.
func (c *Client) request(ctx context.Context, method, path string, body any) (*http.Request, error) {
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		content = bytes.NewReader(encoded)
	}
	// A server does not know every name it can be reached by; this one it does.
	request, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.target, err)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	return request, nil
}

// success turns anything but that into an error.
func (c *Client) success(response *http.Response) (*http.Response, error) {
	if response.StatusCode/100 == 2 {
		return response, nil
	}
	defer response.Body.Close()
	return nil, c.refused(response)
}

// refused reads a problem.
func (c *Client) refused(response *http.Response) error {
	media, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	content, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	var p Problem
	if err == nil && media == "application/problem+json" && json.Unmarshal(content, &p) == nil && p.Code != "" {
		return p.refusal()
	}
	return &NotHTTP{Target: c.target, Reason: fmt.Sprintf("it answers HTTP, but not as kita does (%s)", response.Status)}
}

// explain says why there is no answer.
func (c *Client) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		return context.Cause(ctx)
	}
	var (
		other       *otherProtocol
		refusal     *spec.Refusal
		unreachable *Unreachable
	)
	switch {
	case errors.As(err, &refusal):
		return refusal
	case errors.As(err, &unreachable):
		return unreachable
	case errors.Is(err, errLongHead):
		return &NotHTTP{Target: c.target, Reason: err.Error()}
	}
	if errors.As(err, &other) {
		return &NotHTTP{Target: c.target, Reason: other.describe(), OldServer: !other.isSSH()}
	}
	return &Unreachable{Host: c.target.String(), Err: err}
}
