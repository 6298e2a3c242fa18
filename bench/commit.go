//go:build linux

package main

import (
	"context"
	"fmt"

	"kita/spec"
)

const (
	figureCommit     = "trystart of all, in parallel"
	figureSlowCommit = "trystart of all, in parallel, a sync takes 5 ms longer"
)

// Of 1,000 trystarts one after the other only a sample is done.
const (
	commitAtOnce = 1000
	commitSample = 100
)

// groupCommit measures n trystarts at once against the same one after the other.
// How much faster they are depends on what a sync costs: where the disk syncs as
// fast as a process is started, sharing syncs saves little.
func (b *neighbours) groupCommit(ctx context.Context) error {
	if !b.wants(b.n, figureCommit) || b.n < commitSample {
		return nil
	}
	return b.commit(ctx, b.server, figureCommit, b.n)
}

// slowCommit is the same with a server whose disk is slow.
func (w *world) slowCommit(ctx context.Context, n int) error {
	if !w.wants(n, figureSlowCommit) || n < commitSample || n > commitAtOnce {
		return nil
	}
	s, err := w.serve(ctx, setup{stampers: n, slowSync: true})
	if err != nil {
		return err
	}
	defer s.end()
	if _, _, _, err := s.startAll(ctx); err != nil {
		return err
	}
	return w.commit(ctx, s, figureSlowCommit, n)
}

func (w *world) commit(ctx context.Context, s *server, name string, n int) error {
	var parallel, single []float64
	names := s.names[:min(n, commitAtOnce)]
	err := pairs(w.rounds, func() error {
		begin := now()
		err := s.doEach(ctx, spec.VerbTrystart, names, len(names))
		parallel = append(parallel, ms(now()-begin))
		return err
	}, func() error {
		sample := names[:min(len(names), commitSample)]
		begin := now()
		err := s.doEach(ctx, spec.VerbTrystart, sample, 1)
		single = append(single, ms(now()-begin)*float64(len(names))/float64(len(sample)))
		return err
	})
	w.add(figure{name: name, n: n, unit: "ms", kita: parallel, floor: single, goal: times(1.0 / 20),
		note: fmt.Sprintf("the floor is the same one after the other, a sample of %d scaled", commitSample)})
	return err
}
