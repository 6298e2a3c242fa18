package main

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// errReaderGone is that nobody reads the output any more, as after `| head`.
var errReaderGone = errors.New("the reader of the output has left")

// whileRead ends ctx with errReaderGone when out is a pipe whose reader leaves.
// The next write would say so as well, but what is followed may be silent for
// long. stop gives back what belongs to it.
func whileRead(ctx context.Context, out io.Writer) (_ context.Context, stop func()) {
	f, ok := out.(*os.File)
	if !ok {
		return ctx, func() {}
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		return ctx, func() {}
	}
	stopping, stopped, err := os.Pipe()
	if err != nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if isLeft(int32(f.Fd()), int32(stopping.Fd())) {
			cancel(errReaderGone)
		}
	}()
	return ctx, func() {
		_ = stopped.Close()
		<-done
		_ = stopping.Close()
		cancel(nil)
	}
}

// isLeft waits until the reader of a pipe has left, or until the other pipe is
// closed, and tells which.
func isLeft(pipe, stopping int32) bool {
	for {
		// No event is asked for: an error and an end are told of always.
		fds := []unix.PollFd{{Fd: pipe}, {Fd: stopping}}
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil, fds[1].Revents != 0:
			return false
		case fds[0].Revents != 0:
			return true
		}
	}
}
