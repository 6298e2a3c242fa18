package runtime

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	goruntime "runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// shimName is the argv[0] by which a process knows that it is the launch shim.
const shimName = "kita-launch"

// shimPatience is how long the shim may take from fork to exec.
const shimPatience = 10 * time.Second

// Descriptors of the shim: the plan comes in on one, the report goes out on
// the other. Neither outlives the exec.
const (
	shimPlanFD   = 3
	shimReportFD = 4
)

// shimReady is the first byte of every report: the shim got as far as to begin.
// Without it the end of the report would not mean that the command was
// executed, but that the shim died.
const shimReady = 'k'

// hasMain tells that this program runs Main, so that its binary can be the shim.
var hasMain atomic.Bool

// shimPlan is what the shim does, in the order of its fields. It comes over a
// pipe, because arguments and environment of a process are for all to see.
type shimPlan struct {
	// Join are files of cgroups, into which it writes that it joins them.
	Join   []string
	Nice   *int
	Umask  *uint32
	Limits []shimLimit
	Cred   *syscall.Credential
	// Bytes, since JSON would repair what is not UTF-8.
	Dir  []byte
	Path []byte
	Argv [][]byte
	Env  [][]byte
}

type shimLimit struct {
	Resource   int
	Soft, Hard uint64
}

// shimStep is what the shim was doing when it failed.
type shimStep uint32

const (
	stepPlan shimStep = iota
	stepJoin          // the report's index says which
	stepNice
	stepLimit // the report's index says which
	stepSetgroups
	stepSetgid
	stepSetuid
	stepChdir
	stepExec
)

// shimReport is the failure the shim reports, after shimReady.
type shimReport struct {
	Step, Index, Errno uint32
}

// resources maps the names of spec.Limit to the numbers of setrlimit(2).
var resources = map[string]int{
	"as":         unix.RLIMIT_AS,
	"core":       unix.RLIMIT_CORE,
	"cpu_time":   unix.RLIMIT_CPU,
	"data":       unix.RLIMIT_DATA,
	"fsize":      unix.RLIMIT_FSIZE,
	"locks":      unix.RLIMIT_LOCKS,
	"memlock":    unix.RLIMIT_MEMLOCK,
	"msgqueue":   unix.RLIMIT_MSGQUEUE,
	"nice":       unix.RLIMIT_NICE,
	"nofile":     unix.RLIMIT_NOFILE,
	"nproc":      unix.RLIMIT_NPROC,
	"rss":        unix.RLIMIT_RSS,
	"rtprio":     unix.RLIMIT_RTPRIO,
	"rttime":     unix.RLIMIT_RTTIME,
	"sigpending": unix.RLIMIT_SIGPENDING,
	"stack":      unix.RLIMIT_STACK,
}

// needsShim tells whether something has to happen between fork and exec that
// Go's fork cannot do.
func (o *order) needsShim(c *spec.Child) bool {
	return c.Umask != nil || c.Nice != nil || len(c.Limits) > 0 || len(o.join()) > 0 || oddSignals()
}

// oddSignals tells whether a child executed directly would inherit ignored or
// blocked signals: the server was started by nohup, by a unit that ignores
// SIGPIPE, or with a signal mask. (Signals that the server handles are at
// their default after an exec.)
func oddSignals() bool {
	text, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		for _, key := range []string{"SigBlk:", "SigIgn:"} {
			if set, ok := strings.CutPrefix(line, key); ok && strings.Trim(set, "0 \t\n") != "" {
				return true
			}
		}
	}
	return false
}

// runShim executes the server's own binary as the shim, which becomes the
// command.
func (o *order) runShim(c *spec.Child) (pid, pidfd int, err error) {
	if !hasMain.Load() {
		return 0, -1, errors.New("this program cannot set limits, umask or nice: its main does not call runtime.Main")
	}
	plan := shimPlan{
		Join: o.join(), Nice: c.Nice, Umask: c.Umask, Cred: o.as.credential(),
		Dir: []byte(o.dir), Path: []byte(o.path), Argv: toBytes(o.argv), Env: toBytes(o.env),
	}
	for _, l := range c.Limits {
		resource, ok := resources[l.Name]
		if !ok {
			return 0, -1, fmt.Errorf("limit %s: there is none of that name", l.Name)
		}
		plan.Limits = append(plan.Limits, shimLimit{resource, l.Soft, l.Hard})
	}
	text, err := json.Marshal(plan)
	if err != nil {
		return 0, -1, fmt.Errorf("encode the launch plan: %w", err)
	}

	planR, planW, err := shimPipe(1)
	if err != nil {
		return 0, -1, err
	}
	defer planW.Close()
	reportW, reportR, err := shimPipe(0)
	if err != nil {
		unix.Close(planR)
		return 0, -1, err
	}
	defer reportR.Close()
	pidfd = -1
	pid, _, err = syscall.StartProcess("/proc/self/exe", []string{shimName}, &syscall.ProcAttr{
		// The tokens are there from the first instant; everything else would
		// only tempt the Go runtime of the shim.
		Env:   shimEnv(o.env),
		Files: append(o.files(), uintptr(planR), uintptr(reportW)),
		Sys:   o.intoCgroup(&syscall.SysProcAttr{Setpgid: true, PidFD: &pidfd}),
	})
	unix.Close(planR)
	unix.Close(reportW)
	if err != nil {
		return 0, -1, fmt.Errorf("fork the launch shim: %w", err)
	}
	if pidfd < 0 {
		return 0, -1, errors.Join(errors.New("this kernel has no pidfds, kita needs Linux 5.4"), destroy(pid, -1))
	}
	if err := o.converse(planW, reportR, text, c); err != nil {
		return 0, -1, errors.Join(err, destroy(pid, pidfd))
	}
	return pid, pidfd, nil
}

