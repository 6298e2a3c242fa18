//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The smoke test is small enough to be a part of every run of all tests.
const (
	smokeChildren = 300
	smokeAttempts = 5
	// gross is how many times worse than its goal a figure may be.
	gross = 2
	// smokeBudget is when a figure that has had its chances gets no further one.
	smokeBudget = 40 * time.Second
	// smokeChances are how many attempts a figure has whatever they take.
	smokeChances = 3
)

// smokeFigures are those of the smoke test, with how bad each may be. None is a
// time by itself: each is a ratio of what was measured in turn, an amount of memory
// or a count.
var smokeFigures = map[string]limit{
	"start":                    {goals: gross},
	figureCrash:                {goals: gross},
	"check, a process":         {goals: gross},
	"check NAME, a process":    {goals: gross},
	"trystart NAME, a process": {goals: gross},
	"restart NAME, a process":  {goals: gross},
	figureMemory:               {goals: gross},
	figureThreads:              {goals: gross},
	figureTicks:                {goals: gross},
	figureWakeups:              {goals: gross},
	// Its goal is a time, with 10,000 children; with few most of it is the start of a
	// server, which is its floor.
	figureAdopt: {ratio: 4},
	// These are away from their goals, and may not get further away.
	"stop":           {goals: 2 * gross},
	figureSlowCommit: {goals: 2 * gross},
}

// limit is how bad a figure may be; one of the two is set.
type limit struct {
	goals float64 // how many times its goal
	ratio float64 // of kita to the floor
}

func (l limit) allows(r result) bool {
	if l.ratio > 0 {
		return r.Ratio <= l.ratio
	}
	return r.measure() <= l.goals*r.bound
}

// shown is what is compared.
func (l limit) shown(r result) string {
	if l.ratio > 0 {
		return number(r.Ratio)
	}
	return number(r.measure())
}

func (l limit) String() string {
	if l.ratio > 0 {
		return number(l.ratio) + " times the floor"
	}
	return number(l.goals) + " times its goal"
}

// smokeIdle is how long idleness is watched.
const smokeIdle = 5 * time.Second

// smoke measures in attempts of one round each, and fails only where the best of
// them is worse than that. So neither a busy machine nor one that is busy now and
// then fails it.
func (w *world) smoke(ctx context.Context, out io.Writer) error {
	pending := slices.Sorted(maps.Keys(smokeFigures))
	seen := map[string][]string{}
	w.rounds, w.idle = 1, smokeIdle
	if err := w.countThreads(ctx, 10); err != nil {
		return err
	}
	begin := now()
	for attempt := range smokeAttempts {
		if len(pending) == 0 || attempt >= smokeChances && now()-begin > smokeBudget {
			break
		}
		w.only, w.results = exactly(pending), nil
		for _, measure := range []func(context.Context, int) error{w.lifecycle, w.living, w.slowCommit} {
			if err := measure(ctx, smokeChildren); err != nil {
				return err
			}
		}
		for _, r := range w.results {
			fmt.Fprintln(out, r)
			most := smokeFigures[r.Name]
			seen[r.Name] = append(seen[r.Name], most.shown(r))
			if most.allows(r) {
				pending = slices.DeleteFunc(pending, func(name string) bool { return name == r.Name })
			}
		}
	}
	var lost []error
	for _, name := range pending {
		lost = append(lost, fmt.Errorf("%s: %s, each more than %v", name, strings.Join(seen[name], ", "), smokeFigures[name]))
	}
	return errors.Join(lost...)
}

// countThreads notes how many threads there are with n children, the fewest.
func (w *world) countThreads(ctx context.Context, n int) error {
	s, err := w.serve(ctx, setup{stampers: n})
	if err != nil {
		return err
	}
	defer s.end()
	if _, _, _, err := s.startAll(ctx); err != nil {
		return err
	}
	pids, err := s.processes(ctx, w.bin("kita"))
	if err != nil {
		return err
	}
	w.fewest, err = threadsOf(pids)
	return err
}

// exactly matches the labels of these figures with the children of the smoke test.
func exactly(names []string) *regexp.Regexp {
	var labels []string
	for _, name := range names {
		labels = append(labels, regexp.QuoteMeta(label(name, smokeChildren)))
	}
	return regexp.MustCompile("^(" + strings.Join(labels, "|") + ")$")
}
