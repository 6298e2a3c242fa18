package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// DefaultDirs returns the directories of the user who runs this process: those
// of the system for root, those of the XDG base directory specification for
// others. Where a user has no runtime directory, one is made in /tmp.
//
// With an error, the directory that could not be found is empty and the other
// is valid: a client without a HOME still finds the socket.
func DefaultDirs() (stateDir, runDir string, err error) {
	return defaultDirs(os.Getuid(), os.Getenv, "/tmp")
}

func defaultDirs(uid int, getenv func(string) string, tmp string) (stateDir, runDir string, err error) {
	if uid == 0 {
		return "/var/lib/kita", "/run/kita", nil
	}
	stateDir, stateErr := userStateDir(getenv)
	runDir, runErr := userRunDir(uid, getenv, tmp)
	return stateDir, runDir, errors.Join(stateErr, runErr)
}

// userStateDir ignores relative paths in variables, as the specification says.
func userStateDir(getenv func(string) string) (string, error) {
	if state := getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "kita"), nil
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "kita"), nil
	}
	return "", errors.New("no place for the state: neither XDG_STATE_HOME nor HOME is set, set state_dir in server.yml")
}

func userRunDir(uid int, getenv func(string) string, tmp string) (string, error) {
	if run := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(run) {
		return filepath.Join(run, "kita"), nil
	}
	dir := filepath.Join(tmp, "kita-"+strconv.Itoa(uid))
	if err := privateDir(dir, uid); err != nil {
		return "", err
	}
	return dir, nil
}

// privateDir makes dir in a place where everybody can, or makes sure that the
// one there is ours alone. It looks after it made it, and not through a link:
// in a sticky directory nobody can exchange it afterwards.
func privateDir(dir string, uid int) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	switch owner := ownerOf(info); {
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory: remove it, or set run_dir", dir)
	case owner != uid:
		return fmt.Errorf("%s belongs to user %d: set XDG_RUNTIME_DIR or run_dir", dir, owner)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%s is open to others: chmod 700 %s", dir, dir)
	}
	return nil
}

// makeDir makes dir and its parents, for us alone. One that is there already
// must not be writable by others: what is in it decides which processes are
// started and which are killed.
func makeDir(dir string) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("%q is not an absolute path", dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if owner := ownerOf(info); owner != 0 && owner != os.Getuid() {
		return fmt.Errorf("%s belongs to user %d", dir, owner)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s can be written by others: chmod 700 %s, or use a directory below it", dir, dir)
	}
	return nil
}

func ownerOf(info os.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}