// shimEnv are the tokens of an environment.
func shimEnv(env []string) []string {
	var tokens []string
	for _, entry := range env {
		if name, _, _ := strings.Cut(entry, "="); name == envChild || name == envIncarnation || name == envServer {
			tokens = append(tokens, entry)
		}
	}
	return tokens
}

// shimPipe makes a pipe of which the shim gets one end, a blocking descriptor,
// and the server the other, end ours (0 reads, 1 writes), with deadlines.
func shimPipe(ours int) (theirs int, f *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return -1, nil, fmt.Errorf("make a pipe: %w", err)
	}
	if err := unix.SetNonblock(fds[ours], true); err != nil {
		return -1, nil, errors.Join(err, unix.Close(fds[0]), unix.Close(fds[1]))
	}
	return fds[1-ours], os.NewFile(uintptr(fds[ours]), "pipe"), nil
}

// converse tells the shim its plan and waits until it has executed the command
// or says why it cannot.
func (o *order) converse(plan, report *os.File, text []byte, c *spec.Child) error {
	deadline := time.Now().Add(shimPatience)
	if err := errors.Join(plan.SetDeadline(deadline), report.SetDeadline(deadline)); err != nil {
		return fmt.Errorf("watch the launch shim: %w", err)
	}
	_, werr := plan.Write(text)
	plan.Close()
	answer, err := io.ReadAll(io.LimitReader(report, 64))
	switch {
	case err != nil:
		return fmt.Errorf("launch %s: the shim has not executed it within %v: %w", o.path, shimPatience, err)
	case len(answer) == 0 || answer[0] != shimReady:
		return errors.Join(fmt.Errorf("launch %s: the shim died before it executed it", o.path), werr)
	case len(answer) == 1:
		return nil
	}
	var r shimReport
	if _, err := binary.Decode(answer[1:], binary.NativeEndian, &r); err != nil {
		return fmt.Errorf("launch %s: the shim's report makes no sense: %w", o.path, err)
	}
	return o.explainStep(r, c)
}

// explainStep puts a report in words.
func (o *order) explainStep(r shimReport, c *spec.Child) error {
	errno := syscall.Errno(r.Errno)
	hint := ""
	if errno == unix.EPERM && os.Geteuid() != 0 {
		hint = " (the server is not root)"
	}
	switch shimStep(r.Step) {
	case stepPlan:
		return fmt.Errorf("launch %s: read the plan: %w", o.path, errno)
	case stepJoin:
		return &os.PathError{Op: "join the cgroup", Path: o.join()[r.Index], Err: errno}
	case stepNice:
		return fmt.Errorf("set nice %d: %w%s", *c.Nice, errno, hint)
	case stepLimit:
		l := c.Limits[r.Index]
		return fmt.Errorf("set limit %s to %s soft, %s hard: %w%s", l.Name, limitText(l.Soft), limitText(l.Hard), errno, hint)
	case stepSetgroups, stepSetgid, stepSetuid:
		return fmt.Errorf("run as %s: %w%s", o.as.label, errno, hint)
	case stepChdir:
		if o.as.credential() != nil {
			return fmt.Errorf("chdir %s as %s: %w", o.dir, o.as.label, errno)
		}
		return &os.PathError{Op: "chdir", Path: o.dir, Err: errno}
	}
	if errno == unix.EACCES && o.as.credential() != nil {
		return fmt.Errorf("exec %s as %s: %w", o.path, o.as.label, errno)
	}
	return explainExec(o.path, o.dir, errno)
}

func limitText(v uint64) string {
	if v == spec.Unlimited {
		return "unlimited"
	}
	return fmt.Sprint(v)
}

// Main must be the first call of main and of TestMain: if this process is the
// launch shim, it does that work and never returns.
func Main() {
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
