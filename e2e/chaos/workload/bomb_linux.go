package main

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// bomb forks wherever it can, in every process that it has forked: what is
// killed is replaced while one of them lives. After so many forks in all they
// only wait, so that a bomb that nobody stops goes quiet by itself. How many
// live at once is for a control group to bound.
//
// The processes are copies of this one with a single thread and no Go
// scheduler. They may make system calls and nothing else.
func bomb(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("give the number of forks")
	}
	most, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil || most > 50_000 {
		return fmt.Errorf("%q is no number of forks, or is above 50000", args[0])
	}
	// It ignores what it can, as a bomb would.
	signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
	shared, err := syscall.Mmap(-1, 0, os.Getpagesize(), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED|syscall.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	explode((*int64)(unsafe.Pointer(&shared[0])), most)
	return nil
}

// explode never returns. Every second process leaves the group and session. Who
// may not fork tries again after 1, 2, 4 and then 8 s, as bash does: a refused
// fork costs the kernel nearly as much as one that succeeds, and the harm of this
// bomb is to be its tasks, and not that nobody else gets the processor.
//
//go:norace
func explode(forks *int64, most int64) {
	pause := syscall.Timespec{Sec: 1}
	for {
		if n := atomic.AddInt64(forks, 1); n <= most {
			pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
			if errno == 0 && pid == 0 && n%2 == 0 {
				syscall.RawSyscall(syscall.SYS_SETSID, 0, 0, 0)
			}
			if errno == 0 {
				pause.Sec = 1
				continue
			}
			atomic.AddInt64(forks, -1) // it was none
		} else {
			atomic.AddInt64(forks, -1)
		}
		syscall.RawSyscall(syscall.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&pause)), 0, 0)
		pause.Sec = min(2*pause.Sec, 8)
	}
}
