package cgroup

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// signalRounds bounds how often Signal looks for processes that began while it
// worked.
const signalRounds = 20

// PIDs are the live processes in l and in the groups that the child made below
// it, sorted. A group that is gone has none. Processes that this process's PID
// namespace does not show are left out.
func (l *Leaf) PIDs() ([]int, error) {
	var pids []int
	var errs []error
	for _, d := range l.dirs {
		errs = append(errs, d.walk(func(path string) error {
			found, err := readPIDs(path)
			pids = append(pids, found...)
			return err
		}))
	}
	slices.Sort(pids)
	return slices.Compact(pids), errors.Join(errs...)
}

func readPIDs(path string) ([]int, error) {
	text, err := readFile(path, "cgroup.procs")
	switch {
	// A threaded group lists its processes in the domain above it.
	case gone(err), errors.Is(err, unix.EOPNOTSUPP):
		return nil, nil
	case err != nil:
		return nil, err
	}
	var pids []int
	for line := range strings.Lines(string(text)) {
		pid, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			return nil, fmt.Errorf("%s/cgroup.procs: %w", path, err)
		}
		if pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// Empty tells that nothing lives in l or below it. Zombies do not count.
func (l *Leaf) Empty() (bool, error) {
	for _, d := range l.dirs {
		if empty, err := d.empty(); err != nil || !empty {
			return false, err
		}
	}
	return true, nil
}

func (d dir) empty() (bool, error) {
	if d.v2 {
		populated, err := readKey(d.path, "cgroup.events", "populated")
		if gone(err) {
			return true, nil
		}
		return err == nil && populated == 0, err
	}
	lives := false
	err := d.walk(func(path string) error {
		pids, err := readPIDs(path)
		lives = lives || len(pids) > 0
		return err
	})
	return err == nil && !lives, err
}

// Others tells whether something may live in l or below it beside the process pid,
// whose number must be its own still. It costs a fraction of PIDs.
func (l *Leaf) Others(pid int) bool {
	for _, d := range l.dirs {
		var buf [64]byte
		text, err := readInto(buf[:], d.path, "cgroup.procs")
		if gone(err) {
			continue
		}
		if err != nil || len(text) > 0 && !isLine(text, pid) {
			return true
		}
		// After the look at the processes: what moves below from then on was
		// among them.
		var stat unix.Stat_t
		if err := unix.Lstat(d.path, &stat); !gone(err) && (err != nil || stat.Nlink != childless) {
			return true
		}
	}
	return false
}

// isLine tells whether text is the line of a number.
func isLine(text []byte, n int) bool {
	var buf [20]byte
	line := append(strconv.AppendInt(buf[:0], int64(n), 10), '\n')
	return string(text) == string(line)
}

// Signal sends sig to every process in l and below it, and again to those that
// began meanwhile, a bounded number of times. No process outside is hit, even
// where a PID is used anew.
func (l *Leaf) Signal(sig syscall.Signal) error {
	sent := map[int]bool{}
	var errs []error
	for range signalRounds {
		pids, err := l.PIDs()
		if err != nil {
			return err
		}
		fresh := false
		for _, pid := range pids {
			if !sent[pid] {
				fresh, sent[pid] = true, true
				errs = append(errs, l.signalOne(pid, sig))
			}
		}
		if !fresh {
			break
		}
	}
	return errors.Join(errs...)
}

// signalOne looks where the process is only once a descriptor pins it.
func (l *Leaf) signalOne(pid int, sig syscall.Signal) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	pinned := err == nil
	if pinned {
		defer unix.Close(fd)
	}
	group, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil || !inLeaf(string(group), l.tree.id, l.name) {
		return nil
	}
	if pinned {
		err = unix.PidfdSendSignal(fd, sig, nil, 0)
	} else {
		// Out of descriptors, or before Linux 5.3.
		err = unix.Kill(pid, sig)
	}
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal %d to process %d: %w", sig, pid, err)
	}
	return nil
}
