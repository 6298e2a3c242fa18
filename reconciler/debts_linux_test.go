package reconciler

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"kita/spec"
)

const smallDiskDir = "KITA_RECONCILER_TEST_SMALL_DISK"

// TestFullDisk runs TestFullDiskInside in a mount namespace of its own, where it
// may mount a small file system that nobody else sees.
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to mount a small file system")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFullDiskInside$", "-test.v")
	dir := t.TempDir()
	cmd.Env = append(os.Environ(), smallDiskDir+"="+dir, "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		t.Skip("needs CAP_SYS_ADMIN, to mount a small file system")
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: TestFullDiskInside") {
		t.Errorf("%v\n%s", err, out)
	}
}

// What could not be saved is saved when there is room again, though nobody asks
// for anything more.
func TestFullDiskInside(t *testing.T) {
	disk := os.Getenv(smallDiskDir)
	if disk == "" {
		t.Skip("run by TestFullDisk")
	}
	// Nothing that is mounted from here on reaches the outside.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=256k,mode=700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	w := newWorld(t, "", map[string]string{"web": plain, "db": plain, "job": plain})
	w.mustServe()
	for _, name := range []string{"web", "db", "job"} {
		w.want(spec.VerbStart, name, "")
	}
	// Longer than what is left of the journal's last block.
	by := strings.Repeat("x", 8<<10)

	free := fillDisk(t, disk)
	stop, err := w.Do(t.Context(), spec.Command{Verb: spec.VerbStop, Child: "web", By: by})
	if err != nil || !strings.Contains(stop.Note, "no space left on device") {
		t.Fatalf("stop: %+v, %v", stop, err)
	}
	_, err = w.Do(t.Context(), spec.Command{Verb: spec.VerbRestart, Child: "db", By: by})
	if refusal, ok := errors.AsType[*spec.Refusal](err); !ok || refusal.Code != spec.Unavailable {
		t.Fatalf("restart: %v", err)
	}
	starts := len(w.runtime.started())
	_, err = w.Do(t.Context(), spec.Command{Verb: spec.VerbTrystart, Child: spec.All, By: by})
	if refusal, ok := errors.AsType[*spec.Refusal](err); !ok || refusal.Code != spec.Unavailable || len(w.runtime.started()) != starts {
		t.Fatalf("trystart all: %v, %d starts", err, len(w.runtime.started())-starts)
	}
	w.runtime.exit("job", 0)
	w.until("the end of job, which has its place", func() bool { return w.phase("job") == spec.PhaseExited })
	if v, _ := w.Get("job"); len(v.Status.Warnings) != 0 {
		t.Errorf("not saved: %v", v.Status.Warnings)
	}
	w.Wrote("job", spec.LastLines{Incarnation: 1, Lines: []string{by}})
	w.until("a warning", func() bool { v, _ := w.Get("job"); return len(v.Status.Warnings) == 1 })
	if w.store.Err() == nil {
		t.Error("the store reports nothing")
	}

	free()
	w.until("all saved", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.debts.desired) == 0 && w.store.Err() == nil
	})
	w.until("no warning", func() bool { v, _ := w.Get("job"); return len(v.Status.Warnings) == 0 })
	w.leave()
	w.mustServe()
	for name, want := range map[string]spec.Run{"web": spec.Stopped, "db": spec.Running, "job": spec.Running} {
		if v, _ := w.Get(name); v.Desired.Run != want || (v.Status.Process != nil) != (name == "db") {
			t.Errorf("%s is %+v, %+v", name, v.Desired.Run, v.Status)
		}
	}
}

// fillDisk takes every free block of a file system and returns what gives them
// back.
func fillDisk(t *testing.T, dir string) (free func()) {
	t.Helper()
	name := filepath.Join(dir, "filler")
	err := os.WriteFile(name, make([]byte, 1<<20), 0o600)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Error(err)
		}
	}
}
