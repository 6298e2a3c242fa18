package history

import "syscall"

// roomFor is how many bytes there are left on the file system of an open file, and
// how many it has; false where that is not known.
func roomFor(fd uintptr) (left, all uint64, known bool) {
	var st syscall.Statfs_t
	if syscall.Fstatfs(int(fd), &st) != nil || st.Blocks == 0 || st.Bsize <= 0 {
		return 0, 0, false
	}
	return st.Bavail * uint64(st.Bsize), st.Blocks * uint64(st.Bsize), true
}
