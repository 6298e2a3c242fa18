package pump

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// poller tells when there is something to read. It is not that of the Go runtime,
// which every write to a FIFO would wake, also while its stream lets it fill: this
// one tells once for each time it is asked.
type poller struct {
	epoll int

	mu sync.Mutex
	// waiting are who is told, by descriptor, guarded by mu.
	waiting map[int32]chan<- struct{}
}

// newPoller starts a poller. It goes on until the process ends.
func newPoller() (*poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create", err)
	}
	p := &poller{epoll: epoll, waiting: map[int32]chan<- struct{}{}}
	go p.run()
	return p, nil
}

// add makes fd known. ready, which has room for one, is told after each ask.
func (p *poller) add(fd int, ready chan<- struct{}) error {
	p.mu.Lock()
	p.waiting[int32(fd)] = ready
	p.mu.Unlock()
	err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLONESHOT, Fd: int32(fd)})
	if err != nil {
		p.forget(fd)
	}
	return os.NewSyscallError("epoll_ctl", err)
}

// ask has it told once when fd can be read from, or has ended.
func (p *poller) ask(fd int) {
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(fd)}
	// It was added, so that this cannot fail.
	_ = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_MOD, fd, &event)
}

// remove comes before fd is closed: others have the same FIFO open, so that the
// kernel would not forget it.
func (p *poller) remove(fd int) {
	_ = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, fd, nil)
	p.forget(fd)
}

func (p *poller) forget(fd int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, int32(fd))
}

func (p *poller) run() {
	events := make([]unix.EpollEvent, 128)
	for {
		n, err := unix.EpollWait(p.epoll, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			panic(os.NewSyscallError("epoll_wait", err))
		}
		p.mu.Lock()
		for _, event := range events[:max(n, 0)] {
			select {
			case p.waiting[event.Fd] <- struct{}{}:
			default:
			}
		}
		p.mu.Unlock()
	}
}
