package pump

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// pipeSize is how many bytes a FIFO holds, where the kernel allows it:
// /proc/sys/fs/pipe-max-size is as much by default.
const pipeSize = 1 << 20

// MakeFIFO makes the FIFO of a stream that is about to begin and opens it for
// reading and writing, close-on-exec. The process gets fd as its standard output
// or error; the caller closes it after the fork. uid and gid are whose FIFO it
// becomes; -1 is the server's own.
//
// The order of a launch is MakeFIFO, Attach, fork, close of fd: a server that
// dies at any point in between leaves no process whose output nobody takes.
// Discard takes it back.
func (c *Client) MakeFIFO(k Key, uid, gid int) (fd int, path string, err error) {
	if err := makeDir(c.o.RunDir); err != nil {
		return -1, "", err
	}
	path = c.path(k)
	if err := mkfifo(path); err != nil {
		return -1, "", err
	}
	fd, err = open(path, unix.O_RDWR)
	if err == nil && (uid >= 0 || gid >= 0) {
		if err = unix.Fchown(fd, uid, gid); err != nil {
			err = &os.PathError{Op: "chown", Path: path, Err: err}
			_ = unix.Close(fd)
		}
	}
	var reader int
	if err == nil {
		// Refused to a user who has many pipes: then it is as it is.
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, pipeSize)
		if reader, err = openReader(path); err != nil {
			_ = unix.Close(fd)
		}
	}
	if err != nil {
		_ = os.Remove(path)
		return -1, "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.release(k)
	c.streams[k] = &attached{fifo: reader, dest: -1}
	return fd, path, nil
}

func (c *Client) path(k Key) string { return filepath.Join(c.o.RunDir, dirName, k.String()) }
func (c *Client) logPath() string   { return filepath.Join(c.o.RunDir, dirName, logName) }

// mkfifo makes a FIFO in place of one that nobody has open.
func mkfifo(path string) error {
	err := unix.Mkfifo(path, 0o600)
	if errors.Is(err, unix.EEXIST) && abandoned(path) {
		if err := os.Remove(path); err != nil {
			return err
		}
		err = unix.Mkfifo(path, 0o600)
	}
	if err != nil {
		return &os.PathError{Op: "mkfifo", Path: path, Err: err}
	}
	return nil
}

// abandoned tells whether nobody reads a FIFO. Its process does as long as it
// lives, for it has it open for both.
func abandoned(path string) bool {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == nil {
		_ = unix.Close(fd)
	}
	return errors.Is(err, unix.ENXIO)
}

// sweep removes the FIFOs that nobody has open.
func (c *Client) sweep() {
	entries, err := os.ReadDir(filepath.Join(c.o.RunDir, dirName))
	if err != nil {
		return
	}
	for _, e := range entries {
		path := filepath.Join(c.o.RunDir, dirName, e.Name())
		if e.Type() == os.ModeNamedPipe && abandoned(path) {
			_ = os.Remove(path)
		}
	}
}

// openReader opens the reading end of a FIFO, which does not block.
func openReader(path string) (int, error) {
	fd, err := open(path, unix.O_RDONLY|unix.O_NONBLOCK)
	if errors.Is(err, unix.ENOENT) {
		return -1, fmt.Errorf("%w: %s is gone", ErrEnded, path)
	}
	return fd, err
}

// open opens a FIFO, and nothing else.
func open(path string, flags int) (int, error) {
	fd, err := unix.Open(path, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("open %s: it is no FIFO", path)
	}
	return fd, nil
}

// duplicate returns a descriptor of the same open file.
func duplicate(f *os.File) (int, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	dup := -1
	ctlErr := raw.Control(func(fd uintptr) { dup, err = duplicateFD(int(fd)) })
	return dup, errors.Join(ctlErr, err)
}

func duplicateFD(fd int) (int, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return -1, os.NewSyscallError("dup", err)
	}
	return dup, nil
}

func duplicates(fds ...int) ([]int, error) {
	var all []int
	for _, fd := range fds {
		dup, err := duplicateFD(fd)
		if err != nil {
			closeAll(all)
			return nil, err
		}
		all = append(all, dup)
	}
	return all, nil
}
