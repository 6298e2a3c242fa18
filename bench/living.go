//go:build linux

package main

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// neighbours are n running children of a server, and as many of the bare loop.
type neighbours struct {
	*world
	n      int
	server *server
	loop   *loop
	// pids and bare are the processes of the two; those of kita change when one is
	// started anew by a command.
	pids, bare []int
	// settled are kita's processes, of which nothing was asked since they became
	// quiet.
	settled []int
}

// living measures what happens beside n running children.
func (w *world) living(ctx context.Context, n int) error {
	figures := []string{figureMemory, figureThreads, figureTicks, figureWakeups, figureCrash, figureCrash99, figureAdopt, figureCommit}
	for _, c := range commands {
		process, api := c.names()
		figures = append(figures, process, api)
	}
	if !w.wants(n, figures...) {
		return nil
	}
	s, err := w.serve(ctx, setup{stampers: n})
	if err != nil {
		return err
	}
	defer s.end()
	l, err := w.bareLoop()
	if err != nil {
		return err
	}
	defer l.end()
	_, _, kita, err := s.startAll(ctx)
	if err != nil {
		return err
	}
	_, bare, err := l.start(ctx, n)
	if err != nil {
		return err
	}
	b := &neighbours{world: w, n: n, server: s, loop: l, pids: pidsOf(kita), bare: pidsOf(bare)}
	for _, measure := range []func(context.Context) error{b.memory, b.idleness, b.commands, b.crashes, b.adopt, b.groupCommit} {
		if err := measure(ctx); err != nil {
			return err
		}
	}
	return nil
}

const (
	figureCrash   = "crash to new process, median"
	figureCrash99 = "crash to new process, p99"
	figureMemory  = "memory, keeper and server"
	figureThreads = "threads, keeper and server"
)

func pidsOf(all []stamp) []int {
	pids := make([]int, len(all))
	for i, s := range all {
		pids[i] = s.pid
	}
	return pids
}

// crashCount is how many crashes are measured of each, for every round.
const crashCount = 40

// crashes kills one child after the other and measures the time to the first
// instruction of its successor.
func (b *neighbours) crashes(ctx context.Context) error {
	if !b.wants(b.n, figureCrash, figureCrash99) {
		return nil
	}
	var err error
	if b.pids, err = b.server.running(ctx); err != nil {
		return err
	}
	var kita, floor []float64
	i := 0
	err = pairs(b.rounds*crashCount, func() error {
		took, err := crash(ctx, b.server.stamps, b.pids, i%len(b.pids))
		kita = append(kita, ms(took))
		return err
	}, func() error {
		took, err := crash(ctx, b.loop.stamps, b.bare, i%b.n)
		floor = append(floor, ms(took))
		i++
		return err
	})
	if err != nil {
		return fmt.Errorf("a crash: %w", err)
	}
	b.add(figure{name: figureCrash, n: b.n, unit: "ms", kita: kita, floor: floor, goal: times(2)})
	b.add(figure{name: figureCrash99, n: b.n, unit: "ms", kita: kita, floor: floor, pick: p99, goal: under(10)})
	return nil
}

// crash kills one of the processes, whose successor takes its place in pids.
func crash(ctx context.Context, marks *stamps, pids []int, i int) (time.Duration, error) {
	if err := marks.clear(); err != nil {
		return 0, err
	}
	begin := now()
	if err := syscall.Kill(pids[i], syscall.SIGKILL); err != nil {
		return 0, fmt.Errorf("kill %d: %w", pids[i], err)
	}
	all, err := marks.await(ctx, 1)
	if err != nil {
		return 0, err
	}
	pids[i] = all[0].pid
	return all[0].at - begin, nil
}
