//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// processes are the keeper, its server, and the pump where there is one: what is
// below the keeper and is the same program.
func (s *server) processes(ctx context.Context, binary string) ([]int, error) {
	info, err := s.client.Info(ctx)
	if err != nil {
		return nil, err
	}
	pids := []int{s.keeper.Process.Pid}
	if info.PID != pids[0] {
		pids = append(pids, info.PID)
	}
	for _, pid := range childrenOf(info.PID) {
		words, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if first, _, _ := bytes.Cut(words, []byte{0}); filepath.Base(string(first)) == filepath.Base(binary) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// memory measures what the processes of the two take while nothing happens.
func (b *neighbours) memory(ctx context.Context) error {
	if !b.wants(b.n, figureMemory, figureThreads) {
		return nil
	}
	// The server gives back what the burst of the start needed once it is quiet.
	pids, err := b.settle(ctx)
	if err != nil {
		return err
	}
	var kita, floor, threads []float64
	for range b.rounds {
		m, err := pss(pids...)
		if err != nil {
			return err
		}
		bare, err := pss(b.loop.cmd.Process.Pid)
		if err != nil {
			return err
		}
		kita, floor = append(kita, m/1e6), append(floor, bare/1e6)
		t, err := threadsOf(pids)
		if err != nil {
			return err
		}
		threads = append(threads, t)
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	b.add(figure{name: figureMemory, n: b.n, unit: "MB PSS", kita: kita, floor: floor, goal: under(20 + 0.003*float64(b.n))})
	var most goal
	if b.fewest == 0 {
		b.fewest = median(threads)
	} else {
		most = under(b.fewest + 2)
	}
	b.add(figure{name: figureThreads, n: b.n, unit: "threads", kita: threads, goal: most})
	return nil
}

// quiet is longer than the server waits before it gives back what a burst needed.
const quiet = 8 * time.Second

// settle waits until keeper and server have used no processor time for as long as
// quiet, or for a minute, unless it has done so, and returns who they are. They are
// not asked afterwards: of many children that would be a burst of its own.
func (b *neighbours) settle(ctx context.Context) (pids []int, err error) {
	if b.settled != nil {
		return b.settled, nil
	}
	if pids, err = b.server.processes(ctx, b.bin("kita")); err != nil {
		return nil, err
	}
	b.settled = pids
	used, since := -1.0, now()
	for begin := now(); now()-since < quiet && now()-begin < time.Minute; {
		n, err := ticks(pids)
		if err != nil {
			return nil, err
		}
		if n != used {
			used, since = n, now()
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return nil, err
		}
	}
	return pids, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

const (
	figureTicks   = "idle: processor ticks"
	figureWakeups = "idle: switches to a thread a second"
)

// idleness watches what keeper and server do while nothing happens.
func (b *neighbours) idleness(ctx context.Context) error {
	if !b.wants(b.n, figureTicks, figureWakeups) {
		return nil
	}
	pids, err := b.settle(ctx)
	if err != nil {
		return err
	}
	usedBefore, err1 := ticks(pids)
	wokenBefore, err2 := switches(pids)
	if err := sleep(ctx, b.idle); err != nil {
		return err
	}
	used, err3 := ticks(pids)
	woken, err4 := switches(pids)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	note := fmt.Sprintf("in %v", b.idle)
	b.add(figure{name: figureTicks, n: b.n, unit: "ticks of 10 ms", kita: []float64{used - usedBefore}, goal: under(0), note: note})
	b.add(figure{name: figureWakeups, n: b.n, unit: "/s", kita: []float64{(woken - wokenBefore) / b.idle.Seconds()}, goal: under(1), note: note})
	return nil
}
