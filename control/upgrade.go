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
func (a *api) upgrade(w http.ResponseWriter, r *http.Request, body []byte) error {
	var options upgradeBody
	if err := decodeStrictly(body, &options); err != nil {
		return spec.Refuse(spec.BadRequest, "", "", "upgrade: the body: %v", err)
	}
	who := askerOf(r.Context())
	switch {
	case options.Binary != "" && who.via != viaUnix:
		return spec.Refuse(codeForbidden, "", "", "upgrade: the binary can be named only over the unix socket, on the server's own host")
	case options.Binary != "" && !filepath.IsAbs(options.Binary):
		return spec.Refuse(spec.BadRequest, "", "", "upgrade: %q is no absolute path", options.Binary)
	}
	ctx, stop := untilHandover(r.Context(), a.handing)
	defer stop()
	err := a.opt.Upgrade(ctx, options.Binary, who.by())
	if errors.Is(context.Cause(ctx), spec.ErrHandover) {
		return a.surrender(w, r, Handed{Stage: StageUpgrade})
	}
	var refusal *spec.Refusal
	if errors.As(err, &refusal) || errors.Is(err, context.Canceled) {
		return err
	}
	return spec.Refuse(spec.Unavailable, "", "", "upgrade: %v", err)
}

// upgraded is the answer to upgrade, given by the new version.
func (a *api) upgraded(w http.ResponseWriter, done spec.Upgraded, failure *spec.Refusal) {
	if failure != nil {
		a.problem(w, failure)
		return
	}
	a.json(w, http.StatusOK, done)
}
