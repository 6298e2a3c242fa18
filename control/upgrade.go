package control

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"

	"kita/spec"
)

// upgradeBody is the body of an upgrade; an empty body is {}.
type upgradeBody struct {
	// Binary is the file to execute; empty means the one that runs.
	Binary string `json:"binary,omitempty"`
}

// upgrade has the server replaced by another version of itself.
//
// Which file that is can be said over the unix socket only. Whoever reaches the
// TCP port may start children, but those are files of this host's own
// directories; the path of any file would let them run any file.
func (a *api) upgrade(w http.ResponseWriter, r *http.Request, body []byte) {
	var options upgradeBody
	if err := decodeStrictly(body, &options); err != nil {
		a.problem(w, spec.Refuse(spec.BadRequest, "", "", "upgrade: the body: %v", err))
		return
	}
	c := connOf(r.Context())
	switch isUnix := c != nil && c.transport.network == "unix"; {
	case options.Binary != "" && !isUnix:
		a.problem(w, spec.Refuse(codeForbidden, "", "", "upgrade: the binary can be named only over the unix socket, on the server's own host"))
		return
	case options.Binary != "" && !filepath.IsAbs(options.Binary):
		a.problem(w, spec.Refuse(spec.BadRequest, "", "", "upgrade: %q is no absolute path", options.Binary))
		return
	}
	ctx, stop := untilHandover(r.Context(), a.handing)
	defer stop()
	err := a.opt.Upgrade(ctx, options.Binary, by(r))
	if errors.Is(context.Cause(ctx), spec.ErrHandover) {
		a.surrender(w, r, Handed{Stage: StageUpgrade})
		return
	}
	var refusal *spec.Refusal
	if !errors.As(err, &refusal) {
		refusal = spec.Refuse(spec.Unavailable, "", "", "upgrade: %v", err)
	}
	a.problem(w, refusal)
}

// upgraded is the answer to upgrade, given by the new version.
func (a *api) upgraded(w http.ResponseWriter, done spec.Upgraded, failure *spec.Refusal) {
	if failure != nil {
		a.problem(w, failure)
		return
	}
	a.json(w, http.StatusOK, done)
}
