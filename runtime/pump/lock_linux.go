package pump

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	// dirName is the directory of FIFOs in the run directory, and logName the
	// file in it that the pump locks, and into which it writes when it crashes.
	dirName = "pump"
	logName = "log"
	// socketName is in the run directory.
	socketName = "pump.sock"
)

// lock takes the lock of the pump for this process, for as long as it lives and
// keeps f open. It belongs to a process, so that the kernel tells whose it is.
func lock(f *os.File) error {
	l := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &l); err != nil {
		return fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return nil
}

// lockedBy returns the process that has the lock of the pump; 0 if none has.
func lockedBy(f *os.File) (int, error) {
	l := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &l); err != nil {
		return 0, fmt.Errorf("who locks %s: %w", f.Name(), err)
	}
	if l.Type == unix.F_UNLCK {
		return 0, nil
	}
	return int(l.Pid), nil
}

// makeDir makes the directory of FIFOs, and sees that nobody else can put
// something there.
func makeDir(runDir string) error {
	dir := filepath.Join(runDir, dirName)
	err := os.Mkdir(dir, 0o700)
	if os.IsNotExist(err) {
		// Somebody removed the run directory; the server is about to notice.
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil && !os.IsExist(err) {
		return err
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return fmt.Errorf("%s is not a directory of this user that nobody else can write to, move it away", dir)
	}
	return nil
}
