package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"kita/control"
	"kita/control/fleet"
	"kita/control/keyring"
	"kita/control/tunnel"
	"kita/spec"
)

// target finds the way to the server of h. What it took is freed by the closer,
// which is never nil without an error. Its errors are one line each; those of
// a host that does not answer are *control.Unreachable.
func (p *program) target(ctx context.Context, r request, h fleet.Host) (control.Target, io.Closer, error) {
	switch {
	case p.through != nil:
		return control.Target{Through: p.through}, noCloser{}, nil
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
func (p *program) keyTarget(ctx context.Context, r request, h fleet.Host) (control.Target, io.Closer, error) {
	key, err := r.keys.get(r.keyOf(h))
	if err == nil && len(r.hostKeys.Files) == 0 {
		err = fmt.Errorf("with %s: there is no directory for known_hosts: set HOME or XDG_CONFIG_HOME", r.keyOf(h))
	}
	if err != nil {
		return control.Target{}, nil, err
	}
	conn, err := tunnel.Dial(ctx, h.Addr(), tunnel.Config{User: key.Name, Signer: key, HostKeys: r.hostKeys})
	if err != nil {
		return control.Target{}, nil, explainDial(ctx, h.Addr(), err)
	}
	return control.Target{Through: keyOpener{conn}}, conn, nil
}

// keyOpener is a tunnel whose connection may have to be made anew, with the
// errors of the first time.
type keyOpener struct{ *tunnel.Conn }

func (k keyOpener) Open(ctx context.Context) (net.Conn, error) {
	nc, err := k.Conn.Open(ctx)
	if err == nil {
		return nc, nil
	}
	var (
		refusal     *spec.Refusal
		unreachable *control.Unreachable
	)
	if errors.As(err, &refusal) {
		return nil, refusal
	}
	if err = explainDial(ctx, k.String(), err); errors.As(err, &unreachable) || ctx.Err() != nil {
		return nil, err
	}
	// The server is there, and is not to be asked.
	return nil, spec.Refuse(forbidden, "", "", "%v", err)
}

// explainDial tells a server that cannot be reached from one that was, and that
// cannot be spoken with.
func explainDial(ctx context.Context, addr string, err error) error {
	var (
		hostKey *keyring.HostKeyError
		refused *tunnel.KeyRefused
		notSSH  *tunnel.NotSSH
		failed  *tunnel.Failed
	)
	switch {
	case errors.As(err, &hostKey), errors.As(err, &refused), errors.As(err, &notSSH), errors.As(err, &failed),
		errors.Is(ctx.Err(), context.Canceled):
		return err
	}
	return &control.Unreachable{Host: addr, Err: err}
}

// noCloser is what a plain connection leaves to be closed.
type noCloser struct{}

func (noCloser) Close() error { return nil }
