package output

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// place is where an output file lies: its directory, opened, and its name there.
// A child's user may own the directory while the server is root, so everything
// in it is reached through the descriptor: no link is followed, and no file
// opened that a user put there who has no say over it.
type place struct {
	// path is the directory and name the file's in it, links resolved.
	path, name string
	dir        int // O_PATH
	owner      *Owner
	// guarded: another user must not lead the server elsewhere.
	guarded bool
}

// findPlace finds the directory of the file at path: along the rules of walk where
// the server is root or there is an owner, else as the kernel goes. What lies at
// path itself is not looked at.
// The directory is not made: the error is fs.ErrNotExist where there is none. The
// caller closes the place.
func findPlace(path string, owner *Owner) (*place, error) {
	return reachPlace(path, owner, false, false)
}

// makePlace is findPlace, and makes the directories that are missing.
func makePlace(path string, owner *Owner) (*place, error) {
	return reachPlace(path, owner, true, false)
}

// followPlace is findPlace, and goes on to where a symbolic link at path leads.
func followPlace(path string, owner *Owner) (*place, error) {
	return reachPlace(path, owner, false, true)
}

func reachPlace(path string, owner *Owner, mkdirs, follow bool) (*place, error) {
	p := &place{dir: -1, owner: owner, guarded: isGuarded(owner)}
	last := func(dir int, name string) (err error) {
		if follow && isLink(dir, name) {
			return unix.ELOOP
		}
		p.name = name
		p.dir, err = unix.FcntlInt(uintptr(dir), unix.F_DUPFD_CLOEXEC, 0)
		return err
	}
	var err error
	if p.guarded {
		err = walk(path, owner, mkdirs, last)
	} else {
		err = kernelWalk(path, mkdirs, last)
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: filepath.Dir(path), Err: err}
	}
	if p.path, err = os.Readlink(fdPath(p.dir)); err != nil {
		p.path = filepath.Dir(path)
	}
	return p, nil
}

// isGuarded tells whether another user than the server's could lead it elsewhere
// while it works for owner.
func isGuarded(owner *Owner) bool { return owner != nil || os.Geteuid() == 0 }

func isLink(dir int, name string) bool {
	var st unix.Stat_t
	err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK
}

// kernelWalk is walk for the server itself: the kernel goes along the path.
func kernelWalk(path string, mkdirs bool, last func(dir int, name string) error) error {
	for range maxLinks {
		parent, name := split(path)
		if name == "" {
			return unix.EISDIR
		}
		dir, err := openDirectory(parent, mkdirs)
		if err != nil {
			return err
		}
		err = last(dir, name)
		unix.Close(dir)
		if err != unix.ELOOP {
			return err
		}
		target, err := os.Readlink(path)
		if err != nil {
			return errnoOf(err)
		}
		if !filepath.IsAbs(target) {
			target = parent + target
		}
		path = target
	}
	return unix.ELOOP
}

// split cuts a path before its last component, and leaves the rest as it is.
func split(path string) (parent, name string) {
	i := strings.LastIndexByte(path, '/') + 1
	if i == 0 {
		return "./", path
	}
	return path[:i], path[i:]
}

func openDirectory(path string, mkdirs bool) (int, error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
	dir, err := unix.Open(path, flags, 0)
	if err != unix.ENOENT || !mkdirs {
		return dir, err
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return -1, errnoOf(err)
	}
	return unix.Open(path, flags, 0)
}

// at is the path of name in the directory, for errors and for showing.
func (p *place) at(name string) string { return filepath.Join(p.path, name) }

// open opens a regular file of the directory with these flags of open(2), for
// exclusive use by this process's threads: no link is followed, nothing blocks.
func (p *place) open(name string, flags int) (int, error) {
	flags |= unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY
	fd, err := retryEINTR(func() (int, error) { return unix.Openat(p.dir, name, flags, 0) })
	if err != nil {
		return -1, p.failed("open", name, err)
	}
	if err := p.check(fd); err != nil {
		unix.Close(fd)
		return -1, p.failed("open", name, err)
	}
	return fd, nil
}

// check refuses what is no regular file, and a file of a user who has no say in
// this directory: a hard link that the directory's owner put there.
func (p *place) check(fd int) error {
	var from, to unix.Stat_t
	if err := errors.Join(unix.Fstat(p.dir, &from), unix.Fstat(fd, &to)); err != nil {
		return err
	}
	if kind := to.Mode & unix.S_IFMT; kind != unix.S_IFREG {
		return notRegular(kind)
	}
	if p.guarded && !safe(&from, &to) {
		return errUnsafe
	}
	return nil
}

// create makes a new regular file, of the owner and with exactly this mode, for
// reading and writing. The error is fs.ErrExist where the name is taken.
func (p *place) create(name string, mode uint32) (int, error) {
	const flags = unix.O_RDWR | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := retryEINTR(func() (int, error) { return unix.Openat(p.dir, name, flags, 0o600) })
	if err != nil {
		return -1, p.failed("create", name, err)
	}
	if p.owner != nil {
		err = unix.Fchown(fd, int(p.owner.UID), int(p.owner.GID))
	}
	if err = errors.Join(err, unix.Fchmod(fd, mode)); err != nil {
		unix.Close(fd)
		return -1, p.failed("create", name, errors.Join(err, unix.Unlinkat(p.dir, name, 0)))
	}
	return fd, nil
}

// rename gives a file of the directory another name in it. It never takes the
// place of another file: the error is fs.ErrExist then.
func (p *place) rename(from, to string) error {
	err := unix.Renameat2(p.dir, from, p.dir, to, unix.RENAME_NOREPLACE)
	if err == unix.EINVAL || err == unix.ENOSYS {
		// A file system that knows no flags. The link fails where the name is
		// taken.
		if err = unix.Linkat(p.dir, from, p.dir, to, 0); err == nil {
			err = unix.Unlinkat(p.dir, from, 0)
		}
	}
	return p.failed("rename", from, err)
}

// remove removes a file of the directory; one that is not there is no error.
func (p *place) remove(name string) error {
	err := unix.Unlinkat(p.dir, name, 0)
	if err == unix.ENOENT {
		return nil
	}
	return p.failed("remove", name, err)
}

// stat is lstat(2) of a name in the directory.
func (p *place) stat(name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Fstatat(p.dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return st, p.failed("stat", name, err)
}

// names lists the directory.
func (p *place) names() ([]string, error) {
	f, err := p.list()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// sync writes the directory's names to the disk.
func (p *place) sync() error {
	f, err := p.list()
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func (p *place) list() (*os.File, error) {
	fd, err := unix.Openat(p.dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: p.path, Err: err}
	}
	return os.NewFile(uintptr(fd), p.path), nil
}

// close gives the directory's descriptor back.
func (p *place) close() {
	unix.Close(p.dir)
	p.dir = -1
}

func (p *place) failed(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: p.at(name), Err: err}
}
