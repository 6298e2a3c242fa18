package runtime

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	goruntime "runtime"
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
	unix.CloseOnExec(shimPlanFD)
	unix.CloseOnExec(shimReportFD)
	var plan shimPlan
	if err := readPlan(&plan); err != nil {
		fmt.Fprintf(os.Stderr, "%s is started by the server of kita only: %v\n", shimName, err)
		os.Exit(127)
	}
	if _, err := unix.Write(shimReportFD, []byte{shimReady}); err != nil {
		os.Exit(127)
	}
	report := make([]byte, binary.Size(shimReport{}))
	r := plan.execute()
	// Like all that comes after a limit on memory, this allocates nothing.
	binary.NativeEndian.PutUint32(report[0:], uint32(r.Step))
	binary.NativeEndian.PutUint32(report[4:], r.Index)
	binary.NativeEndian.PutUint32(report[8:], r.Errno)
	syscall.RawSyscall(unix.SYS_WRITE, shimReportFD, uintptr(unsafe.Pointer(&report[0])), uintptr(len(report)))
	syscall.RawSyscall(unix.SYS_EXIT_GROUP, 127, 0, 0)
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
		return shimReport{step, uint32(index), uint32(errno)}
	}
	end, err := p.finale()
	if err != nil {
		return fail(stepExec, 0, err)
	}
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
	// An exec that fails puts back the limit of open files, which Go raised when
	// this process began.
	_ = syscall.Exec("", []string{shimName}, nil)
	return end.execute()
}

// shimFinale is what the shim does from the first limit on. A limit on memory
// may be smaller than what the Go runtime has already, and the runtime ends the
// process when it gets no more: so everything is made before, and execute
// allocates nothing. As long as that thread stays in execute nobody else does
// either: there is no other place to run Go code in than its own (GOMAXPROCS=1),
// and it never lets go of it. System calls are raw, no function on the way looks
// whether another wants to run or the stack has to grow (nosplit), no signal
// makes it (asyncpreemptoff), and nothing is collected (GOGC=off). So no thread
// begins during execve either, as syscall.Exec sees to by a lock of the runtime
// (golang/go #19546).
type shimFinale struct {
	resources []int
	limits    []unix.Rlimit
	cred      *syscall.Credential
	dir       *byte // nil where there is none
	path      *byte
	argv, env []*byte
}

func (p *shimPlan) finale() (*shimFinale, error) {
	f := &shimFinale{cred: p.Cred}
	for _, l := range p.Limits {
		f.resources = append(f.resources, l.Resource)
		f.limits = append(f.limits, unix.Rlimit{Cur: l.Soft, Max: l.Hard})
	}
	var errs [4]error
	if len(p.Dir) > 0 {
		f.dir, errs[0] = unix.BytePtrFromString(string(p.Dir))
	}
	f.path, errs[1] = unix.BytePtrFromString(string(p.Path))
	f.argv, errs[2] = syscall.SlicePtrFromStrings(toStrings(p.Argv))
	f.env, errs[3] = syscall.SlicePtrFromStrings(toStrings(p.Env))
	return f, errors.Join(errs[:]...)
}

//go:nosplit
//go:norace
func (f *shimFinale) execute() shimReport {
	for i, resource := range f.resources {
		if _, _, errno := syscall.RawSyscall6(unix.SYS_PRLIMIT64, 0, uintptr(resource), uintptr(unsafe.Pointer(&f.limits[i])), 0, 0, 0); errno != 0 {
			return shimReport{stepLimit, uint32(i), uint32(errno)}
		}
	}
	if f.cred != nil {
		if step, errno := setCredential(f.cred); errno != 0 {
			return shimReport{step, 0, uint32(errno)}
		}
	}
	if f.dir != nil {
		if _, _, errno := syscall.RawSyscall(unix.SYS_CHDIR, uintptr(unsafe.Pointer(f.dir)), 0, 0); errno != 0 {
			return shimReport{stepChdir, 0, uint32(errno)}
		}
	}
	_, _, errno := syscall.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(f.path)), uintptr(unsafe.Pointer(&f.argv[0])), uintptr(unsafe.Pointer(&f.env[0])))
	return shimReport{stepExec, 0, uint32(errno)}
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
//
//go:nosplit
//go:norace
func setCredential(c *syscall.Credential) (shimStep, syscall.Errno) {
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
	return 0, 0
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
