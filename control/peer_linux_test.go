package control

import (
	"io"
	"net"
	"runtime"

	"golang.org/x/sys/unix"
)

// askAs asks as another user: a thread of its own takes that user's identity
// for the connect, and ends with it.
func askAs(uid int, socket, request string) (string, error) {
	type result struct {
		answer string
		err    error
	}
	done := make(chan result)
	go func() {
		// Never unlocked, so the thread ends with the goroutine.
		runtime.LockOSThread()
		answer, err := func() (string, error) {
			if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
				return "", errno
			}
			nc, err := net.Dial("unix", socket)
			if err != nil {
				return "", err
			}
			defer nc.Close()
			if _, err := io.WriteString(nc, request); err != nil {
				return "", err
			}
			content, err := io.ReadAll(nc)
			return string(content), err
		}()
		done <- result{answer, err}
	}()
	r := <-done
	return r.answer, r.err
}
