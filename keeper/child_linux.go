package keeper

import (
	"fmt"
	"io"
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
	packets chan packet
	// listens: the server handles signals.
	listens bool
}

// packet is one message, and the descriptor that came with it, or -1.
type packet struct {
	text string
	fd   int
}

// own is the image of this process, even after its file was replaced.
const own = "/proc/self/exe"

// startServer executes binary, own if it is empty, with the keeper's files and a
// new link. The server has a process group of its own, so that Ctrl-C reaches
// the keeper only.
// held are what it inherits besides, from heldFD on.
func startServer(binary string, args, env []string, held []int) (server, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return server{}, fmt.Errorf("make the link to the server: %w", err)
	}
	defer unix.Close(pair[1])
	if binary == "" {
		binary = own
	}
	files := []uintptr{0, 1, 2, linkFD: uintptr(pair[1])}
	for _, fd := range held {
		files = append(files, uintptr(fd))
	}
	pid, err := syscall.ForkExec(binary, args, &syscall.ProcAttr{
		Env:   env,
		Files: files,
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
	packets := make(chan packet, 16)
	s.packets = packets
	link := s.link
	go func() {
		defer close(packets)
		conn, err := link.SyscallConn()
		if err != nil {
			return
		}
		buffer := make([]byte, maxMessage)
		for {
			var p packet
			var got error
			err := conn.Read(func(fd uintptr) bool {
				p, got = receive(int(fd), buffer)
				return got != unix.EAGAIN
			})
			if err != nil || got != nil {
				return
			}
			packets <- p
		}
	}()
}

// stopReading ends read and returns what had been read by then.
func (s *server) stopReading() (said []packet) {
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

// receive takes one packet from the link. The end of the link is an error.
func receive(fd int, buffer []byte) (packet, error) {
	control := make([]byte, unix.CmsgSpace(4))
	for {
		n, controlled, _, _, err := unix.Recvmsg(fd, buffer, control, unix.MSG_CMSG_CLOEXEC)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return packet{}, err
		case n == 0:
			return packet{}, io.EOF
		}
		return packet{string(buffer[:n]), descriptorIn(control[:controlled])}, nil
	}
}

// descriptorIn is the descriptor of a packet, -1 if it has none.
func descriptorIn(control []byte) int {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil || len(messages) == 0 {
		return -1
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) == 0 {
		return -1
	}
	for _, more := range fds[1:] {
		_ = unix.Close(more)
	}
	return fds[0]
}

// close returns all that the server has said but was not heard, and closes the
// link. It does not wait for the end of the link, which somebody may have
// inherited from the server.
func (s *server) close() (said []packet) {
	said = s.stopReading()
	conn, err := s.link.SyscallConn()
	if err == nil {
		_ = conn.Control(func(fd uintptr) {
			buffer := make([]byte, maxMessage)
			for {
				p, err := receive(int(fd), buffer)
				if err != nil {
					return
				}
				said = append(said, p)
			}
		})
	}
	_ = s.link.Close()
	return said
}

// askToHold asks the server for its listeners. One that does not hear it keeps
// them to itself.
func (s *server) askToHold() {
	_ = s.link.SetWriteDeadline(time.Now().Add(patience))
	_, _ = s.link.WriteString(wordHold)
}

// signal tells the server something. That it may just have ended is seen to
// elsewhere; as it is not reaped its number is still its own.
func (s *server) signal(sig syscall.Signal) {
	if s.pid != 0 {
		_ = syscall.Kill(s.pid, sig)
	}
}
