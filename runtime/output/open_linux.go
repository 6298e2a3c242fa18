package output

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// outputFlags open every output file. O_APPEND in either mode: whoever
// truncates the file, to rotate it say, must not leave a hole in front of the
// next write. O_NONBLOCK only for the open itself, which would otherwise wait
// for the reader of a FIFO.
const outputFlags = unix.O_WRONLY | unix.O_APPEND | unix.O_NOCTTY | unix.O_CLOEXEC | unix.O_NONBLOCK

// notRegular is the type of file, as in st_mode, that lies where a regular file
// has to be.
type notRegular uint32

func (n notRegular) Error() string {
	return "it is " + n.kind() + ", rotation needs a regular file: remove it, or write rotate: off"
}

// kind says what it is, with its article.
func (n notRegular) kind() string {
	switch n {
	case unix.S_IFIFO:
		return "a FIFO"
	case unix.S_IFLNK:
		return "a symbolic link"
	case unix.S_IFDIR:
		return "a directory"
	case unix.S_IFSOCK:
		return "a socket"
	case unix.S_IFCHR, unix.S_IFBLK:
		return "a device"
	case unix.S_IFREG:
		return "a regular file"
	}
	return "no file"
}

// openOutput opens an output file for a child, relative to the server's working
// directory, and makes the file and its directories where they are missing.
// regular: nothing but a regular file will do, not even by way of a link.
//
// It is opened as the server, also for a child that runs as another user, as
// systemd and supervisord do: people give logs in /var/log to children that may
// not write there. That user may own a directory on the way and put a link
// there to make root write elsewhere, so walk follows the rules of systemd's
// CHASE_SAFE then. A file created on behalf of a user becomes that user's, so
// that the child can open it again, through /dev/stdout say.
func openOutput(path string, owner *Owner, regular bool) (int, error) {
	return openGuarded(path, owner, regular, owner != nil)
}

// reopenOutput is openOutput of a regular file after the start. For a child that
// runs as root, too, it goes along the rules of walk then: at a start somebody
// looks on, here a user could lay the way at any time.
func reopenOutput(path string, owner *Owner) (int, error) {
	return openGuarded(path, owner, true, isGuarded(owner))
}

func openGuarded(path string, owner *Owner, regular, guarded bool) (int, error) {
	fd, err := openAny(path, owner, regular, guarded)
	if err == nil {
		// The child must not see a non-blocking stream.
		if err = unix.SetNonblock(fd, false); err != nil {
			unix.Close(fd)
		}
	}
	var kind notRegular
	switch {
	case err == nil:
		return fd, nil
	case err == unix.ENXIO:
		return -1, fmt.Errorf("open %s: %w (a FIFO that nobody reads, or a socket)", path, err)
	case err == errUnsafe, errors.As(err, &kind):
		return -1, fmt.Errorf("open %s: %w", path, err)
	}
	return -1, &os.PathError{Op: "open", Path: path, Err: err}
}

func openAny(path string, owner *Owner, regular, guarded bool) (fd int, err error) {
	last := func(dir int, name string) error {
		if regular {
			var st unix.Stat_t
			if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
				return notRegular(st.Mode & unix.S_IFMT)
			}
		}
		fd, err = openLast(dir, name, owner, guarded)
		return err
	}
	if guarded {
		err = walk(path, owner, true, last)
	} else {
		err = kernelWalk(path, true, last)
	}
	if err != nil {
		return -1, err
	}
	if regular {
		st, err := statFD(fd)
		if kind := st.Mode & unix.S_IFMT; err == nil && kind != unix.S_IFREG {
			err = notRegular(kind)
		}
		if err != nil {
			unix.Close(fd)
			return -1, err
		}
	}
	return fd, nil
}

// openLast opens or creates the file name in dir; ELOOP if it is a symbolic
// link that walk has to follow.
func openLast(dir int, name string, owner *Owner, guarded bool) (int, error) {
	if !guarded {
		return retryEINTR(func() (int, error) { return unix.Openat(dir, name, outputFlags|unix.O_CREAT, 0o644) })
	}
	flags := outputFlags | unix.O_NOFOLLOW
	if magicLinks(dir) {
		// /proc/self/fd/1, where /dev/stdout leads: the text of such a link is
		// no path. The directory is this process's own.
		return retryEINTR(func() (int, error) { return unix.Openat(dir, name, outputFlags, 0) })
	}
	for range maxLinks {
		fd, err := retryEINTR(func() (int, error) {
			return unix.Openat(dir, name, flags|unix.O_CREAT|unix.O_EXCL, 0o644)
		})
		if err == nil && owner == nil {
			return fd, nil
		}
		if err == nil {
			if err := unix.Fchown(fd, int(owner.UID), int(owner.GID)); err != nil {
				unix.Close(fd)
				return -1, err
			}
			return fd, nil
		}
		if err != unix.EEXIST {
			return -1, err
		}
		fd, err = retryEINTR(func() (int, error) { return unix.Openat(dir, name, flags, 0) })
		if err == unix.ENOENT {
			continue // removed in between
		}
		if err != nil {
			return -1, err
		}
		var from, to unix.Stat_t
		err = errors.Join(unix.Fstat(dir, &from), unix.Fstat(fd, &to))
		if err == nil && !safe(&from, &to) {
			err = errUnsafe
		}
		if err != nil {
			unix.Close(fd)
			return -1, err
		}
		return fd, nil
	}
	return -1, unix.EBUSY
}

func magicLinks(dir int) bool {
	var fs unix.Statfs_t
	return unix.Fstatfs(dir, &fs) == nil && int64(fs.Type) == unix.PROC_SUPER_MAGIC
}

func retryEINTR(open func() (int, error)) (int, error) {
	for {
		fd, err := open()
		if err != unix.EINTR {
			return fd, err
		}
	}
}

func statFD(fd int) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return st, err
}

// keyOf is zero where the file cannot be asked.
func keyOf(fd int) Key {
	st, err := statFD(fd)
	if err != nil {
		return Key{}
	}
	return Key{Dev: uint64(st.Dev), Inode: st.Ino}
}

func errnoOf(err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// fdPath is a path of an open file of this process.
func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// ofServer tells whether a path is of a device or of an open file of the server:
// also where /dev/stderr leads to a regular file, that is not a child's to read or
// to rotate.
func ofServer(path string) bool {
	path = filepath.Clean(path)
	return strings.HasPrefix(path, "/proc/") || strings.HasPrefix(path, "/dev/") && !strings.HasPrefix(path, "/dev/shm/")
}

// absolute is the path from the root. One with ".." in it is not made shorter:
// after a symbolic link it does not lead back.
func absolute(path string) (string, error) {
	full := path
	if !filepath.IsAbs(path) {
		dir, err := os.Getwd()
		if err != nil {
			return "", err
		}
		full = dir + "/" + path
	}
	for part := range strings.SplitSeq(full, "/") {
		if part == ".." {
			return full, nil
		}
	}
	return filepath.Clean(full), nil
}
