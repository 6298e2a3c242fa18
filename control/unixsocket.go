package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// maxSocketPath is the longest path a socket can be bound to: sun_path of
// unix(7) less its NUL.
const maxSocketPath = 107

// ListenUnix makes the unix socket at path, which only the server's own user
// can open (mode 0600). What an ended server left there is replaced; one that
// still answers is not.
//
// The socket is bound in a directory of its own that nobody else can enter,
// given its mode and then renamed to path: so it is never open to others, not
// even for a moment, whatever the umask is. The umask itself is left alone
// because processes may be started meanwhile.
func ListenUnix(path string) (net.Listener, error) {
	if err := checkVacant(path); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	ln, err := bindPrivately(path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return ln, nil
}

func checkVacant(path string) error {
	stat, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if stat.Mode().Type() != fs.ModeSocket {
		return errors.New("a file is there that is no socket, move it away")
	}
	nc, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = nc.Close()
		return errors.New("another server answers there")
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errors.New("another server seems to be there: it accepts nothing, yet it exists")
	}
	return nil
}

func bindPrivately(path string) (net.Listener, error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".s")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	private := filepath.Join(dir, "s")
	if longest := max(len(private), len(path)); longest > maxSocketPath {
		return nil, fmt.Errorf("the path is %d bytes too long for a socket, set a shorter run_dir", longest-maxSocketPath)
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: private, Net: "unix"})
	if err != nil {
		return nil, err
	}
	ln.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(private, 0o600), os.Rename(private, path)); err != nil {
		_ = ln.Close()
		return nil, err
	}
	made, err := os.Lstat(path)
	if err != nil {
		_ = ln.Close()
		return nil, err
	}
	return &unixListener{UnixListener: ln, path: path, made: made}, nil
}

// unixListener removes its socket when it is closed, unless another server has
// put its own in the place.
type unixListener struct {
	*net.UnixListener
	path   string
	made   fs.FileInfo
	remove sync.Once
}

// IsLost tells of a listener of ListenUnix or InheritListener that its socket is not
// at its path any more, so that nobody can connect.
func IsLost(ln net.Listener) bool {
	l, ok := ln.(*unixListener)
	if !ok {
		return false
	}
	now, err := os.Lstat(l.path)
	return errors.Is(err, fs.ErrNotExist) || err == nil && (l.made == nil || !os.SameFile(now, l.made))
}

func (l *unixListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

func (l *unixListener) Close() error {
	l.remove.Do(func() {
		if now, err := os.Lstat(l.path); err == nil && l.made != nil && os.SameFile(now, l.made) {
			_ = os.Remove(l.path)
		}
	})
	return l.UnixListener.Close()
}
