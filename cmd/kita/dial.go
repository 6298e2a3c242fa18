package main

import (
	"context"
	"errors"
	"io"

	"kita/control"
	"kita/control/fleet"
)

// target finds the way to the server of h. What it took is freed by the closer,
// which is never nil without an error. Its errors are one line each; those of
// a host that does not answer are *control.Unreachable.
func (p *program) target(ctx context.Context, r request, h fleet.Host) (control.Target, io.Closer, error) {
	switch {
	case h.SSH:
		return p.sshTarget(ctx, r, h)
	case r.socket != "":
		return control.Target{Unix: r.socket}, noCloser{}, nil
	case r.keyOf(h) != "":
		return p.keyTarget(ctx, r, h)
	}
	return control.Target{TCP: h.Addr()}, noCloser{}, nil
}

// keyTarget is a server that is asked over SSH on its own port.
func (p *program) keyTarget(_ context.Context, r request, h fleet.Host) (control.Target, io.Closer, error) {
	_, err := r.keys.get(r.keyOf(h))
	if err == nil {
		err = errors.New("encrypted connections are not supported by this version of kita; nothing was sent")
	}
	return control.Target{}, nil, err
}

// noCloser is what a plain connection leaves to be closed.
type noCloser struct{}

func (noCloser) Close() error { return nil }
