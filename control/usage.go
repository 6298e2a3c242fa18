package control

import (
	"context"
	"net/http"
	"slices"

	"kita/spec"
)

// usageRequest and usageAnswer are the body and the answer of usage.
type (
	usageRequest struct {
		// Children are names; nil means every child.
		Children []string `json:"children,omitempty"`
	}
	usageAnswer struct {
		Children []spec.ChildUsage `json:"children"`
	}
)

// usage tells what children use now. A child that does not run has no usage, nor
// has one that is not there: who watches a fleet asks for what was there a moment
// ago, and one that is gone must not take the answer away from the others.
func (a *api) usage(w http.ResponseWriter, r *http.Request, body []byte) error {
	var asked usageRequest
	if err := decodeStrictly(body, &asked); err != nil {
		return spec.Refuse(spec.BadRequest, verbUsage, "", "usage: the body: %v", err)
	}
	who := askerOf(r.Context())
	for _, child := range asked.Children {
		if child == spec.All {
			return spec.Refuse(spec.BadRequest, verbUsage, "", "usage: for every child leave `children` out")
		}
		if refusal := a.gate.may(who, verbUsage, spec.Read, child); refusal != nil {
			return refusal
		}
	}
	if asked.Children == nil && !a.gate.readsAll(who) {
		asked.Children = []string{}
		for _, v := range a.gate.readable(who, a.svc.List()) {
			asked.Children = append(asked.Children, v.Name)
		}
	}
	answer := usageAnswer{Children: []spec.ChildUsage{}}
	if asked.Children == nil || len(asked.Children) > 0 {
		slices.Sort(asked.Children)
		answer.Children = append(answer.Children, a.svc.Usage(slices.Compact(asked.Children))...)
	}
	a.json(w, http.StatusOK, answer)
	return nil
}

// readsAll tells whether the asker may read every child.
func (g *gate) readsAll(a asker) bool { return isAllowed(g.config().Access, a, spec.Read, spec.All) }

// Usage returns what children use now, of those that run; of nil what each uses
// that may be read.
func (c *Client) Usage(ctx context.Context, children []string) ([]spec.ChildUsage, error) {
	if children != nil && len(children) == 0 {
		return nil, nil
	}
	var answer usageAnswer
	err := c.call(ctx, http.MethodPost, "/v1/usage", usageRequest{children}, &answer, func() bool { return answer.Children != nil })
	return answer.Children, err
}
