package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"kita/control"
	"kita/control/fleet"
	"kita/reconciler/store"
	"kita/spec"
)

// socketName is the name of the unix socket in the run directory.
const socketName = "kita.sock"

// localSocket is where the server of this host is expected; named when the
// environment says so.
func localSocket() (path string, named bool) {
	if path := os.Getenv("KITA_SOCKET"); path != "" {
		return path, true
	}
	// The other directory may be missing: a client has no use for it.
	_, runDir, _ := store.DefaultDirs()
	if runDir == "" {
		return "", false
	}
	return filepath.Join(runDir, socketName), false
}

func isSocket(path string) bool {
	info, err := os.Stat(path)
	// One that may not be looked at is there all the same; the attempt to use
	// it says why it fails.
	return path != "" && (err == nil && info.Mode().Type() == os.ModeSocket || errors.Is(err, os.ErrPermission))
}

// ask calls fn with a client for each host of r, side by side, and returns the
// results in the order of the hosts.
func ask[T any](ctx context.Context, p *program, r request, fn func(context.Context, *control.Client) (T, error)) []fleet.Result[T] {
	return fleet.Each(ctx, r.hosts, r.limits(), asking(p, r, fn))
}

// asking is fn with a client of the host it is called for.
func asking[T any](p *program, r request, fn func(context.Context, *control.Client) (T, error)) func(context.Context, fleet.Host) (T, error) {
	return func(ctx context.Context, h fleet.Host) (T, error) {
		target, closer, err := p.target(ctx, r, h)
		if err != nil {
			var none T
			return none, err
		}
		defer closer.Close()
		client := control.Dial(target)
		defer client.Close()
		return fn(ctx, client)
	}
}

// vitalPatience is how long a server has, after a wait for something else was over,
// to say that it is there.
const vitalPatience = time.Second

// answers returns nil if the server answers at all, also where the time of ctx has
// run out.
func answers(ctx context.Context, c *control.Client) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), vitalPatience)
	defer cancel()
	return c.Answers(ctx)
}

// waitedTooLong tells a server that took a command and did not answer in time
// from one that cannot be reached: the first may well carry it out. c is nil for
// one of supervisor-rs, which cannot be asked whether it is there.
func waitedTooLong(ctx context.Context, r request, c *control.Client, err error) error {
	var (
		unreachable *control.Unreachable
		op          *net.OpError
	)
	if !errors.As(err, &unreachable) || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if errors.As(err, &op) && op.Op == "dial" {
		return err
	}
	what := strings.TrimSpace(string(r.verb) + " " + r.child)
	if c == nil || answers(ctx, c) != nil {
		return fmt.Errorf("%w; whether it has taken `%s` is not known", err, what)
	}
	return spec.Refuse(spec.TimedOut, r.verb, r.child, "%s: no answer within %v; the server goes on with it, see `kita check`", what, r.timeout)
}

// label names a host in what is printed; it is empty when only one was meant.
func label(r request, h fleet.Host) string {
	if !r.many {
		return ""
	}
	return h.String()
}
