package pump

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// answerPatience is how long a pump may take to answer, but for a drain. One
	// that then does not answer a ping in that time either is killed.
	answerPatience = 2 * time.Second
	// pingPause is between two pings, and between something in a FIFO and the
	// first one: a pump that hangs blocks its programs.
	pingPause = 2 * time.Second
)

// errSilent: no answer came within answerPatience.
var errSilent = errors.New("it does not answer")

// errGone: the connection ended before the answer came.
var errGone = errors.New("the pump is gone")

// refusal is an error that the pump answered with.
type refusal struct{ text string }

func (r *refusal) Error() string { return "pump: " + r.text }

// peer is a pump as its server sees it.
type peer struct {
	*link
	pid int
	// pidfd is that of the pump, -1 once it is buried. It is closed under mu by
	// the only goroutine that uses it without.
	pidfd int
	// killed, guarded by mu: it was sent SIGKILL.
	killed bool
	// ours: this server started it.
	ours bool
	// gone is closed when the connection has ended, and buried when the process
	// has too, or has not for deathPatience.
	gone, buried chan struct{}

	mu sync.Mutex
	// next is guarded by mu, as is asked: who waits for which answer.
	next  uint64
	asked map[uint64]chan<- message
}

func newPeer(l *link, pid, pidfd int) *peer {
	return &peer{
		link: l, pid: pid, pidfd: pidfd,
		gone: make(chan struct{}), buried: make(chan struct{}), asked: map[uint64]chan<- message{},
	}
}

// ask sends a question and waits for the answer. The error is a *refusal where
// the pump said no. A pump that gives no sign of life is killed.
func (p *peer) ask(ctx context.Context, m message, fds ...int) (message, error) {
	answer, err := p.askOnce(ctx, m, fds...)
	if !errors.Is(err, errSilent) {
		return answer, err
	}
	// Perhaps it was this process that was stopped.
	if _, err := p.askOnce(ctx, message{Op: opPing}); err == nil {
		return message{}, fmt.Errorf("the pump, PID %d, is too slow to answer", p.pid)
	}
	p.kill()
	return message{}, fmt.Errorf("the pump, PID %d, did not answer and was killed: %w", p.pid, errSilent)
}

// watch pings the pump until the connection ends, as long as there is something
// in its FIFOs from time to time. Without a lookout it always does.
func (p *peer) watch(l *lookout) {
	// It may have taken the token without a look at what stirred: the next pump's
	// watch is to have one.
	defer l.stir()
	timer := time.NewTimer(pingPause)
	defer timer.Stop()
	for {
		if l != nil {
			select {
			case <-p.gone:
				return
			case <-l.stirred:
			}
			timer.Reset(pingPause)
		}
		select {
		case <-p.gone:
			return
		case <-timer.C:
		}
		_, _ = p.ask(context.Background(), message{Op: opPing})
		if l != nil {
			l.look()
		}
		timer.Reset(pingPause)
	}
}

// askOnce is ask without consequences.
func (p *peer) askOnce(ctx context.Context, m message, fds ...int) (message, error) {
	if m.Op != opDrain {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, answerPatience, errSilent)
		defer cancel()
	}
	answer := make(chan message, 1)
	p.mu.Lock()
	p.next++
	m.ID = p.next
	p.asked[m.ID] = answer
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.asked, m.ID)
		p.mu.Unlock()
	}()
	if err := p.send(m, fds...); err != nil {
		// The stream of answers would be of no use either.
		_ = p.conn.Close()
		return message{}, err
	}
	select {
	case got := <-answer:
		if got.Error != "" {
			return got, &refusal{got.Error}
		}
		return got, nil
	case <-p.gone:
		return message{}, errGone
	case <-ctx.Done():
		return message{}, context.Cause(ctx)
	}
}

// listen passes answers on, and all else to heard, until the connection ends.
func (p *peer) listen(heard func(message, []int)) {
	defer close(p.gone)
	defer p.conn.Close()
	buf := make([]byte, maxMessage)
	for {
		m, fds, err := p.receive(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		answer := p.asked[m.ID]
		p.mu.Unlock()
		if m.ID == 0 || answer == nil {
			heard(m, fds)
			continue
		}
		closeAll(fds)
		select {
		case answer <- m:
		default:
		}
	}
}

// kill ends a pump that does not answer, unless it is buried already.
func (p *peer) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pidfd >= 0 {
		p.killed = true
		_ = unix.PidfdSendSignal(p.pidfd, unix.SIGKILL, nil, 0)
	}
}

// doomed tells whether the pump was killed.
func (p *peer) doomed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.killed
}

// release closes the pidfd.
func (p *peer) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = unix.Close(p.pidfd)
	p.pidfd = -1
}

// bury waits until the pump has ended, for d at most, and takes it out of the
// process table if it is a child of this process. It must not be used afterwards.
func (p *peer) bury(d time.Duration) bool {
	defer p.release()
	if !pidfdEnds(p.pidfd, d) {
		return false
	}
	// Exactly that process, and none other: the exits of others are evidence.
	_ = unix.Waitid(unix.P_PIDFD, p.pidfd, nil, unix.WEXITED|unix.WNOHANG, nil)
	return true
}

// pidfdEnds waits for the end of a process.
func pidfdEnds(pidfd int, d time.Duration) bool {
	deadline := time.Now().Add(d)
	for {
		left := time.Until(deadline)
		fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(max(left.Milliseconds(), 0)))
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return true
		}
		if left <= 0 {
			return false
		}
	}
}
