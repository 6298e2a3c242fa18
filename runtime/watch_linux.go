package runtime

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"kita/runtime/cgroup"
	"kita/spec"
)

// process is one launched or adopted process, the leader of its group, and all
// that came of it.
type process struct {
	host    *Host
	child   string
	id      spec.Identity
	session int
	// leaf holds all of the run; nil where there are no cgroups.
	leaf *cgroup.Leaf
	// pidfd is in Go's poller and closed by close; nil once a leader has ended
	// whom this server did not see.
	pidfd      *os.File
	done       chan struct{}
	finishOnce sync.Once
	// escapes: without a cgroup, something of it was seen outside its group.
	escapes atomic.Bool

	mu sync.Mutex
	// reaped, guarded by mu: the kernel may use the PID again. mu is held
	// while a group number is signalled, so that it cannot be recycled between
	// the check and the signal.
	reaped bool
	// zombie, guarded by mu: the leader has ended and could not be recorded.
	zombie bool
	// others, guarded by mu, are the pidfds of group members being waited for.
	others map[*os.File]struct{}
}

// newProcess takes over pidfd, which must be non-blocking.
func (h *Host) newProcess(child string, id spec.Identity, leaf *cgroup.Leaf, pidfd int) (*process, error) {
	session, err := unix.Getsid(id.PID)
	if err != nil {
		session = 0
	}
	f := os.NewFile(uintptr(pidfd), "pidfd")
	if f == nil {
		return nil, unix.EBADF
	}
	return &process{
		host:    h,
		child:   child,
		id:      id,
		leaf:    leaf,
		session: session,
		pidfd:   f,
		done:    make(chan struct{}),
		others:  map[*os.File]struct{}{},
	}, nil
}

// close ends every wait for p and gives its descriptors back.
func (p *process) close() {
	p.finishOnce.Do(func() {
		close(p.done)
		if p.pidfd != nil {
			p.pidfd.Close()
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		for f := range p.others {
			f.Close()
		}
		clear(p.others)
	})
}

// watch waits for the leader, then for its group, and tells the sink. It is
// the goroutine of p.
func (h *Host) watch(r run, p *process) {
	exit, ok := p.awaitExit()
	if !ok {
		return
	}
	exit.OOMKilled = oomKilled(p.leaf)
	h.tellLast(p, exit)
	if p.nothingLeft() {
		h.tellStrays(p)
		h.end(r, p)
		h.sink.Exited(p.child, p.id.Incarnation, exit, true)
		return
	}
	h.sink.Exited(p.child, p.id.Incarnation, exit, false)
	h.watchRest(r, p)
}

// watchRest waits for what is left after the leader, and tells the sink.
func (h *Host) watchRest(r run, p *process) {
	if !p.awaitEmpty() {
		return
	}
	h.tellStrays(p)
	h.end(r, p)
	h.sink.Emptied(p.child, p.id.Incarnation)
}

func (h *Host) tellStrays(p *process) {
	if pids := p.strays(); len(pids) > 0 {
		h.sink.Strayed(p.child, p.id.Incarnation, pids, h.strangers)
	}
}

// end gives everything of p back before its last fact is told, so that whoever
// acts on the fact finds the descriptors free.
func (h *Host) end(r run, p *process) {
	h.forget(r)
	p.close()
	h.outputs.detach(r)
	h.removeLeaf(p.leaf)
}

func (h *Host) removeLeaf(l *cgroup.Leaf) {
	if l == nil {
		return
	}
	if err := l.Remove(); err != nil {
		h.log.Warn("cannot remove a cgroup", "cgroup", l.Path(), "err", err)
	}
}

func oomKilled(l *cgroup.Leaf) bool {
	if l == nil {
		return false
	}
	kills, _ := l.OOMKills()
	return kills > 0
}

// awaitExit waits for the leader to end and says how it did; ok is false if p
// was closed meanwhile. A child of this process is recorded and reaped.
func (p *process) awaitExit() (exit spec.Exit, ok bool) {
	if !p.await(p.pidfd, time.Time{}, leaderEnded) {
		return exit, false
	}
	var info siginfoChild
	mine := false
	onFD(p.pidfd, func(fd int) { info, mine = peek(fd) })
	if !mine {
		return p.exitOfStranger()
	}
	if !p.settle(info) {
		p.mu.Lock()
		p.zombie = true
		p.mu.Unlock()
		p.host.running.Go(func() { p.settleLater(info) })
	}
	return info.exit(p.id.Incarnation), !p.closed()
}

// exitOfStranger finds out how a process ended that is not a child of this one.
// Whoever reaps it may be slow, and some kernels tell only then: it is asked
// again until patience ends.
func (p *process) exitOfStranger() (exit spec.Exit, ok bool) {
	at := time.Now()
	deadline := at.Add(p.host.patience)
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		settled := false
		open := onFD(p.pidfd, func(fd int) { exit, settled = exitOfStranger(fd, p.id.PID, p.id.Incarnation) })
		// The keeper has written it down before it reaped it.
		if rec, found := p.host.records.find(p.id); found && !exit.Known {
			exit, settled = exitOf(unix.WaitStatus(rec.Status), exit), true
		}
		if exit.Known || settled && p.host.records.keeper == nil || time.Now().After(deadline) || !open {
			exit.At = at
			return exit, !p.closed()
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-p.done:
		}
		timer.Stop()
	}
}

func (p *process) closed() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// leaderEnded tells whether the whole thread group behind a pidfd has ended.
// For a child waitid is the truth: older kernels wake the poller too early when
// a thread that is not the first calls exec.
func leaderEnded(pidfd int) bool {
	if info, mine := peek(pidfd); mine {
		return info.pid != 0
	}
	return ended(pidfd)
}

// ended asks a pidfd whether its process has ended, all threads of it.
func ended(pidfd int) bool {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 0)
		if err == unix.EINTR {
			continue
		}
		return err == nil && n > 0
	}
}

// await parks the goroutine until ready says so about f's descriptor; it is
// asked at the beginning and after each event of the poller. False means that
// f was closed or the deadline, if there is one, has passed.
func (p *process) await(f *os.File, deadline time.Time, ready func(fd int) bool) bool {
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	if err := f.SetReadDeadline(deadline); err != nil && !errors.Is(err, os.ErrClosed) {
		return p.awaitPolling(raw, deadline, ready)
	}
	err = raw.Read(func(fd uintptr) bool { return ready(int(fd)) })
	return err == nil
}

// awaitPolling is await for a descriptor that the poller refused: the user has
// used up fs.epoll.max_user_watches. It looks once per retry.
func (p *process) awaitPolling(raw syscall.RawConn, deadline time.Time, ready func(fd int) bool) bool {
	tick := time.NewTicker(p.host.retry)
	defer tick.Stop()
	for {
		is := false
		if err := raw.Control(func(fd uintptr) { is = ready(int(fd)) }); err != nil {
			return false
		}
		if is || !deadline.IsZero() && time.Now().After(deadline) {
			return is
		}
		select {
		case <-p.done:
			return false
		case <-tick.C:
		}
	}
}

// onFD calls do with f's descriptor, which stays open meanwhile. It tells
// whether f was open; nil never is.
func onFD(f *os.File, do func(fd int)) bool {
	if f == nil {
		return false
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	return raw.Control(func(fd uintptr) { do(int(fd)) }) == nil
}
