//go:build linux

package main

import (
	"context"
	"fmt"
	"syscall"
	"time"
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
