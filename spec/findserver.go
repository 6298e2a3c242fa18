package spec

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// serverSearch is where server.yml is looked for when nobody names it.
type serverSearch struct {
	// system is a path that only the administrator can write.
	system string
	// shared is a path in a directory where anybody can put a file.
	shared string
	// uid is the user who runs the server.
	uid uint32
}

// FindServerFile returns the absolute path of server.yml: arg if it is not
// empty, else the first of /etc/kita/server.yml and /tmp/server.yml that is
// there and can be trusted, else "". The warnings are one line each and say
// what was passed over, and why.
func FindServerFile(arg string) (path string, warnings []string, err error) {
	return serverSearch{
		system: "/etc/kita/server.yml",
		shared: "/tmp/server.yml", // where supervisor-rs looks
		uid:    uint32(os.Geteuid()),
	}.find(arg)
}

func (s serverSearch) find(arg string) (path string, warnings []string, err error) {
	if arg != "" {
		path, err := filepath.Abs(arg)
		return path, nil, err
	}
	switch _, err := os.Stat(s.system); {
	case err == nil:
		return s.system, nil, nil
	case !errors.Is(err, fs.ErrNotExist):
		warnings = append(warnings, fmt.Sprintf("%s is passed over: %v", s.system, err))
	}
	switch err := s.trusted(); {
	case err == nil:
		return s.shared, warnings, nil
	case !errors.Is(err, fs.ErrNotExist):
		warnings = append(warnings, fmt.Sprintf("%s is passed over: %v", s.shared, err))
	}
	return "", warnings, nil
}

// trusted tells why the shared file could be somebody else's work.
func (s serverSearch) trusted() error {
	var file, dir unix.Stat_t
	// Not following links: who may make one is not who owns its target.
	if err := ignoringEINTR(func() error { return unix.Lstat(s.shared, &file) }); err != nil {
		return err
	}
	if err := ignoringEINTR(func() error { return unix.Stat(filepath.Dir(s.shared), &dir) }); err != nil {
		return err
	}
	switch {
	case file.Mode&unix.S_IFMT != unix.S_IFREG:
		return errors.New("it is not a regular file")
	case file.Uid != 0 && file.Uid != s.uid:
		return fmt.Errorf("user %d owns it, not root or the user who runs the server", file.Uid)
	case file.Mode&0o022 != 0:
		return errors.New("others can write it, chmod it to 644")
	case dir.Uid != 0 && dir.Uid != s.uid, dir.Mode&0o022 != 0 && dir.Mode&unix.S_ISVTX == 0:
		return errors.New("others can replace it, its directory is not theirs alone and has no sticky bit")
	}
	return nil
}
