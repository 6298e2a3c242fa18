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
// that came of it. One that goes on costs its descriptor and this structure.
type process struct {
	host    *Host
	child   string
	id      spec.Identity
	session int
	// leaf holds all of the run; nil where there are no cgroups.
	leaf *cgroup.Leaf
	// pidfd is closed by close. seen is false for a leader that had ended before
	// this server saw it: there is none then.
	pidfd pidfd
	seen  bool
	// escapes: without a cgroup, something of it was seen outside its group.
	escapes atomic.Bool
	// finished: close was called.
	finished atomic.Bool

	mu sync.Mutex
	// reaped, guarded by mu: the kernel may use the PID again. mu is held
	// while a group number is signalled, so that it cannot be recycled between
	// the check and the signal.
	reaped bool
	// zombie, guarded by mu: the leader has ended and could not be recorded.
	zombie bool
	// others, guarded by mu, are the pidfds of group members being waited for.
	others map[*os.File]struct{}
	// done, guarded by mu, is closed by close; nil until somebody waits for that.
	done chan struct{}
}

// newProcess takes over fd, a pidfd.
func (h *Host) newProcess(child string, id spec.Identity, leaf *cgroup.Leaf, fd int) *process {
	session, err := unix.Getsid(id.PID)
	if err != nil {
		session = 0
	}
	return &process{
		host:    h,
		child:   child,
		id:      id,
		leaf:    leaf,
		session: session,
		pidfd:   pidfd{fd: int32(fd), open: true},
		seen:    true,
	}
}

// close ends every wait for p and gives its descriptors back.
func (p *process) close() {
	if p.finished.Swap(true) {
		return
	}
	p.pidfd.close()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done != nil {
		close(p.done)
	}
	for f := range p.others {
		f.Close()
	}
	clear(p.others)
}

// ending is closed once p is.
func (p *process) ending() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done == nil {
		p.done = make(chan struct{})
		// close sets finished before it takes mu.
		if p.finished.Load() {
			close(p.done)
		}
	}
	return p.done
}

func (p *process) closed() bool { return p.finished.Load() }

func (p *process) run() run { return run{p.child, p.id.Incarnation} }

// watchEnd tells the sink of the leader's end, waits for its group, and tells the
// sink of that. It is a goroutine of its own while p ends; where the leader has not
// ended yet it goes on being watched.
func (h *Host) watchEnd(p *process) {
	exit, ok := p.takeExit()
	if !ok {
		return
	}
	exit.OOMKilled = oomKilled(p.leaf)
	h.tellLast(p, exit)
	if p.nothingLeft() {
		h.tellStrays(p)
		h.end(p)
		h.sink.Exited(p.child, p.id.Incarnation, exit, true)
		return
	}
	h.sink.Exited(p.child, p.id.Incarnation, exit, false)
	h.watchRest(p)
}

// watchRest waits for what is left after the leader, and tells the sink.
func (h *Host) watchRest(p *process) {
	if !p.awaitEmpty() {
		return
	}
	h.tellStrays(p)
	h.end(p)
	h.sink.Emptied(p.child, p.id.Incarnation)
}

func (h *Host) tellStrays(p *process) {
	if pids := p.strays(); len(pids) > 0 {
		h.sink.Strayed(p.child, p.id.Incarnation, pids, h.strangers)
	}
}

// end gives everything of p back before its last fact is told, so that whoever
// acts on the fact finds the descriptors free.
func (h *Host) end(p *process) {
	h.forget(p.run())
	p.close()
	h.outputs.detach(p.run())
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

// takeExit says how a leader ended of which the kernel says that it may have; a
// child of this process is recorded and reaped. ok is false if p was closed, or
// goes on: older kernels tell too early when a thread that is not the first calls
// exec.
func (p *process) takeExit() (exit spec.Exit, ok bool) {
	var info siginfoChild
	mine, is := false, false
	open := p.pidfd.do(func(fd int) {
		if info, mine = peek(fd); mine {
			is = info.pid != 0
		} else {
			is = ended(fd)
		}
	})
	switch {
	case !open:
		return exit, false
	case !is:
		p.host.await(p)
		return exit, false
	case !mine:
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
		open := p.pidfd.do(func(fd int) { exit, settled = exitOfStranger(fd, p.id.PID, p.id.Incarnation) })
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
		case <-p.ending():
		}
		timer.Stop()
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

// awaitOther parks the goroutine until the process behind a pidfd of others ends.
// False means that f was closed.
func (p *process) awaitOther(f *os.File) bool {
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	if err := f.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, os.ErrClosed) {
		return p.awaitOtherPolling(raw)
	}
	return raw.Read(func(fd uintptr) bool { return ended(int(fd)) }) == nil
}

// awaitOtherPolling is awaitOther for a descriptor that the poller refused: the
// user has used up fs.epoll.max_user_watches. It looks once per retry.
func (p *process) awaitOtherPolling(raw syscall.RawConn) bool {
	tick := time.NewTicker(p.host.retry)
	defer tick.Stop()
	for {
		is := false
		if err := raw.Control(func(fd uintptr) { is = ended(int(fd)) }); err != nil || is {
			return err == nil
		}
		select {
		case <-p.ending():
			return false
		case <-tick.C:
		}
	}
}

// onFD calls do with f's descriptor, which stays open meanwhile. It tells
// whether f was open.
func onFD(f *os.File, do func(fd int)) bool {
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	return raw.Control(func(fd uintptr) { do(int(fd)) }) == nil
}
