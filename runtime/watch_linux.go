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
	done     chan struct{}
	released bool // mu: close has come this far
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
	p.released = true
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
		if p.released {
			close(p.done)
		}
	}
	return p.done
}

func (p *process) closed() bool { return p.finished.Load() }

func (p *process) run() run { return run{p.child, p.id.Incarnation} }

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

// onFD calls do with f's descriptor, which stays open meanwhile; not where f is
// closed.
func onFD(f *os.File, do func(fd int)) {
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { do(int(fd)) })
	}
}
