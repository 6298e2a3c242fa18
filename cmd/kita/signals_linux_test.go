package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const envIgnoring = "KITA_TEST_IGNORING"

// TestIgnoredSignalsAreCaught executes itself with signals ignored, as glibc's
// posix_spawn(3), nohup and a shell's & do it.
func TestIgnoredSignalsAreCaught(t *testing.T) {
	if os.Getenv(envIgnoring) != "" {
		// Go catches the others from the start.
		if before := ignored(t); before != "0000000080380003" {
			t.Fatalf("ignored from the start are %s", before)
		}
		catchIgnored()
		if left := ignored(t); strings.Trim(left, "0") != "" {
			t.Errorf("ignored are %s", left)
		}
		return
	}
	perl, err := exec.LookPath("perl")
	if err != nil {
		t.Skip("needs perl, to ignore signals")
	}
	// Package POSIX would refuse 32 and 33.
	ignore := fmt.Sprintf(`my $ign = pack("Q4", 1); for (1,2,3,13,20,21,22,32,33,40) { syscall(%d, $_+0, $ign, 0, 8) } exec @ARGV`, unix.SYS_RT_SIGACTION)
	cmd := exec.CommandContext(t.Context(), perl, "-e", ignore, os.Args[0], "-test.run=^TestIgnoredSignalsAreCaught$", "-test.v")
	cmd.Env = append(os.Environ(), envIgnoring+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}

// ignored is the set of signals that this process ignores, in hexadecimal.
func ignored(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "SigIgn:")
	set, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(set)
}
