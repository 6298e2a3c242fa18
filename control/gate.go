package control

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"kita/control/audit"
	"kita/spec"
)

// Verbs of the audit log besides those of package spec.
const (
	verbWatch    = "watch"
	verbMetrics  = "metrics"
	verbValidate = "validate"
	verbUpgrade  = "upgrade"
	verbLogs     = "logs"
	verbDiff     = "diff"
	verbEvents   = "events"
	verbRotate   = "rotate"
	verbUsage    = "usage"
	// verbConnect is a connection that came to no command.
	verbConnect = "connect"
)

// Results of the audit log besides codes.
const (
	resultOK = "ok"
	// resultGone: the client left before the result was known.
	resultGone = "gone"
)

// gate decides what each asker may do, and writes down what became of it.
// server.yml is read anew at each question, so an edit counts at once.
type gate struct {
	config  func() *spec.Server
	audit   *audit.Log
	observe func(verb, result string)
	// problems are those of the keys, one line each.
	problems func() []string
	// refusals and badKeys limit the lines of the audit log that anybody can
	// cause.
	refusals, badKeys refusals
}

func newGate(opt Options, problems func() []string) *gate {
	path := func() string { return opt.Config().AuditLog }
	return &gate{config: opt.Config, audit: audit.New(path, opt.Logger), observe: opt.ObserveCommand, problems: problems}
}

// may is nil where the asker may do to the child what verb says and right is
// needed for. A child of "" is none in particular, spec.All is the whole
// server. It answers alike whether the child exists or not.
func (g *gate) may(a asker, verb string, right spec.Right, child string) *spec.Refusal {
	access := g.config().Access
	if isAllowed(access, a, right, child) {
		return nil
	}
	g.observe(verb, string(codeForbidden))
	return spec.Refuse(codeForbidden, spec.Verb(verb), nameOf(verb, child), "%s", denial(access, a, verb, right, child))
}

// readable are the views of children that the asker may read.
func (g *gate) readable(a asker, views []spec.View) []spec.View {
	access := g.config().Access
	if isAllowed(access, a, spec.Read, spec.All) {
		return views
	}
	return kept(views, func(v spec.View) bool { return isAllowed(access, a, spec.Read, v.Name) })
}

// inform cuts i down to what the asker may read, and adds what only package
// control knows. A problem may be about any child, so who may not read all of
// them gets none.
func (g *gate) inform(a asker, i spec.Info) spec.Info {
	access := g.config().Access
	i.Running = kept(i.Running, func(name string) bool { return isAllowed(access, a, spec.Read, name) })
	if !isAllowed(access, a, spec.Read, spec.All) {
		i.Problems = nil
		return i
	}
	i.Problems = append(slices.Clip(i.Problems), g.problems()...)
	if err := g.audit.Err(); err != nil {
		i.Problems = append(i.Problems, fmt.Sprintf("the audit log cannot be written, commands are carried out without it: %v", err))
	}
	return i
}

// kept are the elements that are to be kept; the list stays as it is.
func kept[T any](list []T, keep func(T) bool) []T {
	var some []T
	for _, element := range list {
		if keep(element) {
			some = append(some, element)
		}
	}
	return some
}

// rightTo is the right that a verb takes.
func rightTo(verb string) spec.Right {
	switch verb {
	case string(spec.VerbCheck), string(spec.VerbInfo), verbWatch, verbMetrics, verbDiff, verbLogs, verbEvents, verbUsage:
		return spec.Read
	case string(spec.VerbStart), string(spec.VerbStop), string(spec.VerbRestart), string(spec.VerbTrystart), verbRotate:
		return spec.Operate
	}
	return spec.Admin
}

// isAllowed: who uses the unix socket could change server.yml as well. Where
// access is set, only who has proved a key can have a right.
func isAllowed(access spec.Access, a asker, right spec.Right, child string) bool {
	return a.via == viaUnix || access == nil || a.key != "" && access.Allows(a.key, right, child)
}

// denial is the refusal in words.
func denial(access spec.Access, a asker, verb string, right spec.Right, child string) string {
	what := verb
	switch {
	case a.key == "":
	case verb == string(spec.VerbInfo), verb == verbMetrics:
		what = "ask for " + verb
	case verb == verbLogs && child != "":
		what = "read the output of"
	case verb == verbLogs:
		what = "read any output"
	case verb == verbEvents && child != "":
		what = "read the events of"
	case verb == verbEvents:
		what = "read any events"
	}
	if named := nameOf(verb, child); named != "" {
		what += " " + shown(named)
	}
	switch {
	case a.key == "" && verb == verbMetrics:
		return "metrics: access is set in server.yml, so nothing is read here without a key: set metrics_addr there and read them from that address"
	case a.key == "":
		return what + ": access is set in server.yml, so over TCP a key is needed, as in `kita check on HOST with KEY`; on the server's own host use the unix socket"
	case child == spec.All:
		return fmt.Sprintf(`key %q may not %s: that takes a rule with verbs: [%s] and children: ["*"] in access of server.yml`, a.key, what, right)
	case child == "":
		return fmt.Sprintf("key %q may not %s: access in server.yml gives it %s", a.key, what, inWords(access.Rights(a.key)))
	}
	var rights []spec.Right
	for _, right := range access.Rights(a.key) {
		if access.Allows(a.key, right, child) {
			rights = append(rights, right)
		}
	}
	return fmt.Sprintf("key %q may not %s: access in server.yml gives it %s for this child", a.key, what, inWords(rights))
}

func inWords(rights []spec.Right) string {
	var words []string
	for _, right := range rights {
		words = append(words, string(right))
	}
	if len(words) == 0 {
		return "nothing"
	}
	return strings.Join(words, " and ")
}

// shown is a name that anybody may have made up.
func shown(child string) string {
	if child == spec.All || spec.ValidName(child) == nil {
		return child
	}
	return fmt.Sprintf("%.100q", child)
}

// nameOf is the child as it was named: not every verb names all of them.
func nameOf(verb, child string) string {
	switch verb {
	case verbDiff, verbLogs, verbEvents, verbRotate:
		return child
	}
	if spec.Verb(verb).Changes() {
		return child
	}
	if child == spec.All {
		return ""
	}
	return child
}

// recordAnswer writes a line for a command that was answered.
func (g *gate) recordAnswer(a asker, verb, child string, refusal *spec.Refusal) {
	result, detail := resultOK, ""
	if refusal != nil {
		result, detail = string(refusal.Code), refusal.Message
	}
	g.record(a, verb, child, result, detail)
}

// record writes a line to the audit log, unless there were too many of late that
// a key was lacking. result is "ok" or a code, detail the refusal in words.
func (g *gate) record(a asker, verb, child, result, detail string) {
	if a.via == viaTCP && a.key == "" && result == string(codeForbidden) {
		g.recordSeldom(&g.refusals, a, verb, child, result, detail)
		return
	}
	g.write(a, verb, child, result, detail)
}

func (g *gate) write(a asker, verb, child, result, detail string) {
	peer := a.peer
	if a.via == viaUnix && peer != "" {
		peer = "uid:" + peer
	}
	if child != "" {
		child = shown(child)
	}
	g.audit.Write(audit.Event{
		Time: time.Now().UTC(), Key: a.key, Peer: peer, Via: a.via,
		Verb: verb, Child: child, Result: result, Detail: detail,
	})
}
