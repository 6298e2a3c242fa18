package runtime

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	goruntime "runtime"
	"runtime/debug"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"kita/runtime/pump"
)

// What the launch shim does, in a process of its own.

// Main must be the first call of main and of TestMain: if this process is the
// launch shim or the pump, it does that work and never returns.
func Main() {
	pump.Main()
	if len(os.Args) != 1 || os.Args[0] != shimName {
		hasMain.Store(true)
		return
	}
	// Nice and the user ids belong to a thread, and the thread that calls
	// execve is the one that stays.
	goruntime.LockOSThread()
	// A small limit on memory is in force between setrlimit and execve.
	debug.SetGCPercent(-1)
	unix.CloseOnExec(shimPlanFD)
	unix.CloseOnExec(shimReportFD)
	var plan shimPlan
	if err := readPlan(&plan); err != nil {
		fmt.Fprintf(os.Stderr, "%s is started by the server of kita only: %v\n", shimName, err)
		os.Exit(127)
	}
	report := make([]byte, 1+binary.Size(shimReport{}))
	report[0] = shimReady
	if _, err := unix.Write(shimReportFD, report[:1]); err != nil {
		os.Exit(127)
	}
	r := plan.execute()
	if _, err := binary.Encode(report, binary.NativeEndian, r); err == nil {
		unix.Write(shimReportFD, report[:len(report)-1])
	}
	os.Exit(127)
}

func readPlan(plan *shimPlan) error {
	f := os.NewFile(shimPlanFD, "plan")
	if f == nil {
		return unix.EBADF
	}
	defer f.Close()
	return json.NewDecoder(f).Decode(plan)
}

// execute becomes the command. It returns only what kept it from that.
func (p *shimPlan) execute() shimReport {
	fail := func(step shimStep, index int, err error) shimReport {
		var errno syscall.Errno
		errors.As(err, &errno)
		return shimReport{uint32(step), uint32(index), uint32(errno)}
	}
	argv, env := toStrings(p.Argv), toStrings(p.Env)
	defaultSignals()
	for i, file := range p.Join {
		if err := os.WriteFile(file, []byte("0"), 0); err != nil {
			return fail(stepJoin, i, err)
		}
	}
	if p.Nice != nil {
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, *p.Nice); err != nil {
			return fail(stepNice, 0, err)
		}
	}
	if p.Umask != nil {
		unix.Umask(int(*p.Umask))
	}
	for i, l := range p.Limits {
		// syscall's and not another package's: it makes Go forget the limit of
		// open files that it would put back before the exec.
		if err := syscall.Setrlimit(l.Resource, &syscall.Rlimit{Cur: l.Soft, Max: l.Hard}); err != nil {
			return fail(stepLimit, i, err)
		}
	}
	if p.Cred != nil {
		if step, err := setCredential(p.Cred); err != nil {
			return fail(step, 0, err)
		}
	}
	if len(p.Dir) > 0 {
		if err := unix.Chdir(string(p.Dir)); err != nil {
			return fail(stepChdir, 0, err)
		}
	}
	return fail(stepExec, 0, syscall.Exec(string(p.Path), argv, env))
}

func toBytes(texts []string) [][]byte {
	all := make([][]byte, len(texts))
	for i, text := range texts {
		all[i] = []byte(text)
	}
	return all
}

func toStrings(texts [][]byte) []string {
	all := make([]string, len(texts))
	for i, text := range texts {
		all[i] = string(text)
	}
	return all
}

// setCredential changes the ids of this thread only, the one that goes on after
// execve: if the shim's other threads counted against RLIMIT_NPROC of the new
// user, a small limit would refuse the exec.
func setCredential(c *syscall.Credential) (shimStep, error) {
	if !c.NoSetGroups {
		var first unsafe.Pointer
		if len(c.Groups) > 0 {
			first = unsafe.Pointer(&c.Groups[0])
		}
		if _, _, errno := syscall.RawSyscall(sysSetgroups, uintptr(len(c.Groups)), uintptr(first), 0); errno != 0 {
			return stepSetgroups, errno
		}
	}
	if _, _, errno := syscall.RawSyscall(sysSetgid, uintptr(c.Gid), 0, 0); errno != 0 {
		return stepSetgid, errno
	}
	if _, _, errno := syscall.RawSyscall(sysSetuid, uintptr(c.Uid), 0, 0); errno != 0 {
		return stepSetuid, errno
	}
	return 0, nil
}

// defaultSignals unblocks every signal and makes those that are ignored fatal
// again, as a program expects to find them.
func defaultSignals() {
	// struct sigaction of the kernel begins with the handler; zero is SIG_DFL
	// with no flags. This is longer than it is on any architecture.
	var old, zero [16]uintptr
	const setSize = 8 // of sigset_t in the kernel
	for sig := 1; sig <= 64; sig++ {
		_, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), 0, uintptr(unsafe.Pointer(&old)), setSize, 0, 0)
		if errno == 0 && old[0] == 1 { // SIG_IGN
			syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&zero)), 0, setSize, 0, 0)
		}
	}
	// The server's descriptors are not the only thing the shim inherits.
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &unix.Sigset_t{}, nil); err != nil {
		fmt.Fprintf(os.Stderr, "%s: unblock the signals: %v\n", shimName, err)
	}
}
