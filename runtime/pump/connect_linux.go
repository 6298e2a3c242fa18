package pump

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// deathPatience is how long a pump may take to end that has closed its
	// connection, and reachPatience how long one may be there that lets nobody in.
	deathPatience = 5 * time.Second
	reachPatience = 3 * time.Second
	// restartPause is between tries to get a pump.
	restartPause = time.Second
)

// current returns the pump, nil if there is none.
func (c *Client) current() *peer {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.peer != nil && isClosed(c.peer.gone) {
		return nil
	}
	return c.peer
}

// connect makes sure that there is a pump, and that it has what this server
// attached; unless start is set, only one that lives will do. connecting is held.
func (c *Client) connect(start bool) error {
	for c.current() == nil {
		if isClosed(c.closing) {
			return errClosed
		}
		p, err := c.reach(start)
		if err != nil || p == nil {
			return err
		}
		if !c.listenTo(p) {
			return errClosed
		}
		answer, err := p.ask(context.Background(), message{Op: opHello, Version: c.version})
		if errors.Is(err, errSilent) {
			<-p.buried
			continue
		}
		if err != nil && !p.ours {
			// It was ending just then.
			<-p.buried
			continue
		}
		if err != nil {
			return fmt.Errorf("start the pump: %w%s", err, c.lastWords())
		}
		if answer.Version != c.version {
			c.finish(p, answer.Version)
			continue
		}
		c.install(p)
	}
	return nil
}

// listenTo begins to take in what a pump says; false if the client is closed.
func (c *Client) listenTo(p *peer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = p.conn.Close()
		p.release()
		return false
	}
	for k := range c.stats {
		// It tells of all that it has; the rest has ended, or is attached anew.
		if c.streams[k] == nil {
			delete(c.stats, k)
		}
	}
	c.heeded = p
	c.running.Go(func() {
		p.listen(c.heard)
		c.lost(p)
	})
	return true
}

// install makes p the pump, and attaches to it what was attached to another.
func (c *Client) install(p *peer) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.watchFIFOs()
	go p.watch(c.lookout)
	// The end of the one before may not have been seen to yet.
	c.mourn(c.peer)
	c.peer = p
	c.tellChanged()
	var keys []Key
	for k := range c.streams {
		keys = append(keys, k)
	}
	c.mu.Unlock()
	for _, k := range keys {
		if err := c.attach(k); err != nil {
			c.fault(k, err)
		}
	}
}

// watchFIFOs makes the lookout, with what was learned of the pump. mu is held.
func (c *Client) watchFIFOs() {
	if c.lookout == nil && !c.closed {
		l, err := newLookout()
		if err != nil {
			c.log.Warn("a pump that has nothing to do is asked how it is", "err", err)
			return
		}
		c.lookout = l
		c.running.Go(l.run)
	}
	for _, a := range c.streams {
		c.lookout.add(a.fifo)
	}
}

// finish has a pump of another version write what it has, and end.
func (c *Client) finish(p *peer, its int) {
	c.log.Info("the pump is of another version, it is replaced", "pid", p.pid, "version", its)
	c.endPump(p)
}

// endPump has a pump write what it has, and end.
func (c *Client) endPump(p *peer) {
	if p.send(message{Op: opFinish}) != nil {
		p.kill()
	}
	timer := time.NewTimer(2 * finishPatience)
	defer timer.Stop()
	select {
	case <-p.buried:
	case <-timer.C:
		p.kill()
		<-p.buried
	}
}

// lost sees to the end of a pump, and to another one if it is needed.
func (c *Client) lost(p *peer) {
	c.mu.Lock()
	c.mourn(p)
	c.tellChanged()
	closed := c.closed
	c.mu.Unlock()
	defer close(p.buried)
	if closed {
		p.release()
		return
	}
	if p.bury(deathPatience) {
		c.log.Warn("the pump has ended", "pid", p.pid, "log", c.lastWords())
	} else if p.doomed() {
		c.disown(p.pid)
	}
	c.connectLater()
}

