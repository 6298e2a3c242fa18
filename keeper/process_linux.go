package keeper

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"kita/runtime/cgroup"
)

// Codes in a child's siginfo_t, asm-generic/siginfo.h.
const (
	cldExited = 1
	cldDumped = 3
)

// siginfo is the beginning of siginfo_t for SIGCHLD on 64-bit Linux.
type siginfo struct {
	signo, errno, code, _ int32
	pid                   int32
	uid                   uint32
	status                int32
}

// peek looks for a child that ended and leaves it a zombie: any child, or the
// one with that pid. status is a wait status as wait(2) has it. ok is false if
// there is none.
func peek(kind, pid int) (ended int, status uint32, ok bool) {
	var info unix.Siginfo
	if err := waitid(kind, pid, &info); err != nil {
		return 0, 0, false
	}
	si := (*siginfo)(unsafe.Pointer(&info))
	return int(si.pid), si.waitStatus(), si.pid != 0
}

// isChild tells whether pid is a child of this process, dead or alive.
func isChild(pid int) bool {
	var info unix.Siginfo
	return waitid(unix.P_PID, pid, &info) == nil
}

func waitid(kind, pid int, info *unix.Siginfo) error {
	for {
		err := unix.Waitid(kind, pid, info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return err
		}
	}
}

// waitStatus is the reverse of what the kernel does in wait_task_zombie.
func (si *siginfo) waitStatus() uint32 {
	switch si.code {
	case cldExited:
		return uint32(si.status&0xff) << 8
	case cldDumped:
		return uint32(si.status&0x7f) | 0x80
	}
	return uint32(si.status & 0x7f)
}

func endOf(status uint32) end {
	ws := unix.WaitStatus(status)
	if ws.Exited() {
		return end{code: ws.ExitStatus()}
	}
	return end{code: -1, signal: int(ws.Signal())}
}

// reap takes a zombie out of the process table.
func reap(pid int) {
	for {
		if _, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); err != unix.EINTR {
			return
		}
	}
}

// stat is what the keeper reads of /proc/PID/stat, see proc_pid_stat(5).
type stat struct {
	command       string
	parent, group int
	flags, start  uint64
}

const (
	// forkNoExec is PF_FORKNOEXEC of linux/sched.h.
	forkNoExec = 0x40
	// shimCommand is what the kernel calls a launch shim: it was executed as
	// /proc/self/exe.
	shimCommand = "exe"
)

// launched tells whether a process that a server forked got as far as its
// command.
func (s stat) launched() bool { return s.flags&forkNoExec == 0 && s.command != shimCommand }

func readStat(pid int) (s stat, err error) {
	text, err := readProc(procFile(pid, "stat"))
	if err != nil {
		return s, err
	}
	// The command, field 2, may hold anything but ends with the last bracket.
	begin, last := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	fields := strings.Fields(string(text[last+1:]))
	if begin < 0 || last < begin || len(fields) < 20 {
		return s, fmt.Errorf("/proc/%d/stat has too few fields", pid)
	}
	s.command = string(text[begin+1 : last])
	if s.parent, err = strconv.Atoi(fields[4-3]); err != nil {
		return s, err
	}
	if s.group, err = strconv.Atoi(fields[5-3]); err != nil {
		return s, err
	}
	if s.flags, err = strconv.ParseUint(fields[9-3], 10, 64); err != nil {
		return s, err
	}
	s.start, err = strconv.ParseUint(fields[22-3], 10, 64)
	return s, err
}

// readProc is os.ReadFile with four system calls in place of eleven. A keeper that
// looks at ten thousand orphans makes hardly any others.
func readProc(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	text := make([]byte, 0, 4096)
	for {
		if len(text) == cap(text) {
			text = append(text, 0)[:len(text)]
		}
		n, err := unix.Read(fd, text[len(text):cap(text)])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		case n == 0:
			return text, nil
		default:
			text = text[:len(text)+n]
		}
	}
}

func procFile(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}

// children are the PIDs of this process's children, dead or alive.
func children() []int {
	// The kernel gives each thread its own; an orphan may go to any of them.
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	if len(lists) == 0 {
		return childrenByParent() // a kernel without CONFIG_PROC_CHILDREN
	}
	var pids []int
	for _, list := range lists {
		text, err := readProc(list)
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

func childrenByParent() (pids []int) {
	self := os.Getpid()
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		if s, err := readStat(pid); err == nil && s.parent == self {
			pids = append(pids, pid)
		}
	}
	return pids
}

// ticksPerSecond is the unit of times in /proc/PID/stat: USER_HZ, 100 on every
// architecture that kita is built for.
const ticksPerSecond = 100

// ticksAgo is the start, as /proc/PID/stat has it, of a process that began that
// long ago.
func ticksAgo(d time.Duration) uint64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0
	}
	since := time.Duration(now.Nano()) - d
	return uint64(max(0, since)) / uint64(time.Second/ticksPerSecond)
}

// run is what a process is to a server.
type run struct {
	server, child string
	incarnation   uint64
}

// runByCgroup reads whose a process is from its cgroup, which a zombie has too.
func runByCgroup(pid int) (run, bool) {
	text, err := readProc(procFile(pid, "cgroup"))
	if err != nil {
		return run{}, false
	}
	server, child, incarnation, ok := cgroup.ParsePath(string(text))
	return run{server, child, incarnation}, ok
}

// runByEnviron reads whose a live process is from the tokens that its server
// gave it.
func runByEnviron(pid int) (r run, ok bool) {
	text, err := readProc(procFile(pid, "environ"))
	if err != nil {
		return r, false
	}
	for entry := range strings.SplitSeq(string(text), "\x00") {
		name, value, _ := strings.Cut(entry, "=")
		switch name {
		case "KITA_SERVER":
			r.server = value
		case "KITA_CHILD":
			r.child = value
		case "KITA_INCARNATION":
			r.incarnation, err = strconv.ParseUint(value, 10, 64)
		}
	}
	return r, err == nil && r.child != "" && r.incarnation != 0
}
