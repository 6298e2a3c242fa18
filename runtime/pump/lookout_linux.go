package pump

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// lookout tells whether anything is written into the FIFOs at all, so that nobody
// asks a pump that has nothing to do how it is. It has the FIFOs in no poller
// between two looks: each write to them would wake that one.
type lookout struct {
	// stirred holds a token once there is something in a FIFO, or its end.
	stirred chan struct{}
	epoll   *os.File

	mu sync.Mutex
	// watched, guarded by mu, are the descriptors; the value is whether there
	// was something and look was not called since.
	watched map[int32]bool
}

func newLookout() (*lookout, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create", err)
	}
	// Non-blocking, so that the Go runtime waits for it without a thread.
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	return &lookout{stirred: make(chan struct{}, 1), epoll: os.NewFile(uintptr(fd), "epoll"), watched: map[int32]bool{}}, nil
}

// add watches a FIFO, unless it is watched already. A nil lookout does nothing.
func (l *lookout) add(fd int) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, is := l.watched[int32(fd)]; !is {
		l.arm(int32(fd))
	}
}

// remove comes before fd is closed: others have the same FIFO open, so that the
// kernel would not forget it.
func (l *lookout) remove(fd int) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.control(unix.EPOLL_CTL_DEL, int32(fd))
	delete(l.watched, int32(fd))
}

// look looks at the FIFOs again in which there was something.
func (l *lookout) look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for fd, stirred := range l.watched {
		if stirred {
			l.arm(fd)
		}
	}
}

// arm has the kernel tell of fd once. mu is held.
func (l *lookout) arm(fd int32) {
	l.watched[fd] = false
	l.control(unix.EPOLL_CTL_ADD, fd)
}

// control cannot fail for a FIFO, but for want of memory: then that one is taken
// for one that stirs. mu is held.
func (l *lookout) control(op int, fd int32) {
	conn, err := l.epoll.SyscallConn()
	if err != nil {
		return // closed
	}
	ctlErr := conn.Control(func(epoll uintptr) {
		err = unix.EpollCtl(int(epoll), op, int(fd), &unix.EpollEvent{Events: unix.EPOLLIN, Fd: fd})
	})
	if op == unix.EPOLL_CTL_ADD && err != nil && ctlErr == nil {
		l.watched[fd] = true
		l.stir()
	}
}

// stir has the pump asked how it is.
func (l *lookout) stir() {
	if l == nil {
		return
	}
	select {
	case l.stirred <- struct{}{}:
	default:
	}
}

// run passes on what the kernel tells, until close.
func (l *lookout) run() {
	conn, err := l.epoll.SyscallConn()
	if err != nil {
		return
	}
	events := make([]unix.EpollEvent, 128)
	for {
		n := 0
		err := conn.Read(func(epoll uintptr) bool {
			n, _ = unix.EpollWait(int(epoll), events, 0)
			return n > 0
		})
		if err != nil {
			return
		}
		l.mu.Lock()
		for _, event := range events[:n] {
			if _, is := l.watched[event.Fd]; is {
				l.control(unix.EPOLL_CTL_DEL, event.Fd)
				l.watched[event.Fd] = true
			}
		}
		l.mu.Unlock()
		l.stir()
	}
}

func (l *lookout) close() { _ = l.epoll.Close() }
