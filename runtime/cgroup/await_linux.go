package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"time"
)

const (
	// looksAgain is when AwaitEmpty looks without having been told to, should
	// the kernel's word get lost.
	looksAgain = 2 * time.Second
	// leastPause and mostPause bound how often AwaitEmpty looks where the
	// kernel tells nothing, as on v1.
	leastPause = 10 * time.Millisecond
	mostPause  = time.Second
)

// AwaitEmpty parks until l is empty. It returns false if done was closed
// first. On cgroup2 the kernel tells, within 10 ms; on v1 and where a file
// cannot be opened AwaitEmpty looks after 10 ms and then ever more seldom, each
// second at last.
func (l *Leaf) AwaitEmpty(done <-chan struct{}) bool {
	for pause := leastPause; ; pause = min(2*pause, mostPause) {
		if empty, err := l.Empty(); err == nil && empty {
			return true
		}
		if d := l.dirs[0]; d.v2 {
			d.awaitEvent(done)
		}
		if empty, err := l.Empty(); err == nil && empty {
			return true
		}
		timer := time.NewTimer(pause)
		select {
		case <-done:
			timer.Stop()
			return false
		case <-timer.C:
		}
	}
}

// awaitEvent parks until nothing lives in a directory of cgroup2, or done is
// closed, or the kernel's word cannot be had.
func (d dir) awaitEvent(done <-chan struct{}) {
	// The kernel wakes whoever polls cgroup.events when it changes, see
	// cgroup-v2.rst, "[Un]populated Notification". Go polls every file that
	// can be polled.
	events, err := os.Open(filepath.Join(d.path, "cgroup.events"))
	if err != nil {
		return
	}
	defer events.Close()
	conn, err := events.SyscallConn()
	if err != nil {
		return
	}
	returned, closed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(closed)
		select {
		case <-done:
			_ = events.SetReadDeadline(time.Unix(1, 0))
		case <-returned:
		}
	}()
	defer func() { close(returned); <-closed }()
	for {
		_ = events.SetReadDeadline(time.Now().Add(looksAgain))
		// Only now, since the line above undoes what the other goroutine set.
		select {
		case <-done:
			return
		default:
		}
		over := false
		err := conn.Read(func(uintptr) bool {
			empty, err := d.empty()
			over = err != nil || empty
			return over
		})
		if over || !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
}
