package main

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"kita/keeper"
	"kita/systemd"
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
	if link == nil && o.noKeeper && os.Getpid() == 1 {
		return usagef("--no-keeper cannot be used as PID 1: nobody would reap the orphans, leave it out")
	}
	// Not even a server below a keeper keeps the variables: its children would
	// have them.
	manager, env, err := systemd.Take(os.Environ())
	if err != nil {
		return err
	}
	if link != nil {
		return p.supervise(ctx, o, link, nil, logger)
	}
	if o.noKeeper {
		return p.supervise(ctx, o, nil, manager, logger)
	}
	return keep(manager, env, logger)
}

// keep is the keeper, from its start to its end. Servers are started with the
// command line of this process.
func keep(manager *systemd.Manager, env []string, logger *slog.Logger) error {
	reserveThreads(keeperThreads)
	status, err := keeper.Run(keeper.Options{Logger: logger, Args: os.Args, Env: env, Manager: manager})
	return errors.Join(err, withStatus(status))
}
