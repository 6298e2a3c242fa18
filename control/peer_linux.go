package control

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// peerUID is the user who connected, as the kernel noted it (SO_PEERCRED, see
// unix(7)).
func peerUID(nc net.Conn) (int, error) {
	sock, ok := nc.(*net.UnixConn)
	if !ok {
		return 0, errors.New("this is no unix socket")
	}
	raw, err := sock.SyscallConn()
	if err != nil {
		return 0, err
	}
	var (
		cred    *unix.Ucred
		credErr error
	)
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, credErr
	}
	return int(cred.Uid), nil
}
