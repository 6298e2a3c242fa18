package control

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"kita/spec"
)

// OpenAPI is the description of the API, in OpenAPI 3.0.3.
//
//go:embed openapi.yaml
var OpenAPI []byte

// maxBody bounds the body of a request.
const maxBody = 1 << 20

// api answers the HTTP requests. It keeps no state but what came of the upgrade.
type api struct {
	opt   Options
	svc   Service
	guard guard
	gate  *gate
	// handing ends when the server hands its connections over.
	handing context.Context
	// quit ends the watches.
	quit context.Context
	// panicked is told of every panic contained.
	panicked func()
	// last is the upgrade by which the server began, nil where there was none.
	last atomic.Pointer[upgradeOutcome]
}

func newAPI(opt Options, svc observed, g *gate, quit context.Context, panicked func()) *api {
	return &api{
		opt: opt, svc: svc, handing: svc.handing, gate: g,
		guard: newGuard(opt.AllowedHosts), quit: quit, panicked: panicked,
	}
}

// handler is the whole API.
func (a *api) handler() http.Handler {
	mux := http.NewServeMux()
	byPath := map[string]map[string]route{}
	for _, r := range a.routes() {
		if byPath[r.path] == nil {
			byPath[r.path] = map[string]route{}
		}
		byPath[r.path][r.method] = r
	}
	for p, methods := range byPath {
		mux.Handle(p, a.dispatch(p, methods))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { a.noSuchPath(w, r) })
	return a.outermost(mux)
}

// outermost contains panics and refuses what is not to be heard.
func (a *api) outermost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer a.contain(w, r)
		deadlines := http.NewResponseController(w)
		// A deadline of the answer before this one on the same connection.
		_ = deadlines.SetWriteDeadline(time.Time{})
		if r.ContentLength != 0 {
			// Also for a body nobody reads: the HTTP server does, after the
			// answer, and would wait for it without an end.
			_ = deadlines.SetReadDeadline(due(r.Context(), a.opt.Timing.Request))
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		if c := connOf(r.Context()); c != nil && c.isLast() {
			w.Header().Set("Connection", "close")
		}
		if refusal := a.guard.refuse(r); refusal != nil {
			if c := connOf(r.Context()); c != nil {
				c.s.recordRefused(c.asker, refusal.Code, refusal.Message)
			}
			// Who is not heard must not hold a slot until it is idle for too long.
			w.Header().Set("Connection", "close")
			a.problem(w, refusal)
			return
		}
		// The mux would redirect these, which no client of an API expects; and
		// `OPTIONS *` is about no path.
		if r.URL.Path != path.Clean("/"+r.URL.Path) {
			a.noSuchPath(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (a *api) contain(w http.ResponseWriter, r *http.Request) {
	v := recover()
	if v == nil || v == http.ErrAbortHandler {
		return
	}
	a.panicked()
	a.opt.Logger.Error("a request's handler panicked", "method", r.Method, "path", r.URL.Path, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	a.problem(w, spec.Refuse(codeInternalError, "", "", "the request met a defect of the server, which its log describes"))
}

func (a *api) noSuchPath(w http.ResponseWriter, r *http.Request) {
	a.problem(w, spec.Refuse(codeNoSuchPath, "", "", "%s is no path of the API, see /openapi.yaml", r.URL.Path))
}

// dispatch picks the operation by the method.
func (a *api) dispatch(pattern string, methods map[string]route) http.Handler {
	var allow []string
	for method := range methods {
		allow = append(allow, method)
		if method == http.MethodGet {
			allow = append(allow, http.MethodHead)
		}
	}
	slices.Sort(allow)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		op, ok := methods[method]
		if !ok {
			w.Header().Set("Allow", strings.Join(allow, ", "))
			a.problem(w, spec.Refuse(codeMethod, "", "", "%s has no method %s, it has %s", pattern, r.Method, strings.Join(allow, ", ")))
			return
		}
		a.perform(w, r, op)
	})
}

// readBody reads the body of a change. That it must be JSON keeps the forms of
// web pages out: a browser asks first before it sends that type elsewhere.
func (a *api) readBody(w http.ResponseWriter, r *http.Request) ([]byte, *spec.Refusal) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return nil, spec.Refuse(codeMediaType, "", "", "the request changes something, so it needs Content-Type: application/json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, spec.Refuse(codeTooLarge, "", "", "the body is longer than %d bytes", maxBody)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, spec.Refuse(codeSlowRequest, "", "", "the body did not come within %v", a.opt.Timing.Request)
	case err != nil:
		return nil, spec.Refuse(spec.BadRequest, "", "", "cannot read the body: %v", err)
	}
	// The connection is read on while the command runs, to notice when the
	// client goes away; that must not time out.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return body, nil
}

// json answers v.
func (a *api) json(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		a.opt.Logger.Error("cannot encode an answer", "error", err)
		a.problem(w, spec.Refuse(codeInternalError, "", "", "cannot encode the answer: %v", err))
		return
	}
	a.write(w, status, "application/json", append(body, '\n'))
}

func (a *api) write(w http.ResponseWriter, status int, contentType string, body []byte) {
	a.writeWithin(w)
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	// An error means that the client is gone; there is nobody to tell.
	_, _ = w.Write(body)
}

// writeWithin gives the client its time to read what is written next.
func (a *api) writeWithin(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(a.opt.Timing.Write))
}
