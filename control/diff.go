package control

import (
	"context"
	"net/http"
	"slices"

	"kita/spec"
)

// diffBody asks for children, diffAnswer has them.
type (
	diffBody struct {
		Children []string `json:"children"`
	}
	diffAnswer struct {
		Children []spec.ChildDiff `json:"children"`
	}
)

// diff compares files with processes. Which children may be read is decided
// before the files are.
func (a *api) diff(w http.ResponseWriter, r *http.Request, body []byte) error {
	who := askerOf(r.Context())
	var request diffBody
	if err := decodeStrictly(body, &request); err != nil {
		return spec.Refuse(spec.BadRequest, verbDiff, "", "diff: the body: %v", err)
	}
	all := slices.Contains(request.Children, spec.All)
	switch {
	case len(request.Children) == 0:
		return spec.Refuse(spec.BadRequest, verbDiff, "", `diff: which children? name them, or "all"`)
	case all && len(request.Children) > 1:
		return spec.Refuse(spec.BadRequest, verbDiff, "", "diff: all stands alone")
	}
	slices.Sort(request.Children)
	request.Children = slices.Compact(request.Children)
	for _, child := range request.Children {
		if all {
			break
		}
		if refusal := a.gate.may(who, verbDiff, spec.Read, child); refusal != nil {
			return refusal
		}
	}
	diffs, err := a.svc.Diff(request.Children)
	if err != nil {
		return err
	}
	access := a.gate.config().Access
	diffs = slices.DeleteFunc(diffs, func(d spec.ChildDiff) bool { return !isAllowed(access, who, spec.Read, d.Child) })
	a.json(w, http.StatusOK, diffAnswer{diffs})
	return nil
}

// Diff returns what the files of children say now against what their processes
// were started with, sorted by name; of every child for spec.All alone.
func (c *Client) Diff(ctx context.Context, children []string) ([]spec.ChildDiff, error) {
	var answer diffAnswer
	err := c.call(ctx, http.MethodPost, "/v1/diff", diffBody{children}, &answer, func() bool { return answer.Children != nil })
	return answer.Children, err
}
