//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The smoke test is small enough to be a part of every run of all tests.
const (
	smokeChildren = 300
	smokeAttempts = 5
	// gross is how many times worse than its goal a figure has to be to fail.
	gross = 2
	// smokeBudget is when a figure that has had its chances gets no further one.
	smokeBudget = 40 * time.Second
	// smokeChances are how many attempts a figure has whatever they take.
	smokeChances = 3
)

// smokeFigures are those of the smoke test. None is a time by itself: each is a
// ratio of what was measured in turn, or an amount of memory.
var smokeFigures = []string{"start", "stop", figureCrash, "check, a process", "check NAME, a process", "trystart NAME, a process",
	"restart NAME, a process", figureMemory, figureSlowCommit}

// smoke measures in attempts of one round each, and fails only where the best of
// them is gross times worse than the goal. So neither a busy machine nor one that
// is busy now and then fails it.
func (w *world) smoke(ctx context.Context, out io.Writer) error {
	pending := slices.Clone(smokeFigures)
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
			if r.measure() <= gross*r.bound {
				pending = slices.DeleteFunc(pending, func(name string) bool { return name == r.Name })
			}
		}
	}
	var lost []error
	for _, name := range pending {
		lost = append(lost, fmt.Errorf("%s: %s, each more than %d times its goal", name, strings.Join(seen[name], ", "), gross))
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
