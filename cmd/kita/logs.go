package main

import (
	"context"
	"errors"
	"fmt"

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
		return p.ofThoseThere(r, h, q.Children, printer.fail, func(children []string) (bool, error) {
			q := q
			q.Children = children
			return p.logStream(ctx, r, q, h, c, printer)
		})
	}})
}

// logStream prints the output that one host has of children; begun tells whether
// any of it came.
func (p *program) logStream(ctx context.Context, r request, q spec.LogRequest, h fleet.Host, c *control.Client, printer *logPrinter) (begun bool, err error) {
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
