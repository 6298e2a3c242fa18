package control

import (
	"context"
	"net/http"
	"slices"

	"kita/spec"
)

// events streams what happened to children, an event a line, as logs does with
// their output. The client goes on at the next server after the last Seq that
// arrived.
func (a *api) events(w http.ResponseWriter, r *http.Request, body []byte) error {
	who := askerOf(r.Context())
	request, err := a.eventRequest(who, body)
	if err != nil {
		return err
	}
	s := a.newStream(w, who, verbEvents, request.Children)
	return s.run(r.Context(), func(ctx context.Context) error {
		return a.svc.Events(ctx, request, s.mayReadEvents, func(events []spec.Event) error { return s.sendEvents(ctx, events) })
	})
}

// mayReadEvents tells whether the asker may read the events of a child now; of
// "", the server's own, which name any child.
func (s *stream) mayReadEvents(child string) bool {
	if child == "" {
		child = spec.All
	}
	return s.mayRead(child)
}

// sendEvents writes events, but for those of a child that may no longer be read.
func (s *stream) sendEvents(ctx context.Context, events []spec.Event) error {
	readable := map[string]bool{}
	var lines []byte
	for _, e := range events {
		may, known := readable[e.Child]
		if !known {
			may = e.Type == spec.EventCaughtUp || s.mayReadEvents(e.Child)
			readable[e.Child] = may
		}
		switch {
		case e.Type == spec.EventCaughtUp:
		case !may && s.named != nil:
			return s.unreadable
		case !may:
			continue
		}
		line, err := lineOf(e)
		if err != nil {
			return err
		}
		lines = append(lines, line...)
	}
	if lines == nil {
		return nil
	}
	return s.send(ctx, lines)
}

// eventRequest reads and checks a request for events. What it returns may be
// read, and names no child twice. Whether there is such a child the service
// knows: one that is gone may have left events.
func (a *api) eventRequest(who asker, body []byte) (spec.EventRequest, error) {
	var r spec.EventRequest
	if err := decodeStrictly(body, &r); err != nil {
		return r, spec.Refuse(spec.BadRequest, verbEvents, "", "events: the body: %v", err)
	}
	if err := checkEventRequest(r); err != nil {
		return r, err
	}
	if r.Children[0] == spec.All {
		return r, nil
	}
	slices.Sort(r.Children)
	r.Children = slices.Compact(r.Children)
	for _, child := range r.Children {
		if refusal := a.gate.may(who, verbEvents, spec.Read, child); refusal != nil {
			return r, refusal
		}
	}
	return r, nil
}

// checkEventRequest refuses what makes no sense whatever there is.
func checkEventRequest(r spec.EventRequest) error {
	bad := func(format string, args ...any) error {
		return spec.Refuse(spec.BadRequest, verbEvents, "", "events: "+format, args...)
	}
	switch {
	case len(r.Children) == 0:
		return bad("of whom? give the names of children, or all")
	case len(r.Children) > 1 && slices.Contains(r.Children, spec.All):
		return bad("all is every child, name it alone")
	case slices.Contains(r.Children, ""):
		return bad("a child has a name")
	case r.Tail != nil && *r.Tail < 0:
		return bad("tail %d: give how many of the latest events are wanted, 0 or more", *r.Tail)
	case r.Age < 0:
		return bad("age %v: give how long ago, without a sign", r.Age)
	case r.Age != 0 && !r.Since.IsZero():
		return bad("since and age say the same, give one of them")
	}
	for _, wanted := range r.Types {
		if !slices.Contains(spec.EventTypes(), wanted) {
			return bad("type %.100q: there is none of that name, there are %s", string(wanted), inList(spec.EventTypes()))
		}
	}
	return nil
}

// inList are the types in words.
func inList(types []spec.EventType) string {
	list := ""
	for i, each := range types {
		switch {
		case i == 0:
		case i == len(types)-1:
			list += " and "
		default:
			list += ", "
		}
		list += string(each)
	}
	return list
}
