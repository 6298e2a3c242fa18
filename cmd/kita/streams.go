package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"time"

	"kita/control"
	"kita/control/fleet"
	"kita/spec"
)

// streaming is what becomes of the streams of several hosts.
type streaming struct {
	// show prints the stream of one host. refused is why that does not have a part
	// of what was asked for, which has been said; err ends it, an *outputError all.
	show func(context.Context, fleet.Host, *control.Client) (refused, err error)
	// fail hears of what could not be had of a host, which has been said.
	fail func(fleet.Host, error)
	// done hears that nothing more comes of a host; nil where nobody needs to.
	done func(fleet.Host)
	// atOnce: all hosts are asked at once, also where they are not followed.
	atOnce bool
}

// streams has every host of r send a stream.
func (p *program) streams(ctx context.Context, r request, follow bool, s streaming) error {
	limits, err := r.logLimits(follow || s.atOnce)
	if err != nil {
		return err
	}
	if follow {
		interrupted, stop := interruptible(ctx, os.Interrupt)
		defer stop(nil)
		read, release := whileRead(interrupted, p.out)
		defer release()
		ctx = read
	}
	if w, ok := p.out.(interface{ SetPatience(time.Duration) }); ok {
		w.SetPatience(logPatience)
	}
	told, status := newSummary(r), exitOK
	for _, result := range fleet.Stream(ctx, r.hosts, limits, func(ctx context.Context, h fleet.Host) (error, error) {
		return asking(p, r, func(ctx context.Context, c *control.Client) (error, error) { return s.show(ctx, h, c) })(ctx, h)
	}) {
		if s.done != nil {
			s.done(result.Host)
		}
		if refused := result.Value; refused != nil {
			status = worst(status, exitFailed)
			if result.Err == nil {
				told.add(result.Host, exitFailed, refused)
			}
		}
		var broken *outputError
		switch {
		case result.Err == nil, errors.Is(result.Err, errCtrlC), errors.Is(result.Err, errReaderGone):
		case errors.As(result.Err, &broken):
			// Nobody reads any more: the other hosts need not be asked.
			return broken.quiet()
		default:
			p.complainOf(label(r, result.Host), result.Err)
			s.fail(result.Host, result.Err)
			s := exitStatus(result.Err)
			told.add(result.Host, s, result.Err)
			status = worst(status, s)
		}
	}
	if line := told.line(); line != "" {
		p.notice(line)
	}
	return withStatus(status)
}

// logPatience is how long the reader of a command line over SSH may pause, as
// control.Timing has it for logs.
const logPatience = time.Hour

// logLimits are those of asking r's hosts for streams. To follow them, or to put
// what they send in the order of its time, takes all of them at once.
func (r request) logLimits(atOnce bool) (fleet.Limits, error) {
	limits := r.limits()
	if !atOnce {
		return limits, nil
	}
	r.parallel = len(r.hosts)
	if limits = r.limits(); limits.Parallel < len(r.hosts) {
		return limits, fmt.Errorf("to ask %d hosts at once takes more open files than this process may have: raise `ulimit -n` to %d", len(r.hosts), filesPerHost*len(r.hosts)+64)
	}
	return limits, nil
}

// ofThoseThere has stream send of the children, and again without each that the
// server does not have, of which it complains. refused is why, for the last of them.
func (p *program) ofThoseThere(r request, h fleet.Host, children []string, fail func(fleet.Host, error), stream func(children []string) (begun bool, err error)) (refused, err error) {
	for {
		begun, err := stream(children)
		without := withoutRefused(children, err)
		if begun || len(without) == 0 {
			return refused, err
		}
		refused, children = err, without
		p.complainOf(label(r, h), err)
		fail(h, err)
	}
}

// withoutRefused are the children without the one that the server does not have,
// or has no output of; none where err is something else.
func withoutRefused(children []string, err error) []string {
	var refusal *spec.Refusal
	if !errors.As(err, &refusal) || refusal.Code != spec.NotFound && refusal.Code != spec.BadRequest || !slices.Contains(children, refusal.Child) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(children), func(child string) bool { return child == refusal.Child })
}

// explainEnd says of the end of a stream in a server what it means there.
func (p *program) explainEnd(command string, err error) error {
	var unreachable *control.Unreachable
	if p.through != nil && errors.As(err, &unreachable) {
		return spec.Refuse(spec.Unavailable, "", "", "%s: this server is about to end or to be upgraded, ask it again", command)
	}
	return err
}

// outputError is that the output could not be written.
type outputError struct{ err error }

func (o *outputError) Error() string { return "write the output: " + o.err.Error() }

func (o *outputError) Unwrap() error { return o.err }

// quiet is nil where the reader has had enough, as head has.
func (o *outputError) quiet() error {
	if errors.Is(o.err, syscall.EPIPE) || errors.Is(o.err, io.ErrClosedPipe) {
		return nil
	}
	return o
}
