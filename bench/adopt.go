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
// server says that it has all children. The bare loop takes nothing over: the floor
// is the start of a server that finds nothing.
func (b *neighbours) adopt(ctx context.Context) error {
	if !b.wants(b.n, figureAdopt) {
		return nil
	}
	var kita, floor []float64
	err := pairs(b.rounds, func() error {
		took, err := b.server.adopted(ctx, b.n)
		kita = append(kita, ms(took))
		return err
	}, func() error {
		took, err := b.coldOnce(ctx)
		floor = append(floor, ms(took))
		return err
	})
	if err != nil {
		return fmt.Errorf("adopt: %w", err)
	}
	b.add(figure{name: figureAdopt, n: b.n, unit: "ms", kita: kita, floor: floor, goal: under(1000),
		note: "the floor is a start without children"})
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
