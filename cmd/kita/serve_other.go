//go:build !linux

package main

import (
	"context"
	"errors"
)

func (p *program) serve(context.Context, serveOptions) error {
	return errors.New("kita serve needs Linux")
}
