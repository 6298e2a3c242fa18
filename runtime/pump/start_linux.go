package pump

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// start executes the server's own binary as the pump. Its environment is empty,
// so that nobody takes it for a process of a run.
func (c *Client) start(log *os.File) (*peer, error) {
	if !hasMain.Load() {
		return nil, errors.New("this program cannot be a pump: its main does not call pump.Main")
	}
	if err := log.Truncate(0); err != nil {
		return nil, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "pump"), os.NewFile(uintptr(pair[1]), "server")
	defer theirs.Close()
	l, err := newLink(ours)
	if err != nil {
		return nil, err
	}
	pidfd := -1
	pid, _, err := syscall.StartProcess("/proc/self/exe", []string{c.name}, &syscall.ProcAttr{
		Dir:   c.o.RunDir,
		Env:   []string{},
		Files: []uintptr{null.Fd(), null.Fd(), log.Fd(), theirs.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true, PidFD: &pidfd},
	})
	if err != nil {
		_ = l.conn.Close()
		return nil, fmt.Errorf("fork the pump: %w", err)
	}
	c.log.Info("the pump is started", "pid", pid)
	p := newPeer(l, pid, pidfd)
	p.ours = true
	return p, nil
}

// lastWords is what a pump said when it crashed, behind a colon; nothing if it
// said nothing.
func (c *Client) lastWords() string {
	f, err := os.Open(c.logPath())
	if err != nil {
		return ""
	}
	defer f.Close()
	const enough = 2 << 10
	text, err := io.ReadAll(io.LimitReader(f, enough))
	if words := strings.TrimSpace(string(text)); err == nil && words != "" {
		return ": " + words
	}
	return ""
}
