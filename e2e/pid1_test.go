package e2e

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"kita/spec"
)

// TestPID1EndsInOrder sends SIGTERM to a keeper that is PID 1, as a container
// that is stopped does: its children have their grace, unless server.yml says
// that they are left, which there means that the kernel kills them.
func TestPID1EndsInOrder(t *testing.T) {
	needSandbox(t)
	t.Parallel()
	tests := []struct {
		name, config string
		bye          bool
	}{
		{"by default", "mode: full\n", true},
		{"stop", "mode: full\non_exit: stop\n", true},
		{"leave", "mode: full\non_exit: leave\n", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			in := newPID1(t, tt.config, map[string]string{
				"polite": "command: [sh, -c, \"trap 'sleep 0.1; echo bye > bye; exit 0' TERM; echo > up; sleep 1000 & wait\"]\ndir: ..\n",
			})
			in.mustAwait(t, "polite", func(v spec.View) bool { return v.Status.Phase == spec.PhaseRunning })
			if err := in.awaitFile("up"); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(in.pid1(t), syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if status, err := in.waitEnd(); err != nil || status != 0 {
				t.Errorf("status %d, %v", status, err)
			}
			if left := marked(in.mark); len(left) > 0 {
				t.Errorf("processes are left: %v", left)
			}
			if _, err := os.Stat(in.path("bye")); (err == nil) != tt.bye {
				t.Errorf("bye: %v", err)
			}
		})
	}
}

// TestPID1RestartsItsServer: below PID 1 it is as below any keeper.
func TestPID1RestartsItsServer(t *testing.T) {
	needSandbox(t)
	t.Parallel()
	in := newPID1(t, "mode: full\n", map[string]string{"web": "command: /bin/sleep 1000\n"})
	before := in.mustAwait(t, "web", isLive)
	if err := in.killServer(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	after := in.mustAwait(t, "web", isLive)
	if pidOfView(after) != pidOfView(before) || !after.Status.Process.Adopted {
		t.Errorf("web was PID %d, is %+v", pidOfView(before), after.Status.Process)
	}
}

// newPID1 starts a keeper in a PID namespace of its own.
func newPID1(t *testing.T, config string, children map[string]string) *instance {
	t.Helper()
	return newServerAs(t, []string{"unshare", "-pfm", "--mount-proc", filepath.Join(world.bin, "kita"), "serve", "server.yml"}, config, children)
}

// pid1 is the PID of that keeper out here.
func (in *instance) pid1(t *testing.T) int {
	t.Helper()
	below := childrenOf(in.cmd.Process.Pid)
	if len(below) != 1 {
		t.Fatalf("unshare has the children %v", below)
	}
	return below[0]
}