// mourn notes that p, unless another one is the pump, has ended with what it had
// read. mu is held.
func (c *Client) mourn(p *peer) {
	if p == nil || c.peer != p {
		return
	}
	c.peer = nil
	for _, a := range c.streams {
		a.torn = a.dest >= 0
	}
}

// disown lets another pump start beside one that was killed and does not die: a
// write of it hangs in the kernel. It does nothing more, but has its lock.
func (c *Client) disown(pid int) {
	c.log.Error("the pump was killed and does not die, a write of it hangs; another one takes over", "pid", pid)
	if err := os.Remove(c.logPath()); err != nil && !os.IsNotExist(err) {
		c.log.Error("its lock cannot be removed", "err", err)
	}
}

// connectLater sees to it that there will be a pump, if something is attached.
func (c *Client) connectLater() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.retrying {
		return
	}
	c.retrying = true
	c.running.Go(c.connectAtLast)
}

// connectAtLast tries until there is a pump, or none is needed.
func (c *Client) connectAtLast() {
	defer func() {
		c.mu.Lock()
		c.retrying = false
		c.mu.Unlock()
	}()
	for {
		c.connecting.Lock()
		err := c.connect(c.needed())
		c.connecting.Unlock()
		if err == nil || errors.Is(err, errClosed) {
			return
		}
		c.log.Error("there is no pump, another try follows", "err", err)
		c.faultAll(err)
		select {
		case <-c.closing:
			return
		case <-time.After(restartPause):
		}
	}
}

// needed tells whether something is attached.
func (c *Client) needed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.streams {
		if a.dest >= 0 {
			return true
		}
	}
	return false
}

// reach connects to the pump that lives, or starts one if start is set. It
// returns nil if there is none.
func (c *Client) reach(start bool) (*peer, error) {
	if start {
		if err := makeDir(c.o.RunDir); err != nil {
			return nil, err
		}
	}
	log, err := os.OpenFile(c.logPath(), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if os.IsNotExist(err) && !start {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer log.Close()
	deadline := time.Now().Add(reachPatience)
	for {
		pid, err := lockedBy(log)
		switch {
		case err != nil:
			return nil, err
		case pid == 0 && !start:
			return nil, nil
		case pid == 0:
			return c.start(log)
		}
		p, err := c.dial(log, pid)
		if p != nil {
			return p, nil
		}
		if !time.Now().Before(deadline) {
			return nil, fmt.Errorf("the pump, PID %d, cannot be reached and was killed: %w", pid, err)
		}
	}
}

// dial connects to the pump with that PID. One that cannot be reached ends just
// now, or has just begun; if it is still there after a while, it is killed.
func (c *Client) dial(log *os.File, pid int) (*peer, error) {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, err
	}
	if now, err := lockedBy(log); err != nil || now != pid {
		_ = unix.Close(pidfd)
		return nil, err
	}
	deadline := time.Now().Add(reachPatience)
	for {
		l, err := dialSocket(c.o.RunDir)
		if err == nil {
			return newPeer(l, pid, pidfd), nil
		}
		if !time.Now().Before(deadline) {
			_ = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
			if !pidfdEnds(pidfd, deathPatience) {
				c.disown(pid)
				_ = unix.Close(pidfd)
				return nil, err
			}
		}
		if pidfdEnds(pidfd, 20*time.Millisecond) {
			_ = unix.Waitid(unix.P_PIDFD, pidfd, nil, unix.WEXITED|unix.WNOHANG, nil)
			_ = unix.Close(pidfd)
			return nil, err
		}
	}
}

func dialSocket(runDir string) (*link, error) {
	dir, err := unix.Open(runDir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: runDir, Err: err}
	}
	defer unix.Close(dir)
	// The address of a socket may have 107 bytes only.
	short := filepath.Join("/proc/self/fd", fmt.Sprint(dir), socketName)
	conn, err := net.DialTimeout("unixpacket", short, reachPatience)
	if err != nil {
		return nil, err
	}
	l := &link{conn: conn.(*net.UnixConn)}
	if err := l.checkPeer(); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return l, nil
}
