package keeper

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// server is the server process and the keeper's end of the link to it. The zero
// value is none.
type server struct {
	pid  int
	link *os.File
	// packets has what the server says. It is closed at the end of the link;
	// nil when nobody reads.
	packets chan string
	// listens: the server handles signals.
	listens bool
}

// own is the image of this process, even after its file was replaced.
const own = "/proc/self/exe"

// startServer executes binary, own if it is empty, with the keeper's files and a
// new link. The server has a process group of its own, so that Ctrl-C reaches
// the keeper only.
func startServer(binary string, args, env []string) (server, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return server{}, fmt.Errorf("make the link to the server: %w", err)
	}
	defer unix.Close(pair[1])
	if binary == "" {
		binary = own
	}
	pid, err := syscall.ForkExec(binary, args, &syscall.ProcAttr{
		Env:   env,
		Files: []uintptr{0, 1, 2, linkFD: uintptr(pair[1])},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		unix.Close(pair[0])
		return server{}, fmt.Errorf("start the server: %w", &os.PathError{Op: "exec", Path: binary, Err: err})
	}
	return newServer(pid, pair[0])
}

// newServer is a server that runs.
func newServer(pid, fd int) (server, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return server{}, fmt.Errorf("read from the server: %w", err)
	}
	s := server{pid: pid, link: os.NewFile(uintptr(fd), "server")}
	s.read()
	return s, nil
}

// read begins to read what the server says.
func (s *server) read() {
	packets := make(chan string, 16)
	s.packets = packets
	link := s.link
	go func() {
		defer close(packets)
		buffer := make([]byte, maxMessage)
		for {
			n, err := link.Read(buffer)
			if err != nil || n == 0 {
				return
			}
			packets <- string(buffer[:n])
		}
	}()
}

// stopReading ends read and returns what had been read by then.
func (s *server) stopReading() (said []string) {
	if s.packets == nil {
		return nil
	}
	_ = s.link.SetReadDeadline(time.Unix(1, 0))
	for packet := range s.packets {
		said = append(said, packet)
	}
	s.packets = nil
	return said
}

// close returns all that the server has said but was not heard, and closes the
// link. It does not wait for the end of the link, which somebody may have
// inherited from the server.
func (s *server) close() (said []string) {
	said = s.stopReading()
	conn, err := s.link.SyscallConn()
	if err == nil {
		_ = conn.Control(func(fd uintptr) {
			buffer := make([]byte, maxMessage)
			for {
				n, err := unix.Read(int(fd), buffer)
				if n <= 0 || err != nil {
					return
				}
				said = append(said, string(buffer[:n]))
			}
		})
	}
	_ = s.link.Close()
	return said
}

// signal tells the server something. That it may just have ended is seen to
// elsewhere; as it is not reaped its number is still its own.
func (s *server) signal(sig syscall.Signal) {
	if s.pid != 0 {
		_ = syscall.Kill(s.pid, sig)
	}
}
