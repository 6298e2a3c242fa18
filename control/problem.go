package control

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"kita/spec"
)

// Problem is the body of every error answer: problem details of RFC 9457, with
// the members of spec.Refusal.
type Problem struct {
	// Type is "urn:kita:" and the code.
	Type string `json:"type"`
	// Title is the same for every problem of a type.
	Title  string    `json:"title"`
	Status int       `json:"status"`
	Detail string    `json:"detail"`
	Code   spec.Code `json:"code"`
	Verb   spec.Verb `json:"verb,omitempty"`
	Child  string    `json:"child,omitempty"`
	// WasRunning and LastLines are those of spec.Refusal.
	WasRunning bool            `json:"was_running,omitempty"`
	LastLines  *spec.LastLines `json:"last_lines,omitempty"`
}

// Codes of the wire, besides those of package spec.
const (
	codeForbidden               = spec.Forbidden
	codeMisdirected   spec.Code = "misdirected"
	codeNoSuchPath    spec.Code = "no-such-path"
	codeMethod        spec.Code = "method-not-allowed"
	codeMediaType     spec.Code = "unsupported-media-type"
	codeTooLarge      spec.Code = "too-large"
	codeSlowRequest   spec.Code = "slow-request"
	codeInternalError spec.Code = "internal-error"
)

// kind is what every problem of a code has in common.
type kind struct {
	status int
	title  string
}

var kinds = map[spec.Code]kind{
	spec.AlreadyRunning: {http.StatusConflict, "The child runs already"},
	spec.NotRunning:     {http.StatusConflict, "The child does not run"},
	spec.NotFound:       {http.StatusNotFound, "There is no such child"},
	spec.Ambiguous:      {http.StatusConflict, "Several files have the child's name"},
	spec.InvalidFile:    {http.StatusUnprocessableEntity, "A file is not valid"},
	spec.BadHook:        {http.StatusUnprocessableEntity, "The hooks cannot be followed"},
	spec.HookFailed:     {http.StatusFailedDependency, "A hook failed"},
	spec.CannotStart:    {http.StatusUnprocessableEntity, "The child cannot be started"},
	spec.NotStopped:     {http.StatusInternalServerError, "Processes are left"},
	spec.Superseded:     {http.StatusConflict, "Another command came in between"},
	spec.BadRequest:     {http.StatusBadRequest, "The request makes no sense"},
	spec.Unavailable:    {http.StatusServiceUnavailable, "The server cannot do it now"},
	spec.TimedOut:       {http.StatusGatewayTimeout, "The change was not seen in time"},
	spec.BadBinary:      {http.StatusUnprocessableEntity, "The new version cannot take over"},
	codeForbidden:       {http.StatusForbidden, "The request is not allowed"},
	codeMisdirected:     {http.StatusMisdirectedRequest, "The server does not have this name"},
	codeNoSuchPath:      {http.StatusNotFound, "There is no such path"},
	codeMethod:          {http.StatusMethodNotAllowed, "The path has no such method"},
	codeMediaType:       {http.StatusUnsupportedMediaType, "The body must be JSON"},
	codeTooLarge:        {http.StatusRequestEntityTooLarge, "The body is too large"},
	codeSlowRequest:     {http.StatusRequestTimeout, "The body did not come in time"},
	codeInternalError:   {http.StatusInternalServerError, "The server has a defect"},
}

func problemOf(r *spec.Refusal) Problem {
	k, ok := kinds[r.Code]
	if !ok {
		k = kinds[codeInternalError]
	}
	return Problem{
		Type: "urn:kita:" + string(r.Code), Title: k.title, Status: k.status, Detail: r.Message,
		Code: r.Code, Verb: r.Verb, Child: r.Child, WasRunning: r.WasRunning, LastLines: r.LastLines,
	}
}

// refusal is the reverse of problemOf.
func (p Problem) refusal() *spec.Refusal {
	return &spec.Refusal{Code: p.Code, Verb: p.Verb, Child: p.Child, Message: p.Detail, WasRunning: p.WasRunning, LastLines: p.LastLines}
}

// refusalOf makes a refusal of any error a Service returns.
func refusalOf(err error, c spec.Command) *spec.Refusal {
	var refusal *spec.Refusal
	switch {
	case errors.As(err, &refusal):
		return refusal
	case errors.Is(err, context.DeadlineExceeded):
		return spec.Refuse(spec.TimedOut, c.Verb, c.Child, "%s %s: it is written but was not seen done in time", c.Verb, c.Child)
	case errors.Is(err, context.Canceled):
		return spec.Refuse(spec.Unavailable, c.Verb, c.Child, "%s %s: the server is going down, it is written but may not be done", c.Verb, c.Child)
	}
	return spec.Refuse(codeInternalError, c.Verb, c.Child, "%s %s: %v", c.Verb, c.Child, err)
}

func (a *api) problem(w http.ResponseWriter, refusal *spec.Refusal) {
	p := problemOf(refusal)
	body, err := json.Marshal(p)
	if err != nil {
		body = []byte("{}")
	}
	a.write(w, p.Status, "application/problem+json", body)
}
