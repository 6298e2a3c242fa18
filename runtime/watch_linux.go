package runtime

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// process is one launched or adopted process, the leader of its group.
type process struct {
	host       *Host
	child      string
	id         spec.Identity
	session    int
	pidfd      *os.File // in Go's poller; closed by close
	done       chan struct{}
	finishOnce sync.Once

	mu sync.Mutex
	// reaped, guarded by mu: the kernel may use the PID again. mu is held
	// while a group number is signalled, so that it cannot be recycled between
	// the check and the signal.
	reaped bool
	// others, guarded by mu, are the pidfds of group members being waited for.
	others map[*os.File]struct{}
}

// newProcess takes over pidfd, which must be non-blocking.
func (h *Host) newProcess(child string, id spec.Identity, pidfd int) (*process, error) {
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
		p.pidfd.Close()
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
	left := p.live()
	if left.empty() {
		h.end(r, p)
		h.sink.Exited(p.child, p.id.Incarnation, exit, true)
		return
	}
	h.sink.Exited(p.child, p.id.Incarnation, exit, false)
	if !p.awaitEmpty(left) {
		return
	}
	h.end(r, p)
	h.sink.Emptied(p.child, p.id.Incarnation)
}

// end gives everything of p back before its last fact is told, so that whoever
// acts on the fact finds the descriptors free.
func (h *Host) end(r run, p *process) {
	h.forget(r)
	p.close()
}

// awaitExit waits for the leader to end, reaps it if it is a child of this
// process, and says how it ended; ok is false if p was closed meanwhile.
func (p *process) awaitExit() (exit spec.Exit, ok bool) {
	if !p.await(p.pidfd, time.Time{}, leaderEnded) {
		return exit, false
	}
	var settled, mine bool
	var info siginfoChild
	onFD(p.pidfd, func(fd int) {
		if info, mine = peek(fd); mine {
			// The status is in hand before the zombie goes.
			exit = info.exit(p.id.Incarnation)
			p.mu.Lock()
			reap(fd)
			p.reaped = true
			p.mu.Unlock()
			return
		}
		exit, settled = exitOfStranger(fd, p.id.PID, p.id.Incarnation)
	})
	if mine || settled {
		return exit, !p.closed()
	}
	at := exit.At
	p.await(p.pidfd, time.Now().Add(p.host.patience), func(fd int) bool {
		exit, settled = exitOfStranger(fd, p.id.PID, p.id.Incarnation)
		return settled
	})
	exit.At = at
	return exit, !p.closed()
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
// whether f was open.
func onFD(f *os.File, do func(fd int)) bool {
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	return raw.Control(func(fd uintptr) { do(int(fd)) }) == nil
}
