package audit

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"kita/control/owned"
)

// file is an open log.
type file struct {
	*os.File
	path string
	// st is as it was when it was opened.
	st unix.Stat_t
	// torn: it does not end with the end of a line.
	torn bool
}

// openFile opens the log at path. What could have been put there to lead the
// lines elsewhere, or to have the server wait, is refused, and so is what other
// users can change.
func openFile(path string) (*file, error) {
	const flags = os.O_RDWR | os.O_APPEND | os.O_CREATE | syscall.O_NOFOLLOW | syscall.O_NONBLOCK | syscall.O_NOCTTY
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, explain(path, err)
	}
	var st unix.Stat_t
	if err = unix.Fstat(int(f.Fd()), &st); err == nil {
		err = check(&st)
	}
	if err != nil {
		_ = f.Close()
		return nil, explain(path, err)
	}
	return &file{File: f, path: path, st: st, torn: endsWithin(f, st.Size)}, nil
}

// check says why an open file is none to write to.
func check(st *unix.Stat_t) error {
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errNotRegular
	}
	if err := owned.Check(st); err != nil {
		return fmt.Errorf("it %w", err)
	}
	if st.Nlink > 1 {
		return fmt.Errorf("it has %d names, others may have linked it: copy it, and remove this one", st.Nlink)
	}
	return nil
}

var errNotRegular = errors.New("it is not a regular file")

func explain(path string, err error) error {
	var pathErr *os.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	switch {
	case errors.Is(err, syscall.ELOOP):
		err = errors.New("it is a symbolic link, name the file itself")
	case errors.Is(err, syscall.EISDIR):
		err = errors.New("it is a directory, name a file in it")
	case errors.Is(err, syscall.ENOENT):
		err = errors.New("its directory does not exist, make it")
	case errors.Is(err, syscall.ENXIO):
		err = errNotRegular
	}
	return fmt.Errorf("%s: %w", path, err)
}

// endsWithin tells whether the file ends within a line, as after a crash in the
// middle of one.
func endsWithin(f *os.File, size int64) bool {
	if size == 0 {
		return false
	}
	last := make([]byte, 1)
	_, err := f.ReadAt(last, size-1)
	return err != nil || last[0] != '\n'
}

// isAt tells whether path still is this file, and as safe from others as it was.
// While it is open no other gets its inode. Who links it somewhere else later
// can change nothing in it, and must not be able to have it given up.
func (f *file) isAt(path string) bool {
	if path != f.path {
		return false
	}
	var now unix.Stat_t
	return unix.Lstat(path, &now) == nil && now.Dev == f.st.Dev && now.Ino == f.st.Ino &&
		now.Mode == f.st.Mode && now.Uid == f.st.Uid && now.Gid == f.st.Gid
}

// put is a single write(2), so that lines of two servers, as during an upgrade,
// do not mix.
func (f *file) put(p []byte) (n int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", f.path, err)
	}
	var writeErr error
	err = raw.Write(func(fd uintptr) bool {
		for {
			if n, writeErr = unix.Write(int(fd), p); !errors.Is(writeErr, unix.EINTR) {
				return true
			}
		}
	})
	if err == nil {
		err = writeErr
	}
	if err != nil {
		return max(n, 0), fmt.Errorf("%s: %w", f.path, err)
	}
	return n, nil
}
