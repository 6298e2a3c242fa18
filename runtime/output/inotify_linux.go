package output

import (
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"
)

// Which events of a file end its watch, see inotify(7): for one that nobody
// writes to, and for one that is being written to. A watch is for one event, so
// a file that is written to costs nothing for each write.
const (
	watchMoves  = unix.IN_ATTRIB | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONESHOT
	watchWrites = watchMoves | unix.IN_MODIFY
)

// inotify tells of changes of files.
type inotify struct {
	f *os.File
	// events are the numbers of watches that ended with an event; overflow is
	// sent where some got lost. It is closed at the end.
	events chan int32
}

// overflow is what the kernel has for a watch when it lost events.
const overflow = -1

// newInotify starts the goroutine that reads the events, which ends with close.
func newInotify() (*inotify, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	n := &inotify{f: os.NewFile(uintptr(fd), "inotify"), events: make(chan int32, 256)}
	go n.read()
	return n, nil
}

// read parks in Go's poller and uses no thread.
func (n *inotify) read() {
	defer close(n.events)
	buf := make([]byte, 16<<10)
	for {
		got, err := n.f.Read(buf)
		if err != nil {
			return
		}
		for b := buf[:got]; len(b) >= unix.SizeofInotifyEvent; {
			watch := int32(binary.NativeEndian.Uint32(b))
			mask := binary.NativeEndian.Uint32(b[4:])
			length := binary.NativeEndian.Uint32(b[12:])
			if mask&unix.IN_IGNORED == 0 {
				n.events <- watch
			}
			b = b[min(len(b), unix.SizeofInotifyEvent+int(length)):]
		}
	}
}

// add watches the file at a path for one event, and returns the watch's number.
// A file that is watched already keeps it.
func (n *inotify) add(path string, mask uint32) (watch int32, err error) {
	raw, err := n.f.SyscallConn()
	if err != nil {
		return 0, err
	}
	controlErr := raw.Control(func(fd uintptr) {
		var got int
		if got, err = unix.InotifyAddWatch(int(fd), path, mask); err == nil {
			watch = int32(got)
		}
	})
	if controlErr != nil {
		return 0, controlErr
	}
	return watch, err
}

// close ends it. Whoever reads events reads on until they are closed.
func (n *inotify) close() {
	n.f.Close()
	for range n.events {
	}
}
