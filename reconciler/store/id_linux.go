package store

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"golang.org/x/sys/unix"
)

// ID names this server among all those of the machine: two that run at the same
// time never share one, and a server that follows another on the same run
// directory in the same boot has its ID. Processes and cgroups bear it.
//
// It is made of the boot and of what makes the run directory that very
// directory, so that there is nothing to be saved, and nothing to be lost on a
// full disk.
func (s *Store) ID() string { return s.id }

func makeID(bootID, runDir string) (string, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, runDir, 0, unix.STATX_INO|unix.STATX_BTIME, &st); err != nil {
		return "", fmt.Errorf("statx %s: %w", runDir, err)
	}
	// An inode's number is used again, its time of birth is not.
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d:%d %d %d.%d", bootID,
		st.Dev_major, st.Dev_minor, st.Ino, st.Btime.Sec, st.Btime.Nsec))
	return hex.EncodeToString(sum[:6]), nil
}
