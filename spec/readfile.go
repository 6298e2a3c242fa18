package spec

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// MaxFileSize is the size of the largest configuration file that is read.
const MaxFileSize = 1 << 20

// fileID changes whenever a file's content or place on its disk does, but for
// changes within one tick of the file system's clock (see racy).
type fileID struct {
	dev, inode   uint64
	links        uint64
	size         int64
	mtime, ctime unix.Timespec
}

// ReadFile reads a configuration file: a regular file of at most MaxFileSize.
// It never blocks on a FIFO, nor opens a device. A file that is not there
// gives an error that is fs.ErrNotExist.
func ReadFile(path string) ([]byte, error) {
	data, _, err := readFile(path)
	return data, err
}

func readFile(path string) ([]byte, fileID, error) {
	// Looked at before it is opened, because opening a device can act on it;
	// and again when open, because it may have been replaced in between.
	var st unix.Stat_t
	if err := ignoringEINTR(func() error { return unix.Stat(path, &st) }); err != nil {
		return nil, fileID{}, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	if err := mustBeRegular(path, &st); err != nil {
		return nil, fileID{}, err
	}
	// Without os.File, which would ask the poller first whether it may block.
	fd, err := open(path)
	if err != nil {
		return nil, fileID{}, fmt.Errorf("read: %w", err)
	}
	defer unix.Close(fd)
	if err := ignoringEINTR(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return nil, fileID{}, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	if err := mustBeRegular(path, &st); err != nil {
		return nil, fileID{}, err
	}
	data, err := readAll(fd, st.Size)
	if err != nil {
		return nil, fileID{}, fmt.Errorf("read: %w", &fs.PathError{Op: "read", Path: path, Err: err})
	}
	if len(data) > MaxFileSize {
		return nil, fileID{}, fmt.Errorf("read %s: larger than 1 MiB, which no configuration file may be", printable(path))
	}
	return data, idOf(&st), nil
}

func open(path string) (fd int, err error) {
	err = ignoringEINTR(func() (err error) {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// readAll reads a file that is likely to have size bytes, and at most a few more
// than MaxFileSize.
func readAll(fd int, size int64) ([]byte, error) {
	data := make([]byte, 0, min(size, MaxFileSize)+1)
	for len(data) <= MaxFileSize {
		data = slices.Grow(data, 1)
		n := 0
		err := ignoringEINTR(func() (err error) {
			n, err = unix.Read(fd, data[len(data):cap(data)])
			return err
		})
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		data = data[:len(data)+n]
	}
	return data, nil
}

func mustBeRegular(path string, st *unix.Stat_t) error {
	kind := ""
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return nil
	case unix.S_IFDIR:
		kind = "a directory"
	case unix.S_IFIFO:
		kind = "a FIFO"
	case unix.S_IFSOCK:
		kind = "a socket"
	default:
		kind = "a device"
	}
	return fmt.Errorf("read %s: is %s, not a regular file", printable(path), kind)
}

func idOf(st *unix.Stat_t) fileID {
	return fileID{
		dev:   uint64(st.Dev),
		inode: uint64(st.Ino),
		links: uint64(st.Nlink),
		size:  st.Size,
		mtime: st.Mtim,
		ctime: st.Ctim,
	}
}

// statID identifies what path names, following symbolic links.
func statID(path string) (fileID, error) {
	var st unix.Stat_t
	if err := ignoringEINTR(func() error { return unix.Stat(path, &st) }); err != nil {
		return fileID{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return idOf(&st), nil
}

// racy tells whether something could have changed after it was looked at, at
// seen, without id showing it: the change may carry the same time stamp.
func (id fileID) racy(seen time.Time) bool {
	oldest := seen.Add(-id.tick())
	return time.Unix(id.mtime.Unix()).After(oldest) || time.Unix(id.ctime.Unix()).After(oldest)
}

// tick is how long two changes may be apart and carry the same time stamp. Two
// seconds is the coarsest clock of a file system in use (FAT). One on a disk of
// this machine that counts in less than milliseconds takes the kernel's clock,
// which goes on at least a hundred times a second (CONFIG_HZ); its ctime, unlike
// its mtime, cannot be set. The clock of another machine may differ from ours.
func (id fileID) tick() time.Duration {
	if id.onDisk() && time.Duration(id.ctime.Nano())%time.Millisecond != 0 {
		return 20 * time.Millisecond
	}
	return 2 * time.Second
}

// onDisk tells whether it is on a disk of this machine: other file systems have
// no device of their own.
func (id fileID) onDisk() bool { return unix.Major(id.dev) != 0 }

func ignoringEINTR(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
