package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	goruntime "runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// former starts a child of a process that ends, or that stays to reap it, and
// returns its identity.
func former(t *testing.T, command ...string) spec.Identity {
	t.Helper()
	return playFormer(t, "start", command, nil)
}

func playFormer(t *testing.T, part string, command []string, stdin *os.File) spec.Identity {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, command...)
	cmd.Env = append(os.Environ(), envHelper+"="+part)
	// A file, since a pipe would end only with the child.
	out, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if stdin != nil {
		cmd.Stdin = stdin
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if part == "start" {
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%v: %s", err, read(t, out.Name()))
		}
	} else {
		awaitText(t, out.Name(), "}")
		t.Cleanup(func() { cmd.Wait() })
	}
	var id spec.Identity
	if err := json.Unmarshal([]byte(read(t, out.Name())), &id); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Kill(-id.PID, unix.SIGKILL) })
	return id
}

func TestAdoptedProcessIsWatched(t *testing.T) {
	kernels(t, func(t *testing.T, h *Host, f facts) {
		id := former(t, "sleep", "600")
		if err := h.Adopt("web", spec.Launch{Identity: id}); err != nil {
			t.Fatal(err)
		}
		if err := h.Adopt("web", spec.Launch{Identity: id}); err == nil {
			t.Error("adopted twice")
		}
		if err := h.Signal("web", id.Incarnation, spec.Signal(unix.SIGTERM)); err != nil {
			t.Error(err)
		}
		want := exited(7, killedBy(unix.SIGTERM), true)
		if got := f.next(t); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

func TestExitOfAdoptedProcessThatIsReapedAtOnce(t *testing.T) {
	tests := []struct {
		name, script string
		want         spec.Exit
	}{
		{"code", "read x <$0; exit 200", code(200)},
		{"success", "read x <$0; exit 0", code(0)},
		{"signal", "read x <$0; kill -USR1 $$", killedBy(unix.SIGUSR1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fifo := t.TempDir() + "/fifo"
			if err := unix.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			id := playFormer(t, "start and reap", []string{"sh", "-c", tt.script, fifo}, nil)
			h, f := newHost(t)
			if err := h.Adopt("web", spec.Launch{Identity: id}); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(fifo, []byte("\n"), 0); err != nil {
				t.Fatal(err)
			}
			if got, want := f.next(t), exited(7, tt.want, true); got != want && (got.exit.Known || keepsExits(t)) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// A server that is not root may not read how a child of another user ended: it
// has to wait until the parent has reaped it.
func TestHiddenExitIsAwaited(t *testing.T) {
	asRoot(t)
	if !keepsExits(t) {
		t.Skip("needs Linux 6.15")
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	id := playFormer(t, "start and reap when told", []string{"sleep", "600"}, r)
	h, _ := newHost(t)
	h.patience = patience
	p, err := h.adopt("web", spec.Launch{Identity: id})
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if err := unix.Kill(id.PID, unix.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	awaitThat(t, "the end", func() (string, bool) {
		over := false
		return "", p.pidfd.do(func(fd int) { over = ended(fd) }) && over
	})
	goruntime.LockOSThread()
	const nobody, keep, root = 65534, ^uintptr(0), 0
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, keep); errno != 0 {
		t.Fatal(errno)
	}
	settled := true
	p.pidfd.do(func(fd int) { _, settled = exitOfStranger(fd, id.PID, id.Incarnation) })
	_, werr := w.WriteString("\n")
	got, ok := p.exitOfStranger()
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, root, root, keep); errno != 0 {
		t.Fatal(errno)
	}
	goruntime.UnlockOSThread()
	if settled || werr != nil {
		t.Errorf("before it was reaped: settled %v, %v", settled, werr)
	}
	got.At = time.Time{}
	if want := exited(7, killedBy(unix.SIGUSR2), true).exit; !ok || got != want {
		t.Errorf("got %+v, %v; want %+v", got, ok, want)
	}
}

// keepsExits tells whether the kernel keeps the exit status of a process after
// it was reaped.
func keepsExits(t *testing.T) bool {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	return major > 6 || major == 6 && minor >= 15
}

func TestAdoptedGroupWithSurvivors(t *testing.T) {
	kernels(t, func(t *testing.T, h *Host, f facts) {
		fifo := t.TempDir() + "/fifo"
		if err := unix.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
		id := former(t, "sh", "-c", `sleep 600 & read x <"$0"; exit 42`, fifo)
		if err := h.Adopt("web", spec.Launch{Identity: id}); err != nil {
			t.Fatal(err)
		}
		awaitThat(t, "both processes", func() (string, bool) {
			got := h.Survivors("web", 7)
			return fmt.Sprint(got), len(got) == 2
		})
		if err := os.WriteFile(fifo, []byte("\n"), 0); err != nil {
			t.Fatal(err)
		}
		want := exited(7, code(42), false)
		if got := f.next(t); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if err := h.Signal("web", 7, spec.Signal(unix.SIGKILL)); err != nil {
			t.Error(err)
		}
		if got, want := f.next(t), (fact{child: "web", incarnation: 7, emptied: true}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

func TestAdoptRefusesAnotherProcess(t *testing.T) {
	h, f := newHost(t)
	id := start(t, h, child(t, "sleep", "600"))
	tests := []struct {
		name   string
		change func(*spec.Identity)
		want   string
	}{
		{"another boot", func(id *spec.Identity) { id.BootID = "x" },
			"adopt PID %d: the process is gone: it is of another boot"},
		{"no boot", func(id *spec.Identity) { id.BootID = "" },
			"adopt PID %d: the process is gone: it is of another boot"},
		{"another start", func(id *spec.Identity) { id.StartTicks++ },
			"adopt PID %d: the process is gone: its PID belongs to another process"},
		{"another inode", func(id *spec.Identity) { id.Inode++ },
			"adopt PID %d: the process is gone: its PID belongs to another process"},
		{"no PID", func(id *spec.Identity) { id.PID = 0 },
			"adopt PID %d: the process is gone: it is of another boot"},
		{"dead", func(id *spec.Identity) { id.PID = 1 << 22 },
			"adopt PID %d: the process is gone"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wrong := id
			wrong.Incarnation = 2
			tt.change(&wrong)
			if wrong == id {
				t.Skip("the kernel has no pidfs")
			}
			before := descriptors(t)
			err := h.Adopt("web", spec.Launch{Identity: wrong})
			if !errors.Is(err, spec.ErrGone) || err.Error() != fmt.Sprintf(tt.want, wrong.PID) {
				t.Errorf("got %v", err)
			}
			if after := descriptors(t); after != before {
				t.Errorf("%d descriptors, before it were %d", after, before)
			}
		})
	}
	h.Signal("web", 1, spec.Signal(unix.SIGKILL))
	f.next(t)
}

func TestOwnZombieIsAdoptedWithItsExit(t *testing.T) {
	// As when the server executes a new version of itself and a child ends
	// meanwhile.
	old := New(make(facts, 10), Options{})
	l, err := old.Start(child(t, "sleep", "600"), 3)
	if err != nil {
		t.Fatal(err)
	}
	id := l.Identity
	old.Close()
	unix.Kill(id.PID, unix.SIGTERM)
	awaitThat(t, "a zombie", func() (string, bool) {
		st, err := readStat(id.PID)
		return string(st.state), err == nil && st.state == 'Z'
	})
	h, f := newHost(t)
	if err := h.Adopt("web", spec.Launch{Identity: id}); err != nil {
		t.Fatal(err)
	}
	if got, want := f.next(t), exited(3, killedBy(unix.SIGTERM), true); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if err := unix.Kill(id.PID, 0); err != unix.ESRCH {
		t.Errorf("the zombie: %v", err)
	}
}
