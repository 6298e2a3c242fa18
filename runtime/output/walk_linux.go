package output

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Owner is the user that a child runs as, where that is not the server's own.
// Files and directories that are made for the child become that user's.
type Owner struct{ UID, GID uint32 }

// errUnsafe: somebody who is not trusted could have laid the way to a file.
var errUnsafe = errors.New("refused, a directory or link on the way belongs to a user who could make it lead elsewhere")

// maxLinks is the kernel's limit of symbolic links in one path.
const maxLinks = 40

// walk goes along path, one component at a time, and calls last for the last
// one, with the directory it is in; the descriptor is closed afterwards. It
// never goes from a directory that an ordinary user owns to something of another
// owner, and along no symbolic link that an ordinary user owns. What root owns
// may lead anywhere. These are the rules of systemd's CHASE_SAFE.
//
// Where last returns ELOOP the component is a symbolic link, and is followed.
// Directories that are missing are made for owner if mkdirs is set.
func walk(path string, owner *Owner, mkdirs bool, last func(dir int, name string) error) error {
	return walkWhere(path, owner, mkdirs, safe, last)
}

// walkWhere is walk with another rule of what may lie in whose directory. A link
// of an ordinary user is followed by none.
func walkWhere(path string, owner *Owner, mkdirs bool, may func(from, to *unix.Stat_t) bool, last func(dir int, name string) error) error {
	dir, err := openRoot(path)
	if err != nil {
		return err
	}
	defer func() { unix.Close(dir) }()
	if strings.HasSuffix(path, "/") {
		return unix.EISDIR
	}
	rest := strings.Split(path, "/")
	for links := 0; ; {
		for len(rest) > 0 && (rest[0] == "" || rest[0] == ".") {
			rest = rest[1:]
		}
		if len(rest) == 0 {
			return unix.EISDIR
		}
		name := rest[0]
		if len(rest) == 1 && name != ".." {
			if err := last(dir, name); err != unix.ELOOP {
				return err
			}
		}
		next, err := openNext(dir, name, owner, mkdirs && len(rest) > 1)
		if err != nil {
			return err
		}
		target, isLink, err := stepTo(dir, next, may)
		switch {
		case err != nil:
			unix.Close(next)
			return err
		case !isLink:
			unix.Close(dir)
			dir, rest = next, rest[1:]
			continue
		}
		unix.Close(next)
		if links++; links > maxLinks {
			return unix.ELOOP
		}
		if strings.HasPrefix(target, "/") {
			root, err := openRoot("/")
			if err != nil {
				return err
			}
			unix.Close(dir)
			dir = root
		}
		rest = append(strings.Split(target, "/"), rest[1:]...)
	}
}

// openRoot opens the directory that a path begins at.
func openRoot(path string) (int, error) {
	start := "."
	if strings.HasPrefix(path, "/") {
		start = "/"
	}
	return unix.Open(start, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// openNext opens what is called name in dir, whatever it is; a directory that is
// missing is made if mkdir is set.
func openNext(dir int, name string, owner *Owner, mkdir bool) (int, error) {
	next, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != unix.ENOENT || !mkdir {
		return next, err
	}
	err = unix.Mkdirat(dir, name, 0o755)
	if err != nil && err != unix.EEXIST {
		return -1, err
	}
	made := err == nil
	next, err = unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil || !made {
		return next, err
	}
	if err := giveDirectory(next, owner); err != nil {
		unix.Close(next)
		return -1, err
	}
	return next, nil
}

// giveDirectory makes a directory owner's that has just been made. Whoever owns
// the directory it is in could have put another one in its place: nobody gains
// by getting one that is empty, which the owner of its parent could have removed
// and made anew.
func giveDirectory(fd int, owner *Owner) error {
	if owner == nil {
		return nil
	}
	list, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(list), ".")
	defer f.Close()
	if names, err := f.Readdirnames(1); len(names) > 0 {
		return errors.Join(errUnsafe, err)
	}
	return unix.Fchown(list, int(owner.UID), int(owner.GID))
}

// stepTo checks the way from dir to next, which may be a symbolic link: then it
// returns the target. A link is followed only if a trusted user made it.
func stepTo(dir, next int, may func(from, to *unix.Stat_t) bool) (target string, isLink bool, err error) {
	var from, to unix.Stat_t
	if err := errors.Join(unix.Fstat(dir, &from), unix.Fstat(next, &to)); err != nil {
		return "", false, err
	}
	if !may(&from, &to) {
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
