package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// nobody is the user of that name on every usual system.
const nobody = 65534

// playDelegate is a server without privileges. With "works" as the argument its
// group was handed to its user, else it was not.
func playDelegate(args []string) error {
	tree := Open(Options{ID: "d0"})
	if args[0] != "works" {
		if tree.Kind() == V2 {
			return fmt.Errorf("it takes %s for its own", tree)
		}
		fmt.Println(tree)
		return nil
	}
	defer tree.Close()
	l, warnings, err := tree.Make("web", 1, spec.Resources{})
	if err != nil || l == nil || len(warnings) > 0 || tree.Kind() != V2 {
		return fmt.Errorf("%s: made %v, warnings %q, error %w", tree, l, warnings, err)
	}
	cmd := exec.Command("/bin/sleep", "300")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if join := l.JoinFiles(); len(join) > 0 {
		return fmt.Errorf("clone cannot put a process into %s", l.Path())
	}
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, l.CloneFD()
	if err := cmd.Start(); err != nil {
		return err
	}
	l.Release()
	pids, err := l.PIDs()
	if err != nil || len(pids) != 1 || pids[0] != cmd.Process.Pid {
		return fmt.Errorf("holds %v, want %d: %w", pids, cmd.Process.Pid, err)
	}
	if err := l.Kill(); err != nil {
		return err
	}
	_ = cmd.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if !l.AwaitEmpty(ctx.Done()) {
		return errors.New("it is not empty after 20 s")
	}
	return l.Remove()
}

func TestServerWithoutPrivileges(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can hand a group to another user")
	}
	own := ""
	for _, h := range thisMachineFor(t, V2).hierarchies {
		if h.v2 {
			own = h.own
		}
	}
	for _, delegated := range []bool{true, false} {
		name := map[bool]string{true: "works", false: "refused"}[delegated]
		t.Run(name, func(t *testing.T) {
			unit := filepath.Join(own, "unit-"+testID(t))
			if err := os.Mkdir(unit, 0o755); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				d := dir{hierarchy: hierarchy{v2: true}, path: unit}
				if !d.killAtOnce() {
					t.Error("not killed: ", unit)
				}
				eventually(t, "the unit is removed", func() bool { return d.remove() == nil })
			})
			if delegated {
				// What cgroups(7), "Delegation", tells to hand over.
				for _, file := range []string{"", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"} {
					err := os.Chown(filepath.Join(unit, file), nobody, nobody)
					if err != nil && !errors.Is(err, fs.ErrNotExist) {
						t.Fatal(err)
					}
				}
			}
			fd, err := unix.Open(unit, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			command := self("delegate", name)
			cmd := exec.Command(command[0], command[1:]...)
			cmd.Dir = "/"
			cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd,
				Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
			said, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, said)
			}
			if !delegated && !(strings.HasPrefix(string(said), "none: ") && strings.Contains(string(said), "mkdir "+unit+"/kita-d0: permission denied")) {
				t.Errorf("it says %q", said)
			}
			if exists(t, unit+"/kita-d0") {
				t.Error("it left its base")
			}
		})
	}
}
