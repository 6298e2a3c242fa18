//go:build linux

package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"kita/spec"
)

const figureAdopt = "adopt after kill -9 of the server"

// adopt kills the server, not its keeper, and measures the time until the next
// server says that it has all children. The floor is none: the bare loop takes
// nothing over.
func (b *neighbours) adopt(ctx context.Context) error {
	if !b.wants(b.n, figureAdopt) {
		return nil
	}
	var kita []float64
	for range b.rounds {
		took, err := b.server.adopted(ctx, b.n)
		if err != nil {
			return fmt.Errorf("adopt: %w", err)
		}
		kita = append(kita, ms(took))
	}
	b.add(figure{name: figureAdopt, n: b.n, unit: "ms", kita: kita, goal: under(1000)})
	return nil
}

// adopted kills the server and waits for another that has n running children.
// None of them may have been started again.
func (s *server) adopted(ctx context.Context, n int) (time.Duration, error) {
	before, err := s.client.Info(ctx)
	if err != nil {
		return 0, err
	}
	if err := s.stamps.clear(); err != nil {
		return 0, err
	}
	begin := now()
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		return 0, fmt.Errorf("kill the server: %w", err)
	}
	var took time.Duration
	err = s.until(ctx, "the next server to have all children", 2*time.Millisecond, func() bool {
		info, err := s.client.Info(ctx)
		took = now() - begin
		return err == nil && info.PID != before.PID && len(info.Running) == n
	})
	if err != nil {
		return 0, err
	}
	again, err := s.stamps.read()
	if err == nil && len(again) > 0 {
		err = fmt.Errorf("%d children were started again", len(again))
	}
	return took, err
}

const figureCommit = "trystart of all, in parallel"

// Of 1,000 trystarts one after the other only a sample is done.
const (
	commitAtOnce = 1000
	commitSample = 100
)

// groupCommit measures n trystarts at once against the same one after the other,
// of which only a sample is done.
func (b *neighbours) groupCommit(ctx context.Context) error {
	if !b.wants(b.n, figureCommit) || b.n < commitSample {
		return nil
	}
	var parallel, single []float64
	names := b.server.names[:min(b.n, commitAtOnce)]
	err := pairs(b.rounds, func() error {
		begin := now()
		err := b.server.doEach(ctx, spec.VerbTrystart, names, len(names))
		parallel = append(parallel, ms(now()-begin))
		return err
	}, func() error {
		sample := names[:min(len(names), commitSample)]
		begin := now()
		err := b.server.doEach(ctx, spec.VerbTrystart, sample, 1)
		single = append(single, ms(now()-begin)*float64(len(names))/float64(len(sample)))
		return err
	})
	b.add(figure{name: figureCommit, n: b.n, unit: "ms", kita: parallel, floor: single,
		goal: times(1.0 / 20), note: "the floor is the same one after the other, a sample of 100 scaled"})
	return err
}
