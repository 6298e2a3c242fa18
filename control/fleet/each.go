package fleet

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// DefaultParallel is how many hosts are asked at once.
const DefaultParallel = 64

// Limits bound an Each.
type Limits struct {
	// Parallel is how many hosts are asked at once; 0 means DefaultParallel.
	Parallel int
	// Timeout is what one host has, from when it is asked; 0 means no limit.
	Timeout time.Duration
}

// Result is one host's answer.
type Result[T any] struct {
	Host  Host
	Value T
	Err   error
}

// Each calls fn once for every host and returns when all calls have, with a
// result for each host in the order of hosts. fn must honour its context. A
// host whose turn had not come when ctx ended has ctx's error.
func Each[T any](ctx context.Context, hosts []Host, limits Limits, fn func(context.Context, Host) (T, error)) []Result[T] {
	parallel := limits.Parallel
	if parallel <= 0 {
		parallel = DefaultParallel
	}
	results := make([]Result[T], len(hosts))
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(parallel, len(hosts)) {
		workers.Go(func() {
			for i := range next {
				results[i] = ask(ctx, hosts[i], limits.Timeout, fn)
			}
		})
	}
	for i := range hosts {
		next <- i
	}
	close(next)
	workers.Wait()
	return results
}

func ask[T any](ctx context.Context, h Host, timeout time.Duration, fn func(context.Context, Host) (T, error)) Result[T] {
	if ctx.Err() != nil {
		return Result[T]{Host: h, Err: fmt.Errorf("%s was not asked: %w", h, context.Cause(ctx))}
	}
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	value, err := fn(ctx, h)
	return Result[T]{Host: h, Value: value, Err: err}
}
