//go:build linux

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestAnInterruptLeavesNothingBehind interrupts the program while its children
// run, and looks for its files and for processes that outlive it.
func TestAnInterruptLeavesNothingBehind(t *testing.T) {
	w := testWorld(t)
	dir := t.TempDir()
	cmd := exec.Command(w.bin("bench"), "-bin", programsDir, "-n", "20", "-rounds", "1000000", "-only", "^crash.* 20$", "-dir", dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	memory, tick := "", time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(time.Minute); memory == ""; <-tick.C {
		if time.Now().After(limit) {
			_ = cmd.Process.Kill()
			t.Fatalf("nothing was begun: %s", out.String())
		}
		memory = stampsOf(cmd.Process.Pid, 20)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("it says that all was measured")
	}
	if left, _ := filepath.Glob(dir + "/*"); len(left) > 0 {
		t.Errorf("files are left: %v", left)
	}
	if _, err := os.Stat(memory); err == nil {
		t.Errorf("%s is left", memory)
	}
	// What it left would be a child of this process, which is a subreaper.
	if left := childrenOf(os.Getpid()); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
}

// stampsOf is the directory of a file that the process has open and that has n
// stamps; empty while there is none.
func stampsOf(pid, n int) string {
	links, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/fd/*")
	for _, link := range links {
		file, _ := os.Readlink(link)
		info, err := os.Stat(file)
		if err == nil && strings.HasPrefix(filepath.Base(file), "stamps") && info.Size() >= int64(n)*stampSize {
			return filepath.Dir(file)
		}
	}
	return ""
}
