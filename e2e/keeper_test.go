package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// keeperEnv is in the environment of a server that a keeper started.
const keeperEnv = "KITA_KEEPER=3"

// server is the PID of the process that serves, or 0 while there is none. A
// server without a keeper is what the test itself has started.
func (in *instance) server() int {
	keeper := in.cmd.Process.Pid
	if pid := serverBelow(keeper); pid != 0 {
		return pid
	}
	// What was started may be a program that has started the keeper.
	for _, below := range childrenOf(keeper) {
		if pid := serverBelow(below); pid != 0 {
			return pid
		}
	}
	if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", keeper)); strings.Contains(string(line), "--no-keeper") {
		return keeper
	}
	return 0
}

func serverBelow(keeper int) int {
	for _, pid := range childrenOf(keeper) {
		if slices.ContainsFunc(environOf(pid), func(entry []byte) bool { return string(entry) == keeperEnv }) {
			return pid
		}
	}
	return 0
}

// childrenOf are the PIDs whose parent is pid.
func childrenOf(pid int) []int {
	var pids []int
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue
		}
		for _, word := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(word); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// openServer opens a pidfd on the server, so that its number cannot come to
// mean another process.
func (in *instance) openServer() (fd, pid int, err error) {
	pid = in.server()
	if pid == 0 {
		return 0, 0, errors.New("there is no server")
	}
	if fd, err = unix.PidfdOpen(pid, 0); err != nil {
		return 0, 0, err
	}
	if in.server() != pid {
		unix.Close(fd)
		return 0, 0, errors.New("the server ended just now")
	}
	return fd, pid, nil
}

// killBoth kills the keeper and the server, in this order, so that no other
// server comes. There may be no server: the keeper ends without one.
func (in *instance) killBoth() (status int, err error) {
	fd, _, serverErr := in.openServer()
	if err := in.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		return 0, err
	}
	if serverErr == nil {
		defer unix.Close(fd)
		if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return 0, err
		}
		if err := waitPidfd(fd, patience); err != nil {
			return 0, err
		}
	}
	return in.waitEnd()
}

// killKeeper sends a signal to the keeper only, and waits for the end of both.
func (in *instance) killKeeper(sig syscall.Signal) error {
	fd, _, err := in.openServer()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := in.cmd.Process.Signal(sig); err != nil {
		return err
	}
	if _, err := in.waitEnd(); err != nil {
		return err
	}
	return waitPidfd(fd, patience)
}

// killServer sends a signal to the server only, and waits until another one is
// ready.
func (in *instance) killServer(sig syscall.Signal) error {
	fd, pid, err := in.openServer()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil {
		return err
	}
	if err := waitPidfd(fd, patience); err != nil {
		return err
	}
	return in.awaitServer(pid)
}

// awaitServer waits until a server other than before is ready.
func (in *instance) awaitServer(before int) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for timeout := time.After(patience); ; {
		if now := in.server(); now != 0 && now != before {
			return in.waitReady()
		}
		select {
		case <-tick.C:
		case <-in.done:
			return fmt.Errorf("the keeper ended with %v:\n%s", in.cmd.ProcessState, in.logTail())
		case <-timeout:
			return fmt.Errorf("no server came after PID %d in %v:\n%s", before, patience, in.logTail())
		}
	}
}
