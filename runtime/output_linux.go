package runtime

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// outputFlags open every output file. O_APPEND in either mode: whoever
// truncates the file, to rotate it say, must not leave a hole in front of the
// next write. O_NONBLOCK only for the open itself, which would otherwise wait
// for the reader of a FIFO.
const outputFlags = unix.O_WRONLY | unix.O_APPEND | unix.O_NOCTTY | unix.O_CLOEXEC | unix.O_NONBLOCK

// streams are the descriptors a process gets as 0, 1 and 2.
type streams struct {
	fds    [3]int
	opened []int
}

func (s *streams) close() {
	for _, fd := range s.opened {
		unix.Close(fd)
	}
	s.opened = nil
}

// openStreams opens what c's streams go to. A stream that is not set is the
// server's own. Streams that turn out to be one file share one open file, and
// it is truncated once.
func openStreams(c *spec.Child, as *account) (*streams, error) {
	s := &streams{fds: [3]int{0, 1, 2}}
	if err := s.open(c, as); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *streams) open(c *spec.Child, as *account) error {
	for fd := range s.fds {
		if err := s.inherit(fd); err != nil {
			return err
		}
	}
	var stats [3]unix.Stat_t
	var truncate [3]bool
	for i, stream := range []*spec.Stream{nil, c.Stdout, c.Stderr} {
		if stream == nil {
			continue
		}
		fd, err := openOutput(stream.Path, as)
		if err != nil {
			return err
		}
		s.opened = append(s.opened, fd)
		s.fds[i] = fd
		truncate[i] = stream.Mode != spec.Append
		if err := unix.Fstat(fd, &stats[i]); err != nil {
			return &os.PathError{Op: "stat", Path: stream.Path, Err: err}
		}
	}
	if c.Stdout != nil && c.Stderr != nil && sameFile(&stats[1], &stats[2]) {
		s.fds[2] = s.fds[1]
		truncate[1] = truncate[1] || truncate[2]
		truncate[2] = false
	}
	for i, stream := range []*spec.Stream{nil, c.Stdout, c.Stderr} {
		if truncate[i] && stats[i].Mode&unix.S_IFMT == unix.S_IFREG {
			if err := unix.Ftruncate(s.fds[i], 0); err != nil {
				return &os.PathError{Op: "truncate", Path: stream.Path, Err: err}
			}
		}
	}
	return nil
}

// inherit makes sure that the server has a descriptor fd to pass on, and
// passes /dev/null on where it has not.
func (s *streams) inherit(fd int) error {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
		return nil
	}
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: os.DevNull, Err: err}
	}
	s.opened = append(s.opened, null)
	s.fds[fd] = null
	return nil
}

func sameFile(a, b *unix.Stat_t) bool { return a.Dev == b.Dev && a.Ino == b.Ino }

// openOutput opens an output file, relative to the server's working directory.
//
// It is opened as the server, also for a child that runs as another user, as
// systemd and supervisord do: people give logs in /var/log to children that may
// not write there. That user may own a directory on the way and put a link
// there to make root write elsewhere, so openGuarded follows the rules of
// systemd's CHASE_SAFE then. A file created on behalf of a user becomes that
// user's, so that the child can open it again, through /dev/stdout say.
func openOutput(path string, as *account) (int, error) {
	var fd int
	var err error
	if as != nil && as.cred != nil && int(as.cred.Uid) != os.Geteuid() {
		fd, err = openGuarded(path, int(as.cred.Uid), int(as.cred.Gid))
	} else {
		fd, err = retryEINTR(func() (int, error) {
			return unix.Open(path, outputFlags|unix.O_CREAT, 0o644)
		})
	}
	if err == nil {
		// The child must not see a non-blocking stream.
		if err = unix.SetNonblock(fd, false); err != nil {
			unix.Close(fd)
		}
	}
	switch {
	case err == nil:
		return fd, nil
	case err == unix.ENXIO:
		return 0, fmt.Errorf("open %s: %w (a FIFO that nobody reads, or a socket)", path, err)
	case err == errUnsafe:
		return 0, fmt.Errorf("open %s: %w", path, err)
	}
	return 0, &os.PathError{Op: "open", Path: path, Err: err}
}

func retryEINTR(open func() (int, error)) (int, error) {
	for {
		fd, err := open()
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// errUnsafe: somebody who is not trusted could have laid the way to a file.
var errUnsafe = errors.New("refused, a directory or link on the way belongs to a user who could make it lead elsewhere")

// maxLinks is the kernel's limit of symbolic links in one path.
const maxLinks = 40

// openGuarded opens path as outputFlags say, one component at a time. It never
// goes from a directory that an ordinary user owns to something of another
// owner, and along no symbolic link that an ordinary user owns. What root owns
// may lead anywhere. A file that it creates is given to uid and gid.
func openGuarded(path string, uid, gid int) (int, error) {
	start := "."
	if strings.HasPrefix(path, "/") {
		start = "/"
	}
	dir, err := unix.Open(start, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer func() { unix.Close(dir) }()
	rest := strings.Split(path, "/")
	if strings.HasSuffix(path, "/") {
		return -1, unix.EISDIR
	}
	for links := 0; ; {
		for len(rest) > 0 && (rest[0] == "" || rest[0] == ".") {
			rest = rest[1:]
		}
		if len(rest) == 0 {
			return -1, unix.EISDIR
		}
		name, last := rest[0], len(rest) == 1
		if last && name != ".." {
			fd, err := openLast(dir, name, uid, gid)
			if err != unix.ELOOP {
				return fd, err
			}
		}
		next, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, err
		}
		target, isLink, err := step(dir, next)
		switch {
		case err != nil:
			unix.Close(next)
			return -1, err
		case !isLink:
			unix.Close(dir)
			dir, rest = next, rest[1:]
			continue
		}
		unix.Close(next)
		if links++; links > maxLinks {
			return -1, unix.ELOOP
		}
		if strings.HasPrefix(target, "/") {
			root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			if err != nil {
				return -1, err
			}
			unix.Close(dir)
			dir = root
		}
		rest = append(strings.Split(target, "/"), rest[1:]...)
	}
}

// step checks the way from dir to next, which may be a symbolic link: then it
// returns the target. A link is followed only if a trusted user made it.
func step(dir, next int) (target string, isLink bool, err error) {
	var from, to unix.Stat_t
	if err := unix.Fstat(dir, &from); err != nil {
		return "", false, err
	}
	if err := unix.Fstat(next, &to); err != nil {
		return "", false, err
	}
	if !safe(&from, &to) {
		return "", false, errUnsafe
	}
	if to.Mode&unix.S_IFMT != unix.S_IFLNK {
		return "", false, nil
	}
	if !trusted(to.Uid) {
		return "", false, errUnsafe
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(next, "", buf)
	return string(buf[:max(n, 0)]), true, err
}

// trusted tells whether a user may direct the server's writes: root and the
// server itself.
func trusted(uid uint32) bool { return uid == 0 || int(uid) == os.Geteuid() }

// safe tells whether the owner of from may decide what to is.
func safe(from, to *unix.Stat_t) bool { return trusted(from.Uid) || from.Uid == to.Uid }

// openLast opens or creates the file name in dir; ELOOP if it is a symbolic
// link that the caller has to follow.
func openLast(dir int, name string, uid, gid int) (int, error) {
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
		if err == nil {
			if err := unix.Fchown(fd, uid, gid); err != nil {
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
