package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"kita/control"
	"kita/control/fleet"
)

// showing is how the answers of one command are told.
type showing[T any] struct {
	// text prints one answer, every line after a prefix.
	text func(w io.Writer, answer T, prefix string) error
	// data is what json and yaml have of an answer; nil: all of it.
	data func(T) any
	// judge is the exit status of an answer; nil: exitOK.
	judge func(T) int
	// warnings are what is said of an answer on stderr; nil: nothing.
	warnings func(T) []string
}

// fanOut asks every host of r with fn and shows each answer, in the order of
// the hosts, as soon as it and all before it are there. The error is nil or has
// the worst status; who failed and why has been said.
//
// A first Ctrl-C, or SIGTERM, ends the waits and asks no further host, a second one
// ends the program. For one host alone the first one does, but where something is
// waited for: there it is said what the server goes on with.
func fanOut[T any](ctx context.Context, p *program, r request, show showing[T], fn func(context.Context, *control.Client) (T, error)) error {
	return fanOutHosts(ctx, p, r, show, asking(p, r, fn))
}

// fanOutHosts is fanOut for what is not asked through a client.
func fanOutHosts[T any](ctx context.Context, p *program, r request, show showing[T], fn func(context.Context, fleet.Host) (T, error)) error {
	if len(r.hosts) > 1 || r.wait.given() && p.through == nil {
		var stop func(error)
		ctx, stop = interruptible(ctx, heeded(os.Interrupt, syscall.SIGTERM)...)
		defer stop(nil)
		fn = stopping(fn, stop)
	}
	progress := p.startProgress(len(r.hosts))
	defer progress.end()
	var (
		out    = newEncoder(p.out, r)
		told   = newSummary(r)
		status = exitOK
		// waiting are the answers that came before their turn.
		waiting = map[int]fleet.Result[T]{}
		next    = 0
	)
	for at, result := range fleet.Stream(ctx, r.hosts, r.limits(), fn) {
		progress.count(r.statusOf(result.Err) != exitOK)
		waiting[at] = result
		for result, there := waiting[next]; there; result, there = waiting[next] {
			delete(waiting, next)
			next++
			text, err := encodeResult(r, show, out, result)
			if err != nil {
				// The other hosts are asked all the same.
				result.Err = err
				text, _ = out.encode(result.Host, nil, err)
			}
			s := r.statusOf(result.Err)
			if result.Err == nil && show.judge != nil {
				s = show.judge(result.Value)
			}
			status = worst(status, s)
			told.add(result.Host, s, result.Err)
			err = out.add(text)
			if err == nil {
				err = showResult(p, r, show, result)
			}
			if err != nil {
				return fmt.Errorf("write the answer: %w", err)
			}
		}
	}
	progress.end()
	if err := out.end(); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	if line := told.line(); line != "" {
		p.notice(line)
	}
	return withStatus(status)
}

// encodeResult is the answer of one host as JSON or YAML, or what stands for it;
// nil where text is asked for.
func encodeResult[T any](r request, show showing[T], out *encoder, result fleet.Result[T]) ([]byte, error) {
	if r.format != formatJSON && r.format != formatYAML {
		return nil, nil
	}
	var data any = result.Value
	if show.data != nil && result.Err == nil {
		data = show.data(result.Value)
	}
	return out.encode(result.Host, data, result.Err)
}

// tellFailure prints what stands for the answers of all hosts where none could be
// asked, as JSON or YAML if that is wanted.
func (p *program) tellFailure(r request, failed error) {
	// That nobody reads it changes nothing of what has failed.
	if r.lines {
		for _, h := range r.hosts {
			_, _ = p.out.Write(failureLine(r, h, failed))
		}
		return
	}
	out := newEncoder(p.out, r)
	for _, h := range r.hosts {
		if text, err := encodeResult(r, showing[any]{}, out, fleet.Result[any]{Host: h, Err: failed}); err == nil {
			_ = out.add(text)
		}
	}
	_ = out.end()
}

// showResult prints the answer of one host as text, or why there is none.
func showResult[T any](p *program, r request, show showing[T], result fleet.Result[T]) error {
	host := label(r, result.Host)
	if result.Err == nil && (r.format == formatText || r.format == formatWide) {
		prefix := ""
		if host != "" {
			prefix = host + ": "
		}
		if err := show.text(p.out, result.Value, prefix); err != nil {
			return err
		}
	}
	var old *oldAnswer
	if errors.As(result.Err, &old) {
		return writeOldAnswer(p.out, result.Host, old.text)
	}
	if result.Err != nil {
		p.complainOf(host, result.Err)
	} else if show.warnings != nil {
		for _, warning := range show.warnings(result.Value) {
			p.complainOf(host, errors.New("warning: "+warning))
		}
	}
	return nil
}

// errCtrlC is what Ctrl-C does to a command.
var errCtrlC = errors.New("the command was interrupted")

// stopping is fn, which stops everything at a Ctrl-C in answer to a question:
// there it is no signal.
func stopping[T any](fn func(context.Context, fleet.Host) (T, error), stop func(error)) func(context.Context, fleet.Host) (T, error) {
	return func(ctx context.Context, h fleet.Host) (T, error) {
		value, err := fn(ctx, h)
		if errors.Is(err, errInterrupted) {
			stop(errCtrlC)
		}
		return value, err
	}
}

// interruptible ends ctx at the first of these signals, of which os.Interrupt is
// Ctrl-C. From then on a further one has its usual effect. So does stop, for another
// cause.
func interruptible(ctx context.Context, by ...os.Signal) (_ context.Context, stop func(cause error)) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	for _, sig := range by {
		signal.Notify(signals, sig)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-signals:
			signal.Stop(signals)
			cancel(errCtrlC)
		case <-ctx.Done():
		}
	}()
	return ctx, func(cause error) {
		signal.Stop(signals)
		cancel(cause)
		<-done
	}
}

// heeded are those of the signals that are not ignored, as Ctrl-C is in what a script
// has put into the background.
func heeded(signals ...os.Signal) []os.Signal { return slices.DeleteFunc(signals, signal.Ignored) }
