package runtime

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"kita/failpoint"
	"kita/runtime/cgroup"
	"kita/spec"
)

// killPatience is how long a process that must not live on may take to die.
const killPatience = 10 * time.Second

// launch starts the process of c and takes its identity before anybody can
// reap it.
func (h *Host) launch(c *spec.Child, incarnation uint64) (*process, spec.Launch, error) {
	o, err := h.prepare(c, incarnation)
	if err != nil {
		return nil, spec.Launch{}, err
	}
	defer o.streams.close()
	var warnings []string
	o.leaf, warnings, err = h.makeLeaf(c, incarnation)
	if err != nil {
		return nil, spec.Launch{}, err
	}
	p, id, err := h.launchOrder(c, incarnation, o)
	if o.leaf != nil {
		o.leaf.Release()
	}
	if err != nil {
		h.removeLeaf(o.leaf)
		return nil, spec.Launch{}, err
	}
	l := spec.Launch{Identity: id, Warnings: warnings, Outputs: o.streams.outs}
	if o.leaf != nil {
		l.Cgroup = o.leaf.Path()
	}
	o.streams.discard = nil
	h.outputs.attach(c.Name, l, c)
	return p, l, nil
}

func (h *Host) makeLeaf(c *spec.Child, incarnation uint64) (*cgroup.Leaf, []string, error) {
	switch {
	case h.cgroups != nil:
		return h.cgroups.Make(c.Name, incarnation, c.Resources)
	case c.Resources != spec.Resources{}:
		return nil, []string{"limits.memory, cpu and tasks are not in force: the server has no cgroups"}, nil
	}
	return nil, nil, nil
}

// launchOrder forks, and identifies what came of it.
func (h *Host) launchOrder(c *spec.Child, incarnation uint64, o *order) (*process, spec.Identity, error) {
	spares, err := reserveDescriptors()
	if err != nil {
		return nil, spec.Identity{}, fmt.Errorf("fork for %s: %w", o.path, err)
	}
	before := nanosNow()
	var pid int
	if o.needsShim(c) || h.oddSignals() {
		pid, err = h.runShim(o, c)
	} else {
		pid, err = h.run(o)
	}
	after := nanosNow()
	spares.release()
	if err != nil {
		return nil, spec.Identity{}, err
	}
	failpoint.Hit(failpoint.Fork)
	p, err := h.takeOver(c.Name, incarnation, o.leaf, pid, ticksBetween(before, after))
	if err != nil {
		return nil, spec.Identity{}, fmt.Errorf("identify PID %d: %w", pid, err)
	}
	return p, p.id, nil
}

// reserved are descriptors that keep places for others.
type reserved [2]int

// reserveDescriptors keeps places for a pidfd and for a look at /proc, so that
// want of descriptors shows before there is a process.
func reserveDescriptors() (r reserved, err error) {
	for i := range r {
		// Of stderr, which is always open: Go sees to that.
		if r[i], err = unix.FcntlInt(2, unix.F_DUPFD_CLOEXEC, 3); err != nil {
			for _, fd := range r[:i] {
				unix.Close(fd)
			}
			return r, os.NewSyscallError("fcntl", err)
		}
	}
	return r, nil
}

func (r reserved) release() {
	for _, fd := range r {
		unix.Close(fd)
	}
}

// takeOver makes a process of a fresh child, which nobody else reaps. It is
// destroyed where that cannot be. ticks is when it began, 0 where that is to be
// looked up.
func (h *Host) takeOver(child string, incarnation uint64, leaf *cgroup.Leaf, pid int, ticks uint64) (*process, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ENOSYS {
		err = errors.New("this kernel has no pidfds, kita needs Linux 5.4")
	}
	if err != nil {
		return nil, errors.Join(err, destroy(pid))
	}
	id, err := identifyFresh(fd, pid, incarnation, ticks)
	if err != nil {
		unix.Close(fd)
		return nil, errors.Join(err, destroy(pid))
	}
	return h.newProcess(child, id, leaf, fd), nil
}

// run forks and executes directly.
func (h *Host) run(o *order) (pid int, err error) {
	pid, err = h.forkers.start(o.path, o.argv, &syscall.ProcAttr{
		Dir:   o.dir,
		Env:   o.env,
		Files: o.files(),
		Sys:   o.intoCgroup(&syscall.SysProcAttr{Setpgid: true, Credential: o.as.credential()}),
	})
	if err != nil {
		return 0, o.explain(err)
	}
	return pid, nil
}

// destroy kills and reaps a process of ours that was launched but cannot be
// watched. What it was to run may have begun.
func destroy(pid int) error {
	unix.Kill(-pid, unix.SIGKILL)
	unix.Kill(pid, unix.SIGKILL)
	if fd, err := unix.PidfdOpen(pid, 0); err == nil {
		defer unix.Close(fd)
		if !dies(fd) {
			return fmt.Errorf("PID %d does not die of SIGKILL", pid)
		}
	}
	for {
		if _, err := unix.Wait4(pid, nil, 0, nil); err != unix.EINTR {
			return nil
		}
	}
}

// dies waits for the end of a process that was killed, for killPatience at most.
func dies(pidfd int) bool {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	deadline := time.Now().Add(killPatience)
	for {
		n, err := unix.Poll(fds, int(max(0, time.Until(deadline).Milliseconds())))
		if err != unix.EINTR {
			return n > 0
		}
	}
}

// hideDescriptors marks every descriptor from 3 on close-on-exec.
func hideDescriptors() error {
	err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	if err != unix.ENOSYS && err != unix.EINVAL {
		return err
	}
	// Before Linux 5.11.
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}
