package fleet

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheTimeOfAHostStandsStillWhileItIsSuspended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := []Host{{Name: "a"}, {Name: "b"}}
		begin := time.Now()
		results := Each(t.Context(), hosts, Limits{Timeout: time.Second}, func(ctx context.Context, h Host) (time.Duration, error) {
			// A context made of it is meant too.
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			if deadline, ok := ctx.Deadline(); !ok || deadline != begin.Add(time.Second) {
				t.Errorf("the deadline is at %v, %v", deadline, ok)
			}
			if h.Name == "a" {
				time.Sleep(300 * time.Millisecond)
				outer := Suspend(ctx)
				time.Sleep(time.Minute)
				inner := Suspend(ctx)
				outer()
				time.Sleep(time.Hour)
				inner()
				if deadline, ok := ctx.Deadline(); !ok || deadline != begin.Add(time.Second+time.Minute+time.Hour) {
					t.Errorf("the deadline is at %v, %v", deadline, ok)
				}
			}
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
				t.Errorf("cause %v", context.Cause(ctx))
			}
			return time.Since(begin), ctx.Err()
		})
		for i, want := range []time.Duration{time.Second + time.Minute + time.Hour, time.Second} {
			if got := results[i]; got.Value != want || !errors.Is(got.Err, context.DeadlineExceeded) {
				t.Errorf("%s ended after %v with %v, want %v", got.Host.Name, got.Value, got.Err, want)
			}
		}
	})
}

func TestASuspendedHostEndsWithTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		because := errors.New("ctrl-c")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Minute, func() { cancel(because) })
		results := Each(ctx, []Host{{Name: "a"}}, Limits{Timeout: time.Second}, func(ctx context.Context, _ Host) (int, error) {
			resume := Suspend(ctx)
			if deadline, ok := ctx.Deadline(); ok {
				t.Errorf("the deadline is at %v", deadline)
			}
			<-ctx.Done()
			resume()
			if ctx.Err() != context.Canceled {
				t.Errorf("it ended with %v", ctx.Err())
			}
			return 0, context.Cause(ctx)
		})
		if results[0].Err != because {
			t.Errorf("error %v", results[0].Err)
		}
		Suspend(t.Context())()
	})
}
