package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kita/spec"
)

// TestARollingRestartSparesTheRest restarts a child on three servers, one after
// the other. On the second it is given a file by which it ends at once: the
// third keeps the process that it has.
func TestARollingRestartSparesTheRest(t *testing.T) {
	t.Parallel()
	const good = "command: sleep 1000\n"
	var (
		servers []*instance
		before  []int
		hosts   strings.Builder
	)
	for i := range 3 {
		in := newServer(t, "mode: full\n", map[string]string{"web": good})
		servers = append(servers, in)
		before = append(before, runningPID(t, in))
		fmt.Fprintf(&hosts, "  web%d: %s\n", i+1, in.addr)
	}
	home := t.TempDir()
	file := filepath.Join(home, ".config", "kita", "hosts.yml")
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700),
		os.WriteFile(file, []byte("hosts:\n"+hosts.String()+"groups: {all: ['web*']}\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	kita := func(args ...string) (status int, out, stderr string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), filepath.Join(world.bin, "kita"), args...)
		cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH")}
		var o, e strings.Builder
		cmd.Stdout, cmd.Stderr = &o, &e
		var exit *exec.ExitError
		if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), o.String(), e.String()
	}

	servers[1].writeChild(t, "web", "command: sh -c 'exit 3'\n")
	status, out, stderr := kita("restart", "web", "--max-unavailable", "1", "on", "@all")
	want := "kita: web2: web was started, and has ended since: exit 3\n" +
		"kita: web3: not asked, because web2 failed\n" +
		"kita: 1 of 3 hosts failed: web2 (cannot start); 1 not asked\n"
	if status != 1 || !strings.HasPrefix(out, "web1: web restarted, PID ") || strings.Count(out, "\n") != 1 || stderr != want {
		t.Errorf("status %d, stdout %q\nstderr %q, want %q", status, out, stderr, want)
	}
	if pid := runningPID(t, servers[0]); pid == before[0] {
		t.Error("web1 was not restarted")
	}
	if pid := runningPID(t, servers[2]); pid != before[2] {
		t.Error("web3 was restarted")
	}

	servers[1].writeChild(t, "web", good)
	if status, out, stderr := kita("trystart", "web", "--serial", "on", "@all"); status != 0 || strings.Count(out, "\n") != 3 {
		t.Errorf("when all is well: status %d, %q, %q", status, out, stderr)
	}
}

// runningPID waits until web has run for a while, and returns its PID.
func runningPID(t *testing.T, in *instance) int {
	t.Helper()
	return in.mustAwait(t, "web", func(v spec.View) bool { return v.Status.Phase == spec.PhaseRunning }).Status.Process.PID
}
