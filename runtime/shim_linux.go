package runtime

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

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
	Step         shimStep
	Index, Errno uint32
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
	return c.Umask != nil || c.Nice != nil || len(c.Limits) > 0 || len(o.join()) > 0
}

// oddSignals tells whether a child executed directly would inherit ignored or
// blocked signals: the server was started by nohup, by a unit that ignores
// SIGPIPE, or with a signal mask, or it ignores some by now. (Signals that the
// server handles are at their default after an exec.)
func (h *Host) oddSignals() bool {
	if h.bornOdd {
		return true
	}
	for sig := syscall.Signal(1); sig <= lastSignal; sig++ {
		if signal.Ignored(sig) {
			return true
		}
	}
	return false
}

// lastSignal is _NSIG of the kernel.
const lastSignal = 64

// bornOdd tells whether this process has ignored or blocked signals. All threads
// of a Go program block the same ones, for ever.
func bornOdd() bool {
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
func (h *Host) runShim(o *order, c *spec.Child) (pid int, err error) {
	if !hasMain.Load() {
		return 0, errors.New("this program cannot set limits, umask or nice: its main does not call runtime.Main")
	}
	plan := shimPlan{
		Join: o.join(), Nice: c.Nice, Umask: c.Umask, Cred: o.as.credential(),
		Dir: []byte(o.dir), Path: []byte(o.path), Argv: toBytes(o.argv), Env: toBytes(o.env),
	}
	for _, l := range c.Limits {
		resource, ok := resources[l.Name]
		if !ok {
			return 0, fmt.Errorf("limit %s: there is none of that name", l.Name)
		}
		plan.Limits = append(plan.Limits, shimLimit{resource, l.Soft, l.Hard})
	}
	text, err := json.Marshal(plan)
	if err != nil {
		return 0, fmt.Errorf("encode the launch plan: %w", err)
	}

	planR, planW, err := shimPipe(1)
	if err != nil {
		return 0, err
	}
	defer planW.Close()
	reportW, reportR, err := shimPipe(0)
	if err != nil {
		unix.Close(planR)
		return 0, err
	}
	defer reportR.Close()
	pid, err = h.forkers.start("/proc/self/exe", []string{shimName}, &syscall.ProcAttr{
		Env:   shimEnv(o.env),
		Files: append(o.files(), uintptr(planR), uintptr(reportW)),
		Sys:   o.intoCgroup(&syscall.SysProcAttr{Setpgid: true}),
	})
	unix.Close(planR)
	unix.Close(reportW)
	if err != nil {
		return 0, fmt.Errorf("fork the launch shim: %w", err)
	}
	if err := o.converse(planW, reportR, text, c); err != nil {
		return 0, errors.Join(err, destroy(pid))
	}
	return pid, nil
}

// quietRuntime keeps the Go runtime of the shim from doing anything by itself
// that takes memory or a thread: the memory may be limited, and the kernel
// refuses a thread while another executes a program.
var quietRuntime = []string{"GOGC=off", "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1"}

// shimEnv is what the shim has of an environment, which the command gets whole:
// its tokens, so that they are there from the first instant.
func shimEnv(env []string) []string {
	all := slices.Clone(quietRuntime)
	for _, entry := range env {
		if name, _, _ := strings.Cut(entry, "="); name == envChild || name == envIncarnation || name == envServer {
			all = append(all, entry)
		}
	}
	return all
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
	switch r.Step {
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
