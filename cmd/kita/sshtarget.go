package main

import (
	"context"
	"errors"
	"io"

	"kita/control"
	"kita/control/fleet"
)

// sshTarget is a server that is asked through its host's own sshd.
func (p *program) sshTarget(context.Context, request, fleet.Host) (control.Target, io.Closer, error) {
	return control.Target{}, nil, errors.New("ssh:// is not supported yet")
}
