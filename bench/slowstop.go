//go:build linux

package main

import (
	"context"
	"sync"
	"time"

	"kita/spec"
)

const figureSlowStop = "check NAME during a slow stop, a call"

// slowStop asks for one child while another, which ignores TERM, is being
// stopped. The floor is the same without that stop: the ratio is what a slow
// stop costs everybody else.
func (w *world) slowStop(ctx context.Context) error {
	if !w.wants(0, figureSlowStop) {
		return nil
	}
	s, err := w.serve(ctx, setup{stampers: 1, files: map[string]string{
		"stubborn.yml": "command: [sh, -c, \"trap '' TERM; while :; do sleep 1; done\"]\nstop: {grace: 2s}\n",
	}})
	if err != nil {
		return err
	}
	defer s.end()
	var kita, floor []float64
	err = pairs(w.rounds, func() error {
		return s.whileStopping(ctx, "stubborn", func() error {
			took, err := s.asked(ctx)
			kita = append(kita, took...)
			return err
		})
	}, func() error {
		took, err := s.asked(ctx)
		floor = append(floor, took...)
		return err
	})
	w.add(figure{name: figureSlowStop, unit: "ms", kita: kita, floor: floor})
	return err
}

// asked asks for one child again and again.
func (s *server) asked(ctx context.Context) ([]float64, error) {
	var took []float64
	for range 200 {
		begin := now()
		if _, err := s.client.Get(ctx, subject); err != nil {
			return nil, err
		}
		took = append(took, ms(now()-begin))
	}
	return took, nil
}

// whileStopping starts a child that ignores its stop signal, and calls do while
// it is being stopped.
func (s *server) whileStopping(ctx context.Context, child string, do func() error) error {
	if _, err := s.client.Do(ctx, spec.Command{Verb: spec.VerbStart, Child: child}); err != nil {
		return err
	}
	var stopping sync.WaitGroup
	stopping.Go(func() { _, _ = s.client.Do(ctx, spec.Command{Verb: spec.VerbStop, Child: child}) })
	defer stopping.Wait()
	if err := s.until(ctx, child+" to be stopping", time.Millisecond, func() bool {
		v, err := s.client.Get(ctx, child)
		return err == nil && v.Status.Phase == spec.PhaseStopping
	}); err != nil {
		return err
	}
	return do()
}
