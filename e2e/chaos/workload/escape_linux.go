package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// escape has a grandchild in a session of its own, without environment and
// without a parent that knows of it. Its PID is in the file escaped of
// KITA_CHAOS_DIR before this process waits.
func escape() error {
	if os.Getenv("KITA_CHAOS_STEP") == "" {
		middle := exec.Command("/proc/self/exe", "escape")
		middle.Env = append(os.Environ(), "KITA_CHAOS_STEP=middle")
		middle.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := middle.Run(); err != nil {
			return err
		}
		wait()
	}
	hidden := exec.Command("/proc/self/exe", "hidden")
	hidden.Env = []string{}
	hidden.Dir = "/"
	hidden.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := hidden.Start(); err != nil {
		return err
	}
	dir := os.Getenv("KITA_CHAOS_DIR")
	temp := filepath.Join(dir, ".escaped")
	if err := os.WriteFile(temp, []byte(strconv.Itoa(hidden.Process.Pid)), 0o644); err != nil {
		return err
	}
	return os.Rename(temp, filepath.Join(dir, "escaped"))
}
