package fleet

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"
)

// DefaultParallel is how many hosts are asked at once.
const DefaultParallel = 64

// Limits bound an Each.
type Limits struct {
	// Parallel is how many hosts are asked at once; 0 means DefaultParallel.
	Parallel int
	// Timeout is what one host has, from when it is asked; 0 means no limit. Its
	// time can be suspended, see Suspend.
	Timeout time.Duration
	// StopAtFailure: after the first failure no further host is asked.
	StopAtFailure bool
}

// Result is one host's answer.
type Result[T any] struct {
	Host  Host
	Value T
	Err   error
}

// NotAsked is the error of a host that was not sent anything.
type NotAsked struct {
	// Because is why.
	Because error
}

func (n *NotAsked) Error() string { return "not asked, because " + n.Because.Error() }
func (n *NotAsked) Unwrap() error { return n.Because }

// Each calls fn once for every host and returns when all calls have, with a
// result for each host in the order of hosts. fn must honour its context. A
// host whose turn had not come when ctx ended, or at a failure that stops the
// rest, has a *NotAsked.
func Each[T any](ctx context.Context, hosts []Host, limits Limits, fn func(context.Context, Host) (T, error)) []Result[T] {
	results := make([]Result[T], len(hosts))
	for i, result := range Stream(ctx, hosts, limits, fn) {
		results[i] = result
	}
	return results
}

// Stream is Each for a caller who does not wait for the last host: it yields
// every result, with its place in hosts, as soon as it is there. Hosts are asked
// in their order. When the loop that reads it is left, fn's contexts end, and
// it returns when all calls have.
func Stream[T any](ctx context.Context, hosts []Host, limits Limits, fn func(context.Context, Host) (T, error)) iter.Seq2[int, Result[T]] {
	return func(yield func(int, Result[T]) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		a := asking[T]{hosts: hosts, limits: limits, fn: fn, answers: make(chan answer[T])}
		if len(hosts) == 1 {
			// Another goroutine, with a stack that has to grow first, would only wait.
			yield(0, a.result(ctx, 0, nil))
			return
		}
		parallel := limits.Parallel
		if parallel <= 0 {
			parallel = DefaultParallel
		}
		var workers sync.WaitGroup
		for range min(parallel, len(hosts)) {
			workers.Go(func() { a.work(ctx) })
		}
		go func() {
			workers.Wait()
			close(a.answers)
		}()
		listening := true
		for answer := range a.answers {
			if listening && !yield(answer.at, answer.Result) {
				listening = false
				cancel()
			}
		}
	}
}

// answer is the result of the host at its place.
type answer[T any] struct {
	at int
	Result[T]
}

// asking is one Stream.
type asking[T any] struct {
	hosts   []Host
	limits  Limits
	fn      func(context.Context, Host) (T, error)
	answers chan answer[T]

	mu      sync.Mutex
	next    int   // owned by mu: the first host nobody has taken
	stopped error // owned by mu: why no further host is asked
}

// work asks one host after the other until none is left.
func (a *asking[T]) work(ctx context.Context) {
	for {
		at, stopped, more := a.take()
		if !more {
			return
		}
		a.answers <- answer[T]{at, a.result(ctx, at, stopped)}
	}
}

// result asks the host at its place, unless it is not to be asked.
func (a *asking[T]) result(ctx context.Context, at int, stopped error) Result[T] {
	result := Result[T]{Host: a.hosts[at]}
	switch {
	// The end of ctx may well be what has made a host fail.
	case ctx.Err() != nil:
		result.Err = &NotAsked{context.Cause(ctx)}
	case stopped != nil:
		result.Err = &NotAsked{stopped}
	default:
		result.Value, result.Err = a.ask(ctx, result.Host)
		if result.Err != nil && a.limits.StopAtFailure {
			a.stop(result.Host)
		}
	}
	return result
}

func (a *asking[T]) take() (at int, stopped error, more bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.next == len(a.hosts) {
		return 0, nil, false
	}
	a.next++
	return a.next - 1, a.stopped, true
}

func (a *asking[T]) stop(failed Host) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped == nil {
		a.stopped = fmt.Errorf("%s failed", failed)
	}
}

func (a *asking[T]) ask(ctx context.Context, h Host) (T, error) {
	if a.limits.Timeout > 0 {
		var cancel func()
		ctx, cancel = withClock(ctx, a.limits.Timeout)
		defer cancel()
	}
	return a.fn(ctx, h)
}
