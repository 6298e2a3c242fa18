package main

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"kita/keeper"
)

// serve is the keeper where nobody said otherwise, and below it the server.
func (p *program) serve(ctx context.Context, o serveOptions) error {
	logger, err := p.logger(o)
	if err != nil {
		return err
	}
	if _, err := o.debugAddr(); err != nil {
		return err
	}
	link := keeper.Attach()
	switch {
	case link != nil || o.noKeeper && os.Getpid() != 1:
		return p.supervise(ctx, o, link, logger)
	case o.noKeeper:
		return usagef("--no-keeper cannot be used as PID 1: nobody would reap the orphans, leave it out")
	}
	return keep(logger)
}

// keep is the keeper, from its start to its end. Servers are started with the
// command line of this process.
func keep(logger *slog.Logger) error {
	reserveThreads(keeperThreads)
	status, err := keeper.Run(keeper.Options{Logger: logger, Args: os.Args, Env: os.Environ()})
	return errors.Join(err, withStatus(status))
}
