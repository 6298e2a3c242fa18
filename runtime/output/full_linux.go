package output

import (
	"os"

	"golang.org/x/sys/unix"
)

// checkRoom notes whether the file system of an entry's file has no room for
// another block, and returns that. What is written to the file fails then, and
// nobody but the program hears of it; a pump tells of it itself.
func (m *Manager) checkRoom(e *entry) bool {
	m.mu.Lock()
	used := len(e.users) > 0
	m.mu.Unlock()
	line := ""
	if used && !m.allPumped(e) && e.file.noRoom(m.watchable(e)) {
		line = (&os.PathError{Op: "write", Path: e.path, Err: unix.ENOSPC}).Error()
	}
	m.mu.Lock()
	e.faults.full = line
	m.mu.Unlock()
	return line != ""
}

// noRoom tells whether the file system of the file at a path is full for whom the
// file is written. What cannot be found out is not full.
func (f *File) noRoom(path string) bool {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil || fs.Blocks == 0 || fs.Bavail > 0 {
		return false
	}
	if f.user() != nil || os.Geteuid() != 0 {
		return true
	}
	// Root may have what is reserved, of which the kernel keeps some back: that
	// does not show in numbers.
	return fs.Bfree == 0 || f.writesNoBlock()
}

// writesNoBlock tries in the file's directory whether there is room for a block.
func (f *File) writesNoBlock() bool {
	p, err := findPlace(f.path, f.user())
	if err != nil {
		return false
	}
	defer p.close()
	fd, err := unix.Openat(p.dir, ".", unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return full(err)
	}
	defer unix.Close(fd)
	return full(pwriteAll(fd, make([]byte, 4096), 0))
}
