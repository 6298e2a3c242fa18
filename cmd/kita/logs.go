package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"kita/control"
	"kita/control/fleet"
	"kita/spec"
)

const logsLong = `Show the output of children.

  kita logs web                     all that is kept of it
  kita logs web db -f --tail 20     the last 20 lines, and what follows
  kita logs all --since 10m --grep 'ERROR|WARN' on @web
  less $(kita logs web --path --stream err)

What was rotated is shown as if it had not been. With -f it goes on over restarts
of the children and of the server, until Ctrl-C.

One child of one host is shown byte for byte, also what a terminal acts on: it is
what tail would show. Of several each line follows the name.`

func (p *program) logsCommand() *cobra.Command {
	var f flags
	var l logFlags
	c := &cobra.Command{
		Use: "logs CHILD…|all" + p.where(), Short: "show the output of children, also as it comes", Long: logsLong,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			r, children, err := p.childrenRequest("logs", args, f)
			if err != nil {
				return err
			}
			q, err := l.request(children, c.Flags().Changed, p.now())
			if err != nil {
				return err
			}
			if !l.path && r.format != formatText && r.format != formatJSON {
				return usagef("-o %s: logs takes json", r.format)
			}
			r.lines = !l.path
			return p.withKeys(c.Context(), r, func(ctx context.Context) error {
				if l.path {
					return p.logPaths(ctx, r, q)
				}
				return p.logs(ctx, r, q)
			})
		},
	}
	p.registerFlags(&f, c, spec.VerbInfo)
	l.register(c)
	c.ValidArgsFunction = p.completeChildren(&f)
	return c
}

// where is how the use of a command ends.
func (p *program) where() string {
	if p.through != nil {
		return ""
	}
	return whereWords
}

// childrenRequest is request for a command that is no verb and takes children.
func (p *program) childrenRequest(command string, args []string, f flags) (request, []string, error) {
	children, words, err := control.ParseChildren(command, args)
	if err != nil {
		return request{}, nil, &usageError{err}
	}
	if p.through != nil && (len(words.Hosts) > 0 || words.Key != "") {
		return request{}, nil, usagef("over SSH only this server is asked, leave out `on` and `with`: use %s %s", command, children[0])
	}
	r, err := p.understand("", words, f)
	return r, children, err
}

// logs shows output, of all hosts at once.
func (p *program) logs(ctx context.Context, r request, q spec.LogRequest) error {
	printer := newLogPrinter(p, r, q)
	return p.streams(ctx, r, q.Follow, streaming{fail: printer.fail, show: func(ctx context.Context, h fleet.Host, c *control.Client) (error, error) {
		return p.logsOf(ctx, r, q, h, c, printer)
	}})
}

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
		interrupted, stop := interruptible(ctx)
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

// logsOf prints the output that one host has. Of several children those that it
// does not have are complained of; refused is why, for the last of them.
func (p *program) logsOf(ctx context.Context, r request, q spec.LogRequest, h fleet.Host, c *control.Client, printer *logPrinter) (refused, err error) {
	for {
		begun, err := p.streamOf(ctx, r, q, h, c, printer)
		without := withoutRefused(q.Children, err)
		if begun || len(without) == 0 {
			return refused, err
		}
		refused, q.Children = err, without
		p.complainOf(label(r, h), err)
		printer.fail(h, err)
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

// streamOf prints the output that one host has of children; begun tells whether
// any of it came.
func (p *program) streamOf(ctx context.Context, r request, q spec.LogRequest, h fleet.Host, c *control.Client, printer *logPrinter) (begun bool, err error) {
	if err := printer.learnNames(ctx, c, q.Children); err != nil {
		return false, err
	}
	stream := c.Logs(ctx, q)
	if q.Follow && p.through == nil {
		stream = c.FollowLogs(ctx, q, func(err error) { p.complainOf(label(r, h), fmt.Errorf("the stream broke, trying to go on: %w", err)) })
	}
	for chunk, err := range stream {
		if err != nil {
			return begun, errors.Join(printer.flush(h), p.explainEnd("logs", err))
		}
		if !begun {
			begun = true
			// The time limit was for the beginning.
			fleet.Suspend(ctx)
		}
		if err := printer.print(h, chunk); err != nil {
			return begun, err
		}
	}
	return begun, printer.flush(h)
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
