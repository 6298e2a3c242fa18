package runtime

import (
	"errors"
	"os"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// siginfoChild is siginfo_t as waitid(2) fills it for SIGCHLD. The layout is
// that of include/uapi/asm-generic/siginfo.h: the union is aligned like a
// pointer. (MIPS swaps errno and code, neither of which is common there to
// need support here.)
type siginfoChild struct {
	signo  int32
	errno  int32
	code   int32
	_      [unsafe.Sizeof(uintptr(0))/4 - 1]int32
	pid    int32
	uid    uint32
	status int32
	_      [128]byte // more than siginfo_t's 128 bytes in all
}

// Values of si_code for SIGCHLD, from include/uapi/asm-generic/siginfo.h.
const (
	cldExited = 1
	cldKilled = 2
	cldDumped = 3
)

// waitid asks for the end of the process behind pidfd, never waiting for it.
// mine is false if that is not a child of this process. The information is
// zero while the child lives.
func waitid(pidfd, flags int) (info siginfoChild, mine bool) {
	for {
		info = siginfoChild{}
		err := unix.Waitid(unix.P_PIDFD, pidfd, (*unix.Siginfo)(unsafe.Pointer(&info)),
			unix.WEXITED|unix.WNOHANG|flags, nil)
		if err != unix.EINTR {
			// EAGAIN is the answer of a non-blocking pidfd.
			return info, err == nil || err == unix.EAGAIN
		}
	}
}

// peek looks at the end of a child without reaping it.
func peek(pidfd int) (info siginfoChild, mine bool) { return waitid(pidfd, unix.WNOWAIT) }

// exit translates what waitid said.
func (s siginfoChild) exit(incarnation uint64) spec.Exit {
	e := spec.Exit{Incarnation: incarnation, Known: true, At: time.Now()}
	switch s.code {
	case cldExited:
		e.Code = int(s.status)
	case cldKilled, cldDumped:
		e.Signal = spec.Signal(s.status)
		e.CoreDumped = s.code == cldDumped
	default:
		e.Known = false
	}
	return e
}

// exitOfStranger asks a pidfd how its process, not a child of this one, ended.
// settled is false when the kernel may know later: it does once the process
// has been reaped by its parent. The ioctl and its structure are those of
// include/uapi/linux/pidfd.h; PIDFD_INFO_EXIT came with Linux 6.15. The kernel
// takes the structure's size from the request and fills what it knows.
func exitOfStranger(pidfd, pid int, incarnation uint64) (e spec.Exit, settled bool) {
	e = spec.Exit{Incarnation: incarnation, At: time.Now()}
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(pidfd), unix.PIDFD_GET_INFO, uintptr(unsafe.Pointer(&info)))
	if errno == 0 && info.Mask&unix.PIDFD_INFO_EXIT != 0 {
		return exitOf(unix.WaitStatus(info.Exit_code), e), true
	}
	if ws, ok := statusOfZombie(pidfd, pid); ok {
		return exitOf(ws, e), true
	}
	// An error means that the kernel will not know later either: it has no such
	// ioctl, or the process has been reaped and it kept nothing (ESRCH).
	return e, errno != 0
}

func exitOf(ws unix.WaitStatus, e spec.Exit) spec.Exit {
	e.Known = true
	if ws.Signaled() {
		e.Signal = spec.Signal(ws.Signal())
		e.CoreDumped = ws.CoreDump()
	} else {
		e.Code = ws.ExitStatus()
	}
	return e
}

// statusOfZombie reads the wait status of a stranger whose parent has not
// reaped it yet; some that orphans come to take seconds.
func statusOfZombie(pidfd, pid int) (ws unix.WaitStatus, ok bool) {
	if !mayReadExit(pid) {
		return 0, false
	}
	st, err := readStat(pid)
	if err != nil || st.state != 'Z' {
		return 0, false
	}
	// Only if it has not been reaped by now was that PID its own.
	if err := unix.PidfdSendSignal(pidfd, 0, nil, 0); err == unix.ESRCH {
		return 0, false
	}
	return unix.WaitStatus(st.exitCode), true
}

// mayReadExit tells whether this process may know how a zombie ended. The kernel
// shows 0 to those who may not; the link of a zombie's executable is missing for
// those who may, and forbidden for the others.
func mayReadExit(pid int) bool {
	_, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
	return errors.Is(err, unix.ENOENT)
}
