package control

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"slices"

	"kita/spec"
)

// outputAnswer and rotateAnswer are answers that package spec has no type for.
type (
	outputAnswer struct {
		Files []spec.OutputFile `json:"files"`
	}
	rotateAnswer struct {
		Archives []spec.Archive `json:"archives"`
	}
)

// output shows the output files of a child.
func (a *api) output(w http.ResponseWriter, r *http.Request, _ []byte) error {
	files, err := a.svc.Output(r.PathValue("name"))
	if err != nil {
		return err
	}
	if files == nil {
		files = []spec.OutputFile{}
	}
	a.json(w, http.StatusOK, outputAnswer{files})
	return nil
}

func (a *api) rotate(w http.ResponseWriter, r *http.Request, body []byte) error {
	name := r.PathValue("name")
	if spec.Reserved(name) {
		return spec.Refuse(spec.BadRequest, verbRotate, name, "rotate %s: %q is reserved, no child has that name", name, name)
	}
	return a.rotateNow(w, r, name, body)
}

func (a *api) rotateAll(w http.ResponseWriter, r *http.Request, body []byte) error {
	return a.rotateNow(w, r, spec.All, body)
}

// rotateNow makes archives of what the output files of a child hold.
func (a *api) rotateNow(w http.ResponseWriter, r *http.Request, name string, body []byte) error {
	if err := decodeStrictly(body, &struct{}{}); err != nil {
		return spec.Refuse(spec.BadRequest, verbRotate, name, "rotate %s: the body: %v", name, err)
	}
	archives, err := a.svc.Rotate(r.Context(), name)
	archives, err = a.gate.rotated(askerOf(r.Context()), name, archives, err)
	var refusal *spec.Refusal
	switch {
	case errors.As(err, &refusal), errors.Is(err, context.Canceled):
		return err
	case err != nil:
		return spec.Refuse(spec.Unavailable, verbRotate, name, "rotate %s: %v", name, err)
	}
	if archives == nil {
		archives = []spec.Archive{}
	}
	a.json(w, http.StatusOK, rotateAnswer{archives})
	return nil
}

// maxGrep is the longest regular expression, in bytes: what one matches costs
// memory and time in proportion to its length.
const maxGrep = 4 << 10

// logRequest reads and checks a request for output. What it returns exists, may
// be read, and names no child twice.
func (a *api) logRequest(who asker, body []byte) (spec.LogRequest, error) {
	var r spec.LogRequest
	if err := decodeStrictly(body, &r); err != nil {
		return r, spec.Refuse(spec.BadRequest, verbLogs, "", "logs: the body: %v", err)
	}
	if err := checkLogRequest(r); err != nil {
		return r, err
	}
	if r.Children[0] == spec.All {
		return r, nil
	}
	slices.Sort(r.Children)
	r.Children = slices.Compact(r.Children)
	for _, child := range r.Children {
		if refusal := a.gate.may(who, verbLogs, spec.Read, child); refusal != nil {
			return r, refusal
		}
	}
	for _, child := range r.Children {
		if err := a.hasOutput(child); err != nil {
			return r, err
		}
	}
	return r, nil
}

// checkLogRequest refuses what makes no sense whatever there is.
func checkLogRequest(r spec.LogRequest) error {
	bad := func(format string, args ...any) error {
		return spec.Refuse(spec.BadRequest, verbLogs, "", "logs: "+format, args...)
	}
	switch {
	case len(r.Children) == 0:
		return bad("whose output? give the names of children, or all")
	case len(r.Children) > 1 && slices.Contains(r.Children, spec.All):
		return bad("all is every child, name it alone")
	case r.Tail != nil && *r.Tail < 0:
		return bad("tail %d: give how many of the last lines are wanted, 0 or more", *r.Tail)
	case r.Age < 0:
		return bad("age %v: give how long ago, without a sign", r.Age)
	case r.Age != 0 && !r.Since.IsZero():
		return bad("since and age say the same, give one of them")
	case r.Stream != "" && r.Stream != spec.Out && r.Stream != spec.Err:
		return bad("stream %.100q: give out or err", r.Stream)
	case len(r.Grep) > maxGrep:
		return bad("the regular expression of grep is longer than %d bytes", maxGrep)
	}
	if _, err := regexp.Compile(r.Grep); err != nil {
		return bad("grep: %v, see https://golang.org/s/re2syntax", err)
	}
	return nil
}

// hasOutput refuses a child that does not exist, or whose output goes nowhere
// that it could be read from.
func (a *api) hasOutput(child string) error {
	if _, ok := a.svc.Get(child); !ok {
		return NoSuchChild(verbLogs, child)
	}
	files, err := a.svc.Output(child)
	if err == nil && len(files) == 0 {
		err = NoOutput(child)
	}
	return err
}

// NoOutput is the refusal of a child that has no output file.
func NoOutput(child string) *spec.Refusal {
	return spec.Refuse(spec.BadRequest, verbLogs, child, "logs %s: it has no output file, what it writes to the server's own output or to a device cannot be read again: set `output: auto` in its file, or output_dir in server.yml, and restart it", child)
}

// NoSuchChild is the refusal of a name that no child has.
func NoSuchChild(verb spec.Verb, name string) *spec.Refusal {
	return spec.Refuse(spec.NotFound, verb, name, "there is no child %q: no file of that name is in the load paths", name)
}
