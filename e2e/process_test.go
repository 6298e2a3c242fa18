package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// environOf returns the environment of a process; nil of one that is dead, a
// zombie or not ours to see.
func environOf(pid int) [][]byte {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil || len(text) == 0 {
		return nil
	}
	return bytes.Split(text, []byte{0})
}

// isMarked tells whether pid is a server below a keeper, or a child's process,
// of the instance with mark.
func isMarked(pid int, mark string) bool {
	child, marked := false, false
	for _, entry := range environOf(pid) {
		child = child || bytes.HasPrefix(entry, []byte("KITA_CHILD=")) || string(entry) == keeperEnv
		marked = marked || string(entry) == "KITA_E2E="+mark
	}
	return child && marked
}

func marked(mark string) []int {
	var pids []int
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err == nil && pid != os.Getpid() && isMarked(pid, mark) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// endMarked kills every process of the instance and says what each was. It
// looks again until there is none: one may have forked meanwhile.
func endMarked(mark string) (left []string, err error) {
	for range 100 {
		pids := marked(mark)
		if len(pids) == 0 {
			return left, nil
		}
		for _, pid := range pids {
			line, killErr := killMarked(pid, mark)
			if killErr != nil {
				err = errors.Join(err, killErr)
			}
			if line != "" {
				left = append(left, line)
			}
		}
	}
	return left, errors.Join(err, fmt.Errorf("processes of %s cannot be ended", mark))
}

// killMarked kills pid and waits for its end. The mark is looked for again once
// the pidfd is open: from then on the number cannot mean another process.
func killMarked(pid int, mark string) (line string, err error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return "", nil // it is gone
	}
	defer unix.Close(fd)
	if !isMarked(pid, mark) {
		return "", nil
	}
	cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	line = fmt.Sprintf("%d %s", pid, strings.TrimSpace(strings.ReplaceAll(string(cmdline), "\x00", " ")))
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return line, fmt.Errorf("kill %s: %w", line, err)
	}
	return line, waitPidfd(fd, 10*time.Second)
}

func waitPidfd(fd int, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return fmt.Errorf("a process has not ended after %v", limit)
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if n > 0 {
			return nil
		}
	}
}

// isAlive tells whether pid is a live process of the instance.
func (in *instance) isAlive(pid int) bool { return isMarked(pid, in.mark) }

// awaitDeath waits until pid is no live process of the instance.
func (in *instance) awaitDeath(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	if !in.isAlive(pid) {
		return nil
	}
	return waitPidfd(fd, patience)
}
