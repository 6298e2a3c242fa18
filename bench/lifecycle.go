//go:build linux

package main

import (
	"context"
	"strings"
	"time"
)

// pairs calls kita and floor in alternating pairs: kita, floor, floor, kita, and
// so on. So what changes slowly on the machine changes both.
func pairs(rounds int, kita, floor func() error) error {
	for round := range rounds {
		first, second := kita, floor
		if round%2 == 1 {
			first, second = floor, kita
		}
		if err := first(); err != nil {
			return err
		}
		if err := second(); err != nil {
			return err
		}
	}
	return nil
}

// lifecycle measures how n children are started and stopped: each round with a
// server of its own, against the bare loop.
func (w *world) lifecycle(ctx context.Context, n int) error {
	if !w.wants(n, "start", "start, until the command returns", "stop", "boot") {
		return nil
	}
	var kita, floor struct{ start, returned, stop, boot []float64 }
	err := pairs(w.rounds, func() error {
		s, err := w.serve(ctx, setup{stampers: n})
		if err != nil {
			return err
		}
		defer s.end()
		begun, returned, _, err := s.startAll(ctx)
		if err != nil {
			return err
		}
		stopped, err := s.stopAll(ctx)
		if err != nil {
			return err
		}
		if err := w.learn(ctx, s); err != nil {
			return err
		}
		kita.start, kita.returned = append(kita.start, ms(begun)), append(kita.returned, ms(returned))
		kita.stop = append(kita.stop, ms(stopped))
		if !w.wants(n, "boot") {
			return nil
		}
		boot, err := w.boot(ctx, n)
		kita.boot = append(kita.boot, ms(boot))
		return err
	}, func() error {
		l, err := w.bareLoop()
		if err != nil {
			return err
		}
		defer l.end()
		begun, _, err := l.start(ctx, n)
		if err != nil {
			return err
		}
		stopped, err := l.stop()
		floor.start, floor.stop = append(floor.start, ms(begun)), append(floor.stop, ms(stopped))
		return err
	})
	if err != nil {
		return err
	}
	// Of a few children the command itself is most of it.
	var start, stop goal
	if n >= smokeChildren {
		start, stop = times(1.3), times(2)
		if w.hasCgroups() {
			start = times(1.6)
		}
	}
	w.add(figure{name: "start", n: n, unit: "ms", kita: kita.start, floor: floor.start, goal: start})
	w.add(figure{name: "start, until the command returns", n: n, unit: "ms", kita: kita.returned, floor: floor.start})
	w.add(figure{name: "boot", n: n, unit: "ms", kita: kita.boot, floor: floor.start})
	w.add(figure{name: "stop", n: n, unit: "ms", kita: kita.stop, floor: floor.stop, goal: stop})
	return nil
}

// learn notes what holds the children of a server together, which decides about
// the goal of their start.
func (w *world) learn(ctx context.Context, s *server) error {
	info, err := s.client.Info(ctx)
	// The name of the group is another one for each server.
	w.heldBy, _, _ = strings.Cut(info.Containment, " ")
	if !w.hasCgroups() {
		w.heldBy = info.Containment
	}
	return err
}

// hasCgroups tells whether each child had a control group of its own.
func (w *world) hasCgroups() bool { return strings.HasPrefix(w.heldBy, "cgroup") }

// boot starts a server in full mode and returns how long it took until the last
// of its children began.
func (w *world) boot(ctx context.Context, n int) (time.Duration, error) {
	s, err := w.prepare(setup{stampers: n, mode: "full"})
	if err != nil {
		return 0, err
	}
	defer s.end()
	if err := s.launch(ctx, w.bin("kita")); err != nil {
		return 0, err
	}
	all, err := s.stamps.await(ctx, n)
	if err != nil {
		return 0, err
	}
	return latest(all) - s.begun, nil
}
