package pump

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// processName is the argv[0] by which a process knows that it is the pump.
const processName = "kita-pump"

// Descriptors of the pump: the log that it locks, and the connection to the
// server that started it.
const (
	logFD  = 2
	linkFD = 3
)

// acceptPause is between two tries to let a server in.
const acceptPause = 100 * time.Millisecond

// hasMain tells that this program runs Main, so that its binary can be the pump.
var hasMain atomic.Bool

// Main must be called at the start of main and of TestMain: if this process is
// the pump, it does that work and never returns.
func Main() {
	if len(os.Args) != 1 || os.Args[0] != processName {
		hasMain.Store(true)
		return
	}
	os.Exit(act(version))
}

// act is the pump with messages of that version, and returns its exit code.
func act(version int) int {
	if err := pump(version); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", processName, err)
		return 1
	}
	return 0
}

// pump is the pump, from its start to its end.
func pump(version int) error {
	unix.CloseOnExec(linkFD)
	// It was executed by a path that says nothing; ps and top show this.
	_ = os.WriteFile("/proc/self/comm", []byte(processName), 0)
	// It ends when it is not needed any more, whatever else is told to end. A
	// pipe without a reader and the limit of a file's size are errors of a write.
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGPIPE,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGXFSZ)
	unix.Umask(0o177)
	if err := lock(os.Stderr); err != nil {
		return err
	}
	first, err := newLink(os.NewFile(linkFD, "server"))
	if err != nil {
		return fmt.Errorf("the server's connection: %w", err)
	}
	// Only the holder of the lock gets here: whose socket it is has died.
	if err := os.Remove(socketName); err != nil && !os.IsNotExist(err) {
		return err
	}
	listener, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: socketName, Net: "unixpacket"})
	if err != nil {
		return err
	}
	defer listener.Close()
	p, err := newPoller()
	if err != nil {
		return err
	}
	h := newHouse(version, p)
	go h.tell()
	finished := make(chan struct{}, 1)
	serve := func(l *link) {
		if h.serve(l) {
			finished <- struct{}{}
		}
	}
	go serve(first)
	go h.accept(listener, serve)
	select {
	case <-h.empty:
	case <-finished:
	}
	return nil
}

// accept lets servers in until the listener is closed.
func (h *house) accept(listener *net.UnixListener, serve func(*link)) {
	for {
		conn, err := listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// For want of descriptors, say; the server tries again, too.
			select {
			case <-h.empty:
				return
			case <-time.After(acceptPause):
			}
			continue
		}
		l := &link{conn: conn}
		if l.checkPeer() != nil {
			_ = conn.Close()
			continue
		}
		go serve(l)
	}
}
