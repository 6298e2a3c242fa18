package output

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// resolve is the path by which the file at an absolute path is known, however it
// is spelled: links on the way to its directory are resolved, the file's own name
// is not. What is not there yet stays as it is, and so does a path where a link on
// the way is not to be followed: what goes along it is refused.
func resolve(path string, owner *Owner) string {
	p, err := findPlace(path, owner)
	if errors.Is(err, fs.ErrNotExist) {
		parent, name := split(path)
		parent = strings.TrimRight(parent, "/")
		if parent == "" || name == "" || name == ".." {
			return path
		}
		return filepath.Join(resolve(parent, owner), name)
	}
	if err != nil {
		return path
	}
	defer p.close()
	// A directory that was just removed has a path that leads nowhere.
	at, err := statx(unix.AT_FDCWD, p.path, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil || at.key != keyOf(p.dir) {
		return path
	}
	return p.at(p.name)
}
