package systemd

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// What a socket is for.
const (
	// Unix takes the place of kita.sock in the run directory.
	Unix = "unix"
	// Listen takes the place of listener_addr and its port.
	Listen = "listen"
	// Metrics takes the place of metrics_addr.
	Metrics = "metrics_addr"
)

// Socket is one that the manager listens on. Its descriptor is close-on-exec.
type Socket struct {
	Use string
	FD  int
}

// Sockets are those that the manager handed over, at most one of each use.
func (m *Manager) Sockets() []Socket {
	if m == nil {
		return nil
	}
	return m.sockets
}

// listening finds the sockets of env and judges each.
func listening(env map[string]string) ([]Socket, error) {
	if env[envListen] == "" || env[envListenPID] == "" || !isMe(env[envListenPID]) {
		return nil, nil
	}
	n, err := strconv.Atoi(env[envListen])
	if err != nil || n < 0 || n > 1024 {
		return nil, fmt.Errorf("%s=%s is no number of sockets", envListen, env[envListen])
	}
	names := strings.Split(env[envListenNames], ":")
	var sockets []Socket
	taken := map[string]bool{}
	for i := range n {
		fd, name := firstListen+i, ""
		if i < len(names) {
			name = names[i]
		}
		unix.CloseOnExec(fd)
		use, err := useOf(fd, name)
		if err == nil && taken[use] {
			err = fmt.Errorf("it is the second for %s, hand over one", use)
		}
		if err != nil {
			return nil, fmt.Errorf("socket activation: descriptor %d, %q: %w", fd, name, err)
		}
		taken[use] = true
		sockets = append(sockets, Socket{use, fd})
	}
	return sockets, nil
}

// useOf tells what a socket is for by its kind and its name. Without
// FileDescriptorName= the name is that of the .socket unit, and without systemd
// it is "unknown" or none.
func useOf(fd int, name string) (string, error) {
	tcp, err := kindOf(fd)
	if err != nil {
		return "", err
	}
	use := name
	switch {
	case name == "metrics":
		use = Metrics
	case name == "" || name == "unknown" || strings.HasSuffix(name, ".socket"):
		if use = Unix; tcp {
			use = Listen
		}
	case name != Unix && name != Listen:
		return "", errors.New("the name is unknown, give FileDescriptorName= unix, listen or metrics, or none")
	}
	switch {
	case use == Unix && tcp:
		return "", errors.New("it is a TCP socket, unix takes a path")
	case use != Unix && !tcp:
		return "", errors.New("it is a unix socket, listen and metrics take an address of TCP")
	}
	return use, nil
}

// kindOf tells a TCP socket from a unix one, and refuses all others.
func kindOf(fd int) (tcp bool, err error) {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return false, errors.New("it is no socket")
	}
	kind, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	protocol, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	tcp = domain == unix.AF_INET || domain == unix.AF_INET6
	switch {
	case !tcp && domain != unix.AF_UNIX:
		return false, errors.New("it is neither of TCP nor a unix socket, write ListenStream=")
	case kind != unix.SOCK_STREAM || tcp && protocol != unix.IPPROTO_TCP && protocol != unix.IPPROTO_MPTCP:
		return false, errors.New("it is no stream socket, write ListenStream=")
	case !Accepts(fd):
		return false, errors.New("it does not listen, write Accept=no")
	}
	return tcp, nil
}

// Accepts tells whether a socket listens.
func Accepts(fd int) bool {
	on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	return err == nil && on == 1
}
