package control

import (
	"time"

	"kita/control/audit"
	"kita/spec"
)

// may is nil where the asker may do to the child what verb says and right is
// needed for.
func (s *Server) may(a asker, verb string, right spec.Right, child string) *spec.Refusal { return nil }

// record writes a line to the audit log. result is "ok" or a code, detail the
// refusal in words.
func (s *Server) record(a asker, verb, child, result, detail string) {
	s.audit.Write(audit.Event{
		Time: time.Now(), Key: a.key, Peer: a.peer, Via: a.via,
		Verb: verb, Child: child, Result: result, Detail: detail,
	})
}
