package runtime

import (
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

// reap takes the zombie of a child away; its PID is free afterwards.
func reap(pidfd int) { waitid(pidfd, 0) }

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
func exitOfStranger(pidfd int, incarnation uint64) (e spec.Exit, settled bool) {
	e = spec.Exit{Incarnation: incarnation, At: time.Now()}
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(pidfd), unix.PIDFD_GET_INFO, uintptr(unsafe.Pointer(&info)))
	if errno == unix.ESRCH {
		// Reaped, and the kernel keeps no exit status: it is older than 6.15.
		return e, true
	}
	if errno != 0 {
		return e, true
	}
	if info.Mask&unix.PIDFD_INFO_EXIT == 0 {
		return e, false
	}
	ws := unix.WaitStatus(info.Exit_code)
	e.Known = true
	if ws.Signaled() {
		e.Signal = spec.Signal(ws.Signal())
		e.CoreDumped = ws.CoreDump()
	} else {
		e.Code = ws.ExitStatus()
	}
	return e, true
}
