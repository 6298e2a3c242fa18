//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// machine is what a table is worth nothing without.
type machine struct {
	Model      string `json:"model"`
	Processors int    `json:"processors"`
	MemoryGB   int    `json:"memory_gb"`
	Kernel     string `json:"kernel"`
	StateFS    string `json:"state_file_system"`
	RunFS      string `json:"run_file_system"`
	StampFS    string `json:"stamp_file_system"`
	// SyncMS is what a write of 100 bytes and an fdatasync(2) take where the state
	// is: little where the disk only says that it has written.
	SyncMS    float64 `json:"fdatasync_ms"`
	Go        string  `json:"go"`
	OpenFiles string  `json:"open_files"`
	// HeldBy is what holds the processes of a child together.
	HeldBy string `json:"held_together_by"`
	Beside string `json:"beside"`
	Load   string `json:"load_before"`
}

func describe(w *world, beside string) machine {
	m := machine{Processors: goruntime.NumCPU(), Go: goruntime.Version(), Beside: beside,
		StateFS: fileSystem(w.dir), RunFS: fileSystem(w.dir), StampFS: fileSystem(w.memory)}
	if w.runDir != "" {
		m.RunFS = fileSystem(w.runDir)
	}
	m.SyncMS = syncTime(w.dir)
	m.Model = "unknown"
	cpus, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(cpus)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			m.Model = strings.TrimSpace(value)
			break
		}
	}
	if kb, err := keyed("/proc/meminfo", "MemTotal"); err == nil {
		m.MemoryGB = int(kb*1024/1e9 + 0.5)
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Sysname[:]) + " " + unix.ByteSliceToString(name.Release[:])
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		m.OpenFiles = fmt.Sprintf("at most %d", limit.Max)
	}
	load, _ := os.ReadFile("/proc/loadavg")
	m.Load = strings.Join(strings.Fields(string(load))[:min(3, len(strings.Fields(string(load))))], " ")
	return m
}

// String is the description as a Markdown table.
func (m machine) String() string {
	return fmt.Sprintf("| machine | |\n|---|---|\n| processor | %d x %s |\n| memory | %d GB |\n| kernel | %s |\n| file systems | state %s, run directory %s, stamps %s |\n| fdatasync(2) of a line of state | %s ms |\n| Go | %s |\n| open files | %s |\n| held together by | %s |\n| beside it | %s, load %s before |\n",
		m.Processors, m.Model, m.MemoryGB, m.Kernel, m.StateFS, m.RunFS, m.StampFS, number(m.SyncMS), m.Go, m.OpenFiles, m.HeldBy, m.Beside, m.Load)
}

// syncTime is the median of 50 writes that are synced, in milliseconds; 0 if they
// cannot be made.
func syncTime(dir string) float64 {
	file, err := os.CreateTemp(dir, "sync")
	if err != nil {
		return 0
	}
	defer os.Remove(file.Name())
	defer file.Close()
	var took []float64
	for range 50 {
		begin := now()
		if _, err := file.Write(make([]byte, 100)); err != nil {
			return 0
		}
		if unix.Fdatasync(int(file.Fd())) != nil {
			return 0
		}
		took = append(took, ms(now()-begin))
	}
	return median(took)
}

// fileSystem is the type of the one that a directory is on.
func fileSystem(dir string) string {
	dir, _ = filepath.Abs(dir)
	mounts, _ := os.ReadFile("/proc/self/mounts")
	best, kind := "", "unknown"
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) < 3 || len(fields[1]) < len(best) {
			continue
		}
		if at := strings.TrimSuffix(fields[1], "/"); dir == fields[1] || strings.HasPrefix(dir, at+"/") {
			best, kind = fields[1], fields[2]
		}
	}
	return kind
}

// roomFor says in one line what the machine lacks for n children of kita beside
// n of the bare loop. It raises this process's own limit of open files.
func roomFor(n int) error {
	need := 2*n + 1000
	var missing []string
	lack := func(what string, has int) {
		if has < need {
			missing = append(missing, fmt.Sprintf("%s is %d", what, has))
		}
	}
	for _, file := range []string{"/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"} {
		if v, err := readNumber(file); err == nil {
			lack(file, v)
		}
	}
	for _, file := range pidsLimits() {
		if v, err := readNumber(file); err == nil {
			lack(file, v)
		}
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NPROC, &limit) == nil && os.Getuid() != 0 && limit.Max < uint64(need) {
		lack("ulimit -u", int(limit.Max))
	}
	// The fleet has a server and a connection of each, the parallel commands one.
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil && limit.Max < 4*fleetSize {
		missing = append(missing, fmt.Sprintf("ulimit -Hn is %d, of %d", limit.Max, 4*fleetSize))
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s: %d children beside as many of the bare loop are %d processes", strings.Join(missing, ", "), n, need)
	}
	return nil
}

// pidsLimits are the files that limit how many processes the control group of
// this process may have, and those above it.
func pidsLimits() []string {
	text, _ := os.ReadFile("/proc/self/cgroup")
	var files []string
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 || parts[1] != "" && parts[1] != "pids" {
			continue
		}
		root := "/sys/fs/cgroup"
		if parts[1] == "pids" {
			root += "/pids"
		}
		for dir := parts[2]; ; dir = filepath.Dir(dir) {
			files = append(files, filepath.Join(root, dir, "pids.max"))
			if dir == "/" || dir == "." {
				break
			}
		}
	}
	return files
}

func readNumber(file string) (int, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}
