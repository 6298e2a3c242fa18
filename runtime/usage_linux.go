package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"kita/spec"
)

// ticksPerSecond is USER_HZ, the unit of times in /proc: 100 on every
// architecture that Go supports.
const ticksPerSecond = 100

// Usage reads what the process pid has used. The other numbers are right where
// only the open files could not be counted: /proc hides those of a process
// that changed its user. A zombie is an error.
func (h *Host) Usage(pid int) (spec.Usage, error) {
	st, err := readStat(pid)
	if err != nil {
		return spec.Usage{}, fmt.Errorf("usage of PID %d: %w", pid, err)
	}
	if st.state == 'Z' || st.state == 'X' {
		return spec.Usage{}, fmt.Errorf("usage of PID %d: %w", pid, spec.ErrGone)
	}
	u := spec.Usage{CPUSeconds: float64(st.userTicks+st.kernTicks) / ticksPerSecond}
	dir := "/proc/" + strconv.Itoa(pid)
	statm, err := os.ReadFile(dir + "/statm")
	if err != nil {
		return spec.Usage{}, fmt.Errorf("usage of PID %d: %w", pid, err)
	}
	if u.ResidentBytes, err = parseStatm(statm); err != nil {
		return spec.Usage{}, fmt.Errorf("usage of PID %d: %w", pid, err)
	}
	if u.OpenFiles, err = countFiles(dir + "/fd"); err != nil {
		return u, fmt.Errorf("usage of PID %d: %w", pid, err)
	}
	return u, nil
}

// parseStatm returns the resident set in bytes: the second field of
// /proc/PID/statm (proc_pid_statm(5)), in pages.
func parseStatm(text []byte) (uint64, error) {
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return 0, errors.New("/proc/PID/statm has too few fields")
	}
	pages, err := strconv.ParseUint(string(fields[1]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("/proc/PID/statm: %w", err)
	}
	return pages * uint64(os.Getpagesize()), nil
}

// countFiles counts the entries of a /proc/PID/fd.
func countFiles(dir string) (int, error) {
	f, err := os.Open(dir)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	// Since Linux 6.2 the size of the directory is the number, for the price of
	// one system call.
	if st, err := f.Stat(); err == nil && st.Size() > 0 {
		return int(st.Size()), nil
	}
	names, err := f.Readdirnames(-1)
	return len(names), err
}
