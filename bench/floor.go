//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// loop is the bare Go loop, bench/bareloop, with stampers for its processes.
type loop struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *bufio.Scanner
	stamps  *stamps
}

func (w *world) bareLoop() (*loop, error) {
	marks, err := newStamps(w.stampPath())
	if err != nil {
		return nil, err
	}
	l := &loop{cmd: exec.Command(w.bin("bareloop"), w.bin("stamp"), marks.path), stamps: marks}
	l.cmd.Stderr = os.Stderr
	l.cmd.SysProcAttr = ownGroup()
	out, err := l.cmd.StdoutPipe()
	if err == nil {
		l.in, err = l.cmd.StdinPipe()
	}
	if err == nil {
		err = l.cmd.Start()
	}
	if err != nil {
		marks.close()
		return nil, err
	}
	l.answers = bufio.NewScanner(out)
	return l, nil
}

// start has n processes spawned, and returns how long it took until the last of
// them began.
func (l *loop) start(ctx context.Context, n int) (time.Duration, []stamp, error) {
	if err := l.stamps.clear(); err != nil {
		return 0, nil, err
	}
	begin := now()
	if err := l.do(fmt.Sprintf("start %d", n)); err != nil {
		return 0, nil, err
	}
	all, err := l.stamps.await(ctx, n)
	if err != nil {
		return 0, nil, fmt.Errorf("the bare loop: %w", err)
	}
	return latest(all) - begin, all, nil
}

// stop has all processes ended and reaped, and returns how long it took.
func (l *loop) stop() (time.Duration, error) {
	begin := now()
	err := l.do("stop")
	return now() - begin, err
}

func (l *loop) do(command string) error {
	if _, err := fmt.Fprintln(l.in, command); err != nil {
		return fmt.Errorf("the bare loop: %w", err)
	}
	if !l.answers.Scan() {
		return errors.Join(errors.New("the bare loop has ended"), l.answers.Err())
	}
	return nil
}

// end ends the loop and its processes.
func (l *loop) end() {
	_ = l.in.Close()
	_ = l.cmd.Wait()
	l.stamps.close()
}

// stampPath is a new file in memory where that is to be had: what is written to
// it is not to wait for the disk that kita syncs its state to.
func (w *world) stampPath() string {
	w.files++
	return filepath.Join(w.memory, fmt.Sprintf("stamps%d", w.files))
}
