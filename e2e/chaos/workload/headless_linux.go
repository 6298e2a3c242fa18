package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
)

// The main goroutine is on the main thread from init on, as long as it is
// locked to it.
func init() {
	if len(os.Args) > 1 && os.Args[1] == "headless" {
		runtime.LockOSThread()
	}
}

// headless ends the main thread and lives on in another one: /proc then shows
// state Z for a process that lives. Its PID is in the file headless of
// KITA_CHAOS_DIR once it is so.
func headless() error {
	pid := os.Getpid()
	if syscall.Gettid() != pid {
		panic("not on the main thread")
	}
	go func() {
		runtime.LockOSThread()
		state := func() byte {
			text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/task/" + strconv.Itoa(pid) + "/stat")
			if err != nil {
				return 0
			}
			return stateOf(string(text))
		}
		for state() != 'Z' {
			runtime.Gosched()
		}
		dir := os.Getenv("KITA_CHAOS_DIR")
		if err := os.WriteFile(filepath.Join(dir, "headless"), []byte(strconv.Itoa(pid)), 0o644); err != nil {
			os.Exit(1)
		}
		for {
			pause := syscall.Timespec{Sec: 3600}
			_ = syscall.Nanosleep(&pause, nil)
		}
	}()
	syscall.RawSyscall(syscall.SYS_EXIT, 0, 0, 0)
	return nil
}

// stateOf finds the third field, after a name that may hold anything.
func stateOf(stat string) byte {
	for i := len(stat) - 1; i > 0; i-- {
		if stat[i] == ')' && i+2 < len(stat) {
			return stat[i+2]
		}
	}
	return 0
}
