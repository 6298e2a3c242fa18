package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// lastSignal is _NSIG of the kernel.
const lastSignal = 64

// catchIgnored catches, and drops, SIGPIPE and what this process was born with as
// ignored: children would inherit that, and each of them would have to be executed
// by way of the launch shim. A broken pipe on stderr, where the log goes, does not
// end the server.
//
// A shell ignores SIGINT and SIGQUIT for what it starts in the background, nohup
// SIGHUP, and make and all else that starts programs with posix_spawn(3) of glibc
// the signal 32, which is the C library's own. Go does not catch that one: it is at
// its default from here on.
func catchIgnored() {
	dropped := make(chan os.Signal, 1)
	signal.Notify(dropped, syscall.SIGPIPE)
	// struct sigaction of the kernel begins with the handler; zero is SIG_DFL
	// with no flags. This is longer than it is on any architecture.
	var action, standard [16]uintptr
	const setSize = 8 // of sigset_t in the kernel
	sigaction := func(sig syscall.Signal, set, get *[16]uintptr) syscall.Errno {
		_, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig),
			uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(get)), setSize, 0, 0)
		return errno
	}
	const sigIgn = 1 // SIG_IGN
	for sig := syscall.Signal(1); sig <= lastSignal; sig++ {
		if sigaction(sig, nil, &action) != 0 || action[0] != sigIgn {
			continue
		}
		signal.Notify(dropped, sig)
		if sigaction(sig, nil, &action) == 0 && action[0] == sigIgn {
			sigaction(sig, &standard, nil)
		}
	}
}

// signals are what the server is told by signals, but for TERM and INT, which end
// a context.
type signals struct {
	hangup, upgrade chan os.Signal
	// endAtOnce has TERM and INT do what they do without being caught.
	endAtOnce func()
}

// catchSignals returns the context that TERM and INT end.
func catchSignals(ctx context.Context) (context.Context, signals) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	s := signals{make(chan os.Signal, 1), make(chan os.Signal, 1), stop}
	signal.Notify(s.hangup, syscall.SIGHUP)
	signal.Notify(s.upgrade, syscall.SIGUSR2)
	return ctx, s
}

func (s signals) release() {
	signal.Stop(s.upgrade)
	signal.Stop(s.hangup)
	s.endAtOnce()
}
