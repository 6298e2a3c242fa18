package store

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncData makes what was written to f durable, and of its attributes only
// those needed to read it again.
func syncData(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
		}
		return nil
	}
}

// dup makes to another number of what from is.
func dup(from, to int) error { return unix.Dup3(from, to, unix.O_CLOEXEC) }
