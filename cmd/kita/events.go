package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kita/control"
	"kita/control/fleet"
	"kita/spec"
)

const eventsLong = `Show what happened to children: commands and who gave them, starts, ends, hooks,
back-off, changes of their files. Without CHILD of all, and of the server itself.

  kita events web
  kita events -f
  kita events web db --type exited,gave-up --since 2d on @web

The history of each child is kept over restarts of the server and of the host, and
is bounded: the oldest events go first. With -f it goes on with what happens, over
restarts of the server, until Ctrl-C.`

func (p *program) eventsCommand() *cobra.Command {
	var f flags
	var e eventFlags
	c := &cobra.Command{
		Use: "events [CHILD…|all]" + p.where(), Short: "show what happened to children, also as it happens", Long: eventsLong,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 || isPlaceWord(args[0]) {
				args = slices.Concat([]string{spec.All}, args)
			}
			r, children, err := p.childrenRequest("events", args, f)
			if err != nil {
				return err
			}
			q, err := e.request(children, c.Flags().Changed, r, p.now())
			if err != nil {
				return err
			}
			r.lines = true
			return p.withKeys(c.Context(), r, func(ctx context.Context) error { return p.events(ctx, r, q) })
		},
	}
	p.registerFlags(&f, c, spec.VerbInfo)
	e.register(c)
	c.ValidArgsFunction = p.completeChildren(&f)
	return c
}

// eventFlags are those that say which events are wanted.
type eventFlags struct {
	follow bool
	tail   int
	since  string
	types  []string
}

func (e *eventFlags) register(c *cobra.Command) {
	set := c.Flags()
	set.BoolVarP(&e.follow, "follow", "f", false, "go on with what happens from now on")
	set.VarP(countValue{&e.tail}, "tail", "n", "begin with the latest `N` events of each host, without it with the first that is kept")
	set.StringVar(&e.since, "since", "", "leave out what is older: a `TIME` like 10m, 2d or 2026-01-31T02:11:11Z")
	set.StringSliceVar(&e.types, "type", nil, "only events of these `TYPES`, separated by commas")
	set.Lookup("output").Usage = "json: one object a line"
	set.Lookup("timeout").Usage = "how long each host may take to begin"
	for _, name := range []string{"tail", "since"} {
		_ = c.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	_ = c.RegisterFlagCompletionFunc("type", completeTypes)
}

// completeTypes offers the types, also after a comma.
func completeTypes(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	before := word[:strings.LastIndexByte(word, ',')+1]
	var offers []string
	for _, t := range spec.EventTypes() {
		if !slices.Contains(strings.Split(before, ","), string(t)) {
			offers = append(offers, before+string(t))
		}
	}
	return offers, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// request is what is asked of each server. given tells which flags are on the
// command line. All errors are wrong use.
func (e eventFlags) request(children []string, given func(string) bool, r request, now time.Time) (spec.EventRequest, error) {
	q := spec.EventRequest{Children: children, Follow: e.follow}
	switch {
	case r.format != formatText && r.format != formatJSON:
		return q, usagef("-o %s: events takes json", r.format)
	case given(parallelFlag) && (e.follow || len(r.hosts) > 1):
		return q, usagef("--parallel: all hosts are asked at once, so that their events can be told in the order of their time; leave it out")
	case given("tail") && e.tail < 0:
		return q, usagef("--tail %d: give how many of the latest events to begin with, 0 or more", e.tail)
	case given("type") && len(e.types) == 0:
		return q, usagef("--type: give one or more of %s", typeList())
	}
	for _, t := range e.types {
		if !slices.Contains(spec.EventTypes(), spec.EventType(t)) {
			return q, usagef("--type %s: give one or more of %s", t, typeList())
		}
		q.Types = append(q.Types, spec.EventType(t))
	}
	if given("tail") {
		q.Tail = &e.tail
	}
	var err error
	if given("since") {
		q.Age, q.Since, err = readSince(e.since, now)
	}
	return q, err
}

func typeList() string {
	var names []string
	for _, t := range spec.EventTypes() {
		names = append(names, string(t))
	}
	return strings.Join(names, ", ")
}

// events shows events of all hosts at once: as they come where they are followed,
// else in the order of their time.
func (p *program) events(ctx context.Context, r request, q spec.EventRequest) error {
	printer := newEventPrinter(p, r, q.Follow)
	put, done, end := printer.print, func(fleet.Host) {}, printer.flush
	if len(r.hosts) > 1 && !q.Follow {
		m := newMerger(r.hosts, printer)
		put, done, end = m.put, m.done, m.end
	}
	err := p.streams(ctx, r, q.Follow, streaming{atOnce: true, fail: printer.fail, done: done, show: func(ctx context.Context, h fleet.Host, c *control.Client) (error, error) {
		return p.ofThoseThere(r, h, q.Children, printer.fail, func(children []string) (bool, error) {
			q := q
			q.Children = children
			return p.eventStream(ctx, r, q, h, c, func(e spec.Event) error { return put(h, e) })
		})
	}})
	var broken *outputError
	if failed := end(); err == nil && errors.As(failed, &broken) {
		return broken.quiet()
	}
	return err
}

// eventStream prints the events of children that one host has; begun tells whether
// any of them came.
func (p *program) eventStream(ctx context.Context, r request, q spec.EventRequest, h fleet.Host, c *control.Client, print func(spec.Event) error) (begun bool, err error) {
	stream := c.Events(ctx, q)
	if q.Follow && p.through == nil {
		stream = c.FollowEvents(ctx, q, func(err error) { p.complainOf(label(r, h), fmt.Errorf("the stream broke, trying to go on: %w", err)) })
	}
	for e, err := range stream {
		if err != nil {
			return begun, p.explainEnd("events", err)
		}
		if !begun {
			begun = true
			// The time limit was for the beginning.
			fleet.Suspend(ctx)
		}
		if e.Type == spec.EventCaughtUp {
			continue
		}
		if err := print(e); err != nil {
			return begun, err
		}
	}
	return begun, nil
}
