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

// smokeFigures are those of the smoke test, with how many times worse than its
// goal each may be. None is a time by itself: each is a ratio of what was measured
// in turn, or an amount of memory.
var smokeFigures = map[string]float64{
	figureCrash:                gross,
	"check, a process":         gross,
	"check NAME, a process":    gross,
	"trystart NAME, a process": gross,
	"restart NAME, a process":  gross,
	figureMemory:               gross,
	// These are away from their goals, and may not get further away.
	"start":          2 * gross,
	"stop":           4 * gross,
	figureSlowCommit: 3 * gross,
}

// smoke measures in attempts of one round each, and fails only where the best of
// them is worse than that. So neither a busy machine nor one that is busy now and
// then fails it.
func (w *world) smoke(ctx context.Context, out io.Writer) error {
	pending := slices.Sorted(maps.Keys(smokeFigures))
	seen := map[string][]string{}
	w.rounds = 1
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
			seen[r.Name] = append(seen[r.Name], number(r.measure()))
			if r.measure() <= smokeFigures[r.Name]*r.bound {
				pending = slices.DeleteFunc(pending, func(name string) bool { return name == r.Name })
			}
		}
	}
	var lost []error
	for _, name := range pending {
		lost = append(lost, fmt.Errorf("%s: %s, each more than %s times its goal", name, strings.Join(seen[name], ", "), number(smokeFigures[name])))
	}
	return errors.Join(lost...)
}

// exactly matches the labels of these figures with the children of the smoke test.
func exactly(names []string) *regexp.Regexp {
	var labels []string
	for _, name := range names {
		labels = append(labels, regexp.QuoteMeta(label(name, smokeChildren)))
	}
	return regexp.MustCompile("^(" + strings.Join(labels, "|") + ")$")
}
