package control

import (
	"context"
	"errors"
	"net/http"

	"kita/spec"
)

// route is one operation.
type route struct {
	method, path string
	// handle gets the whole body, which is nil unless the operation changes
	// something. It answers, or returns why it has not: an error that is to be
	// answered, or errHandedOver. errRecorded is of one that has.
	handle func(w http.ResponseWriter, r *http.Request, body []byte) error
	// query is the one query string that it takes, besides none.
	query string
	// verb is what takes a right, see rightTo, and has a line in the audit log.
	// Without one anybody may ask.
	verb string
	// child is whom it is about: named, spec.All for the whole server, or "" for
	// what is cut down to what the asker may read.
	child string
	// quiet: it is asked again and again by who watches, and only its refusals have
	// a line.
	quiet bool
}

// named is the child of the path.
const named = "{name}"

func (a *api) routes() []route {
	routes := []route{
		{method: http.MethodGet, path: "/v1/children", query: "view=" + summaryView, handle: a.children, verb: string(spec.VerbCheck)},
		{method: http.MethodGet, path: "/v1/children/{name}", handle: a.child, verb: string(spec.VerbCheck), child: named},
		{method: http.MethodPost, path: "/v1/kill", handle: a.kill, verb: string(spec.VerbKill), child: spec.All},
		{method: http.MethodPost, path: "/v1/validate", handle: a.validate, verb: verbValidate, child: spec.All},
		{method: http.MethodGet, path: "/v1/info", handle: a.info, verb: string(spec.VerbInfo)},
		{method: http.MethodGet, path: "/v1/watch", handle: a.watch, verb: verbWatch},
		{method: http.MethodGet, path: "/v1/children/{name}/watch", handle: a.watch, verb: verbWatch, child: named},
		{method: http.MethodPost, path: "/v1/diff", handle: a.diff, verb: verbDiff},
		{method: http.MethodPost, path: "/v1/logs", handle: a.logs, verb: verbLogs},
		{method: http.MethodPost, path: "/v1/events", handle: a.events, verb: verbEvents},
		{method: http.MethodPost, path: "/v1/usage", handle: a.usage, verb: verbUsage, quiet: true},
		{method: http.MethodGet, path: "/v1/children/{name}/output", handle: a.output, verb: string(spec.VerbCheck), child: named},
		{method: http.MethodPost, path: "/v1/children/{name}/rotate", handle: a.rotate, verb: verbRotate, child: named},
		{method: http.MethodPost, path: "/v1/rotate", handle: a.rotateAll, verb: verbRotate, child: spec.All},
		{method: http.MethodGet, path: "/healthz", handle: a.healthz},
		{method: http.MethodGet, path: "/readyz", handle: a.readyz},
		{method: http.MethodGet, path: "/openapi.yaml", handle: a.openapi},
	}
	for _, verb := range []spec.Verb{spec.VerbStart, spec.VerbStop, spec.VerbRestart, spec.VerbTrystart} {
		routes = append(routes,
			route{method: http.MethodPost, path: "/v1/children/{name}/" + string(verb), handle: a.command(verb), verb: string(verb), child: named},
			route{method: http.MethodPost, path: "/v1/" + string(verb), handle: a.commandAll(verb), verb: string(verb), child: spec.All},
		)
	}
	if a.opt.Upgrade != nil {
		routes = append(routes,
			route{method: http.MethodPost, path: "/v1/upgrade", handle: a.upgrade, verb: verbUpgrade, child: spec.All},
			route{method: http.MethodGet, path: "/v1/upgrade", handle: a.lastUpgrade, verb: string(spec.VerbInfo)},
		)
	}
	if a.opt.Metrics != nil {
		// They name every child.
		routes = append(routes, route{method: http.MethodGet, path: "/metrics", handle: a.metrics, verb: verbMetrics, child: spec.All})
	}
	routes = append(routes, route{method: http.MethodGet, path: discoveryPath, handle: a.discovery, verb: verbMetrics, child: spec.All})
	return routes
}

// errHandedOver: the next server answers the request, and writes its line.
var errHandedOver = errors.New("the connection is handed over")

// errRecorded: the request was answered, and its line was written when the
// answer began.
var errRecorded = errors.New("the line is written")

// perform carries out an operation for those who may, and writes down what
// became of it.
func (a *api) perform(w http.ResponseWriter, r *http.Request, op route) {
	if op.verb == "" {
		if err := a.carryOut(w, r, op); err != nil {
			a.problem(w, refusalOf(err, spec.Command{}))
		}
		return
	}
	who, child := askerOf(r.Context()), op.child
	if child == named {
		child = r.PathValue("name")
	}
	// What stays is what a panic leaves.
	result, detail := string(codeInternalError), "the request met a defect of the server"
	defer func() {
		if result != "" {
			a.gate.record(who, op.verb, nameOf(op.verb, child), result, detail)
		}
	}()
	var err error
	if refusal := a.gate.may(who, op.verb, rightTo(op.verb), child); refusal != nil {
		err = refusal
	} else {
		err = a.carryOut(w, r, op)
	}
	switch {
	case err == nil && op.quiet, errors.Is(err, errHandedOver), errors.Is(err, errRecorded):
		result = ""
	case err == nil:
		result, detail = resultOK, ""
	default:
		refusal := refusalOf(err, spec.Command{Verb: spec.Verb(op.verb), Child: child})
		result, detail = a.resultOf(err, refusal), refusal.Message
		if child == "" {
			// The body names them.
			child = refusal.Child
		}
		a.problem(w, a.gate.told(who, child, refusal))
	}
}

// resultOf is the result of the audit log. A client that left is not a server
// that ends.
func (a *api) resultOf(err error, refusal *spec.Refusal) string {
	if errors.Is(err, context.Canceled) && a.quit.Err() == nil {
		return resultGone
	}
	return string(refusal.Code)
}

// carryOut checks the request and has it handled.
func (a *api) carryOut(w http.ResponseWriter, r *http.Request, op route) error {
	if query := r.URL.RawQuery; query != "" && query != op.query {
		also := ""
		if op.query != "" {
			also = " but " + op.query
		}
		return spec.Refuse(spec.BadRequest, "", "", "%s takes no query parameters%s", op.path, also)
	}
	if op.method == http.MethodGet {
		if r.ContentLength != 0 {
			return spec.Refuse(spec.BadRequest, "", "", "GET %s takes no body", op.path)
		}
		if !settle(r.Context()) {
			return errGaveWay
		}
		return op.handle(w, r, nil)
	}
	body, refusal := a.readBody(w, r)
	if refusal != nil {
		return refusal
	}
	if !settle(r.Context()) {
		return errGaveWay
	}
	return op.handle(w, r, body)
}

// errGaveWay is of a request that is not carried out, because its connection has
// been closed for a newer one: the client could not be told what came of it.
var errGaveWay = spec.Refuse(spec.Unavailable, "", "", "the connection was closed for a newer one before the request was whole")

// settle: the request is whole and let through, so its connection is not one of
// those that give way to newer ones; false where it has already.
func settle(ctx context.Context) bool {
	c := connOf(ctx)
	return c == nil || c.transport.crowd.settle(c)
}

// askerOf is who is at the other end of a request's connection.
func askerOf(ctx context.Context) asker {
	if c := connOf(ctx); c != nil {
		return c.asker
	}
	return asker{via: "http"}
}
