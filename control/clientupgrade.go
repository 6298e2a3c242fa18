package control

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"kita/spec"
)

const (
	// upgradeWait is how long a client waits for a new version to answer that
	// could not take its connection over.
	upgradeWait = 30 * time.Second
	upgradeTick = 100 * time.Millisecond
)

// Upgrade has the server replaced by the version in the file binary, an
// absolute path which only a server on this host accepts, or by the one in the
// file that it was started from. It returns when the new version serves.
//
// Over SSH the connection ends with the old version. Then the new one is asked
// what came of it, which takes an Opener that connects anew.
func (c *Client) Upgrade(ctx context.Context, binary string) (spec.Upgraded, error) {
	var answer spec.Upgraded
	response, err := c.send(ctx, http.MethodPost, "/v1/upgrade", upgradeBody{Binary: binary})
	if err != nil {
		return answer, err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusAccepted {
		_, _ = io.CopyN(io.Discard, response.Body, maxBody)
		return c.awaitUpgrade(ctx)
	}
	err = c.decode(ctx, response, &answer, func() bool { return answer.PID != 0 })
	return answer, err
}

// awaitUpgrade asks for the end of an upgrade that has begun.
func (c *Client) awaitUpgrade(ctx context.Context) (spec.Upgraded, error) {
	patience, cancel := context.WithTimeout(ctx, upgradeWait)
	defer cancel()
	tick := time.NewTicker(upgradeTick)
	defer tick.Stop()
	for {
		var answer spec.Upgraded
		err := c.call(patience, http.MethodGet, "/v1/upgrade", nil, &answer, func() bool { return answer.PID != 0 })
		if ctx.Err() != nil {
			return spec.Upgraded{}, context.Cause(ctx)
		}
		if err == nil {
			return answer, nil
		}
		if !isEarly(err) {
			return answer, unknownEnd(err)
		}
		select {
		case <-tick.C:
		case <-patience.Done():
			return answer, unknownEnd(err)
		}
	}
}

// isEarly tells whether the next version may have another answer a little
// later.
func isEarly(err error) bool {
	var (
		refusal     *spec.Refusal
		unreachable *Unreachable
	)
	if errors.As(err, &refusal) {
		return refusal.Code == spec.NotFound || refusal.Code == spec.Unavailable
	}
	return errors.As(err, &unreachable)
}

// unknownEnd is err where that is what came of the upgrade, and else says that
// err is why this is not known.
func unknownEnd(err error) error {
	var refusal *spec.Refusal
	if errors.As(err, &refusal) && refusal.Code == spec.BadBinary {
		return refusal
	}
	return spec.Refuse(spec.Unavailable, "", "", "upgrade: it has begun, but what came of it is not known (%v): `kita info` shows the version", err)
}
