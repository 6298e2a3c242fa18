package control

import (
	"net/http"

	"kita/spec"
)

// This file has what becomes of SSH connections when the server is replaced: no
// other process can go on with one, so they end in order.

// isSecured tells whether the connection is one of SSH, or a channel of one.
// s.mu is held.
func (c *conn) isSecured() bool { return c.secured != nil || c.transport.network == viaSSH }

// trackChannel is track for a channel of a connection, which is not begun any
// more when the server is about to be replaced.
func (s *Server) trackChannel(c *conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.leaving {
		return spec.Refuse(spec.Unavailable, "", "", "the server is about to end or to be upgraded, ask it again")
	}
	s.conns[c] = struct{}{}
	return nil
}

// brokenOff counts the connections that are left without being handed over; mu
// is held. Those of SSH are not to be handed over.
func (s *Server) brokenOff() int {
	n := 0
	for c := range s.conns {
		if !c.isSecured() {
			n++
		}
	}
	return n
}

// depart answers a request over SSH that another server would go on with.
func (a *api) depart(w http.ResponseWriter, c *conn, h Handed) error {
	switch h.Stage {
	case StageCommand:
		command := commandOf(h)
		return spec.Refuse(spec.Unavailable, command.Verb, command.Child, "%s %s: the server is being upgraded and goes on with it, see `kita check`", command.Verb, command.Child)
	case StageUpgrade:
		const begun = "it has begun, and the log of the next version says what came of it"
		if c.transport.isOwn {
			return spec.Refuse(spec.Unavailable, "", "", "upgrade: %s; `kita info` shows the version", begun)
		}
		a.gate.record(c.asker, verbUpgrade, "", resultOK, begun)
		w.Header().Set("Connection", "close")
		a.json(w, http.StatusAccepted, stateAnswer{"upgrading"})
		return errHandedOver
	default:
		// A watch just ends.
		return nil
	}
}

// upgradeOutcome is what came of an upgrade.
type upgradeOutcome struct {
	done    spec.Upgraded
	failure *spec.Refusal
}

// lastUpgrade tells what came of the upgrade by which this server began.
func (a *api) lastUpgrade(w http.ResponseWriter, _ *http.Request, _ []byte) error {
	last := a.last.Load()
	if last == nil {
		return spec.Refuse(spec.NotFound, "", "", "upgrade: this server did not begin with one")
	}
	if last.failure != nil {
		return last.failure
	}
	a.json(w, http.StatusOK, last.done)
	return nil
}
