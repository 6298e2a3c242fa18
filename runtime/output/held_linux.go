package output

import (
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// held is an open file that is not at its path any more. Nil is none.
type held struct {
	mu sync.Mutex
	fd int // guarded by mu; -1 once closed
}

// dup is another descriptor of the file, which the caller closes.
func (h *held) dup() (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fd < 0 {
		return -1, errGone
	}
	return unix.FcntlInt(uintptr(h.fd), unix.F_DUPFD_CLOEXEC, 0)
}

// path leads to the file while it is held.
func (h *held) path() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return fdPath(h.fd)
}

func (h *held) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	unix.Close(h.fd)
	h.fd = -1
}

// movedTo says under which name the file lies now, empty where that cannot be
// told. False: it has none.
func (h *held) movedTo() (path string, moved bool) {
	if h == nil {
		return "", false
	}
	fd, err := h.dup()
	if err != nil {
		return "", false
	}
	defer unix.Close(fd)
	if st, err := statFD(fd); err != nil || st.Nlink == 0 {
		return "", false
	}
	path, err = os.Readlink(fdPath(fd))
	if at, statErr := lookAt(path); err != nil || statErr != nil || at.key != keyOf(fd) {
		return "", true
	}
	return path, true
}

// openOf opens the file with this key for reading and writing, where a process
// has it open; nil if it has not, or may not be asked.
func openOf(pid int, key Key) *held {
	dir := "/proc/" + strconv.Itoa(pid) + "/fd"
	fds, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, entry := range fds {
		path := filepath.Join(dir, entry.Name())
		if at, err := lookAt(path); err != nil || at.key != key {
			continue
		}
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
		if err != nil {
			continue
		}
		// Another one may have been opened under that number meanwhile.
		if keyOf(fd) != key {
			unix.Close(fd)
			continue
		}
		return &held{fd: fd}
	}
	return nil
}
