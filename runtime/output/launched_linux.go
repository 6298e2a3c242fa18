package output

import (
	"os"

	"golang.org/x/sys/unix"
)

// launchedAs says which file was opened for a run. It can be read also where an
// ordinary user owns the directory.
func (f *File) launchedAs(is found) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.launched = is
}

// openLaunched opens the live file for reading where walk refuses the path, for
// what lies in an ordinary user's directory is not that user's. No link of a user
// is followed here either. Nothing is opened but the file of the launch, of which
// there is no other name: by its number, and its time of birth, as the number may
// be given to another file. The error is errUnsafe where it is not that, or not
// known.
func (f *File) openLaunched() (fd int, err error) {
	f.mu.Lock()
	launched := f.launched
	f.mu.Unlock()
	fd = -1
	err = walkWhere(f.path, nil, false, anyOwner, func(dir int, name string) error {
		at, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(at)
		if !launched.is(at) {
			return errUnsafe
		}
		fd, err = retryEINTR(func() (int, error) {
			return unix.Open(fdPath(at), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
		})
		return err
	})
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: f.path, Err: err}
	}
	return fd, nil
}

// anyOwner is the rule of openLaunched for walkWhere.
func anyOwner(_, _ *unix.Stat_t) bool { return true }

// is tells whether fd is the regular file that was found, under one name only.
func (got found) is(fd int) bool {
	now, err := statx(fd, "", unix.AT_EMPTY_PATH)
	if err != nil || !now.regular || now.key != got.key || got.born == 0 || now.born != got.born {
		return false
	}
	st, err := statFD(fd)
	return err == nil && st.Nlink == 1
}
