// Package owned tells whether a file is safe from the other users of its host:
// whether none but root and the server's own user can change what is read from
// it, or put another one in its place.
package owned

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Check says why a file or a directory is not safe from other users: it belongs
// to one of them, or others may write it, or a group other than root's and the
// server's own. The error goes on where the path ends, as in "… belongs to user
// 7".
func Check(st *unix.Stat_t) error {
	switch euid := os.Geteuid(); {
	case st.Uid != 0 && int(st.Uid) != euid:
		return fmt.Errorf("belongs to user %d, who could change it, it must belong to root or to user %d", st.Uid, euid)
	case st.Mode&unix.S_IWOTH != 0:
		return errors.New("can be written by others: chmod o-w")
	case st.Mode&unix.S_IWGRP != 0 && st.Gid != 0 && int(st.Gid) != os.Getegid():
		return fmt.Errorf("can be written by group %d: chmod g-w", st.Gid)
	}
	return nil
}

// CheckParents is Check for each directory above path, which is absolute and
// without symbolic links, up to the root. In one with the sticky bit, such as
// /tmp, others cannot replace what is not theirs, so there only the owner
// counts.
func CheckParents(path string) error {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); err != nil {
			return fmt.Errorf("lies in %s, which cannot be looked at: %w", dir, err)
		}
		if st.Mode&unix.S_ISVTX != 0 {
			st.Mode &^= unix.S_IWOTH | unix.S_IWGRP
		}
		if err := Check(&st); err != nil {
			return fmt.Errorf("lies in %s, which %w", dir, err)
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

// Resolve is path without symbolic links, and absolute.
func Resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(path)
}
