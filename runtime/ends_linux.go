package runtime

import (
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// pidfd is a descriptor that one may close while others use it. The zero value
// is closed.
type pidfd struct {
	mu   sync.RWMutex
	fd   int32
	open bool
}

// do calls use with the descriptor, which stays open meanwhile. It tells whether
// it was open.
func (p *pidfd) do(use func(fd int)) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.open {
		use(int(p.fd))
	}
	return p.open
}

func (p *pidfd) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open {
		unix.Close(int(p.fd))
	}
	p.open = false
}

// ends tells when leaders end. One epoll has all their pidfds, so that a process
// that goes on costs a descriptor and no goroutine.
type ends struct {
	// file is the epoll, which Go's own poller waits for; nil: none could be had.
	file *os.File

	mu sync.Mutex
	// waiting, guarded by mu, are the processes that may end, by the number that
	// the epoll knows them by; last is the latest number.
	waiting map[uint64]*process
	last    uint64
}

// newEnds makes the epoll. With an error the ends work all the same, by looking
// at each process again and again.
func newEnds() (*ends, error) {
	e := &ends{waiting: map[uint64]*process{}}
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return e, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return e, os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(fd), "pidfds")
	// A file that Go's poller was refused is one that nobody waits for.
	if err := file.SetReadDeadline(time.Time{}); err != nil {
		file.Close()
		return e, fmt.Errorf("poll the pidfds: %w", err)
	}
	e.file = file
	return e, nil
}

// events are those that are taken at once.
const events = 128

// follow calls ended with the processes that may have ended, until close. It is
// the goroutine of the epoll.
func (e *ends) follow(ended func([]*process)) {
	raw, err := e.file.SyscallConn()
	if err != nil {
		return
	}
	var buf [events]unix.EpollEvent
	var leaders []*process
	// The error is that the file was closed.
	_ = raw.Read(func(fd uintptr) bool {
		for {
			n, err := unix.EpollWait(int(fd), buf[:], 0)
			if err != nil && err != unix.EINTR || err == nil && n <= 0 {
				return false
			}
			leaders = e.take(leaders[:0], buf[:max(n, 0)])
			ended(leaders)
			clear(leaders)
		}
	})
}

// take appends the processes that events are about to those given. Some may be of
// none that is waited for.
func (e *ends) take(to []*process, events []unix.EpollEvent) []*process {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, event := range events {
		number := uint64(uint32(event.Fd)) | uint64(uint32(event.Pad))<<32
		if p := e.waiting[number]; p != nil {
			to = append(to, p)
		}
		delete(e.waiting, number)
	}
	return to
}

// await has follow told once when p may have ended. False: the kernel refuses to
// tell, as when the user has used up fs.epoll.max_user_watches.
func (e *ends) await(p *process) bool {
	if e.file == nil {
		return false
	}
	e.mu.Lock()
	e.last++
	number := e.last
	e.waiting[number] = p
	e.mu.Unlock()
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(number), Pad: int32(number >> 32)}
	var refused error
	open := p.pidfd.do(func(fd int) {
		refused = os.ErrClosed
		onFD(e.file, func(epoll int) {
			refused = unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &event)
			if refused == unix.EEXIST {
				refused = unix.EpollCtl(epoll, unix.EPOLL_CTL_MOD, fd, &event)
			}
		})
	})
	if !open || refused != nil {
		e.mu.Lock()
		delete(e.waiting, number)
		e.mu.Unlock()
	}
	return refused == nil
}

// close ends follow.
func (e *ends) close() {
	if e.file != nil {
		e.file.Close()
	}
}

// follow watches for leaders that end. It is a goroutine of h.
func (h *Host) follow() { h.ends.follow(h.watchEnds) }

// await has p watched to its end.
func (h *Host) await(p *process) {
	if !h.ends.await(p) {
		h.running.Go(func() { h.awaitPolling(p) })
	}
}

// awaitPolling watches a process that the kernel refuses to tell of. It looks once
// per retry, and is a goroutine of h.
func (h *Host) awaitPolling(p *process) {
	tick := time.NewTicker(h.retry)
	defer tick.Stop()
	for {
		is := false
		if !p.pidfd.do(func(fd int) { is = leaderEnded(fd) }) {
			return
		}
		if is {
			h.watchEnds([]*process{p})
			return
		}
		select {
		case <-p.ending():
			return
		case <-tick.C:
		}
	}
}
