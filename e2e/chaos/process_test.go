package chaos

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

// isMarked tells whether pid is a live process of the instance with the mark.
func isMarked(pid int, mark string) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false
	}
	for entry := range bytes.SplitSeq(text, []byte{0}) {
		if string(entry) == mark {
			return true
		}
	}
	return false
}

// marked are the live processes with the mark.
func marked(mark string) []int {
	var pids []int
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err == nil && isMarked(pid, mark) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// endMarked kills every process with the mark, and says what each was. It looks
// again until there is none: one may have forked meanwhile.
func endMarked(mark string) (left []string, err error) {
	for range 200 {
		pids := marked(mark)
		if len(pids) == 0 {
			return left, nil
		}
		for _, pid := range pids {
			left = append(left, fmt.Sprintf("%d %s", pid, cmdline(pid)))
			if err := signalMarked(pid, mark, unix.SIGKILL); err != nil {
				return left, err
			}
		}
		<-time.After(5 * time.Millisecond)
	}
	return left, fmt.Errorf("processes of %s cannot be ended", mark)
}

// signalMarked sends a signal to pid if that is a process of the instance. The
// mark is looked for once the pidfd is open: from then on the number cannot
// mean another process.
func signalMarked(pid int, mark string, sig unix.Signal) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil // it is gone
	}
	defer unix.Close(fd)
	if !isMarked(pid, mark) {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal %d: %w", pid, err)
	}
	return nil
}

func cmdline(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.TrimSpace(strings.ReplaceAll(string(text), "\x00", " "))
}

// stat is what the harness reads of /proc/PID/stat.
type stat struct {
	state byte
	ppid  int
	// ticks is the processor time used, a hundredth of a second each.
	ticks int
	// start is when it began, since the boot, in the same unit.
	start int
}

func statOf(pid int) (s stat, ok bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return s, false
	}
	// The name may hold anything, so what follows its last parenthesis counts.
	_, after, _ := strings.Cut(string(text[bytes.LastIndexByte(text, ')'):]), " ")
	fields := strings.Fields(after)
	if len(fields) < 20 {
		return s, false
	}
	s.state = fields[0][0]
	s.ppid, _ = strconv.Atoi(fields[1])
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	s.ticks = user + system
	s.start, _ = strconv.Atoi(fields[19])
	return s, true
}

// zombiesOf are the zombies whose parent is pid.
func zombiesOf(pid int) []int {
	var zombies []int
	for _, child := range childrenOf(pid) {
		// A process whose main thread has ended is no zombie.
		if s, ok := statOf(child); ok && s.state == 'Z' && !isThreaded(child) {
			zombies = append(zombies, child)
		}
	}
	return zombies
}

// age is how long ago a process began, to a hundredth of a second.
func age(pid int) (time.Duration, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0, err
	}
	s, ok := statOf(pid)
	if !ok {
		return 0, fmt.Errorf("no process %d", pid)
	}
	return time.Duration(now.Nano()) - time.Duration(s.start)*10*time.Millisecond, nil
}

func isThreaded(pid int) bool {
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return len(tasks) > 1
}

// cost is what a process holds.
type cost struct{ descriptors, threads int }

func costOf(pid int) cost {
	fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return cost{len(fds), len(tasks)}
}

// spare is how many descriptors and threads more than at the beginning are no
// leak: children that lived less long then, and the threads that Go starts as it
// likes.
const spare = 12

// above tells whether c is more than what was there before explains.
func (c cost) above(was cost) bool {
	return c.descriptors > was.descriptors+spare || c.threads > was.threads+spare
}

func (c cost) String() string { return fmt.Sprintf("%d fds %d threads", c.descriptors, c.threads) }

// processorTime is what the processes have used by now.
func processorTime(pids ...int) time.Duration {
	ticks := 0
	for _, pid := range pids {
		if s, ok := statOf(pid); ok {
			ticks += s.ticks
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
