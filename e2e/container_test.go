package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestContainerRecipe carries examples/Dockerfile out, without a container engine:
// each COPY and RUN into a directory, with a shell in the place of the image it
// begins with, then ENTRYPOINT as PID 1 of that root, HEALTHCHECK and STOPSIGNAL.
func TestContainerRecipe(t *testing.T) {
	needSandbox(t)
	shell, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("needs a static busybox")
	}
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(world.module, "examples", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	b := &builder{t: t, shell: shell, images: map[string]*image{}}
	b.build(string(text))
	for _, tt := range []struct{ image, user string }{{"root", "0"}, {"nonroot", "65532"}} {
		im := b.images[tt.image]
		if im == nil {
			t.Fatalf("the recipe has no image %q", tt.image)
		}
		t.Run(tt.image+" is stopped", func(t *testing.T) {
			c := im.start(t)
			if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.pid)); err != nil || !strings.Contains(string(status), "\nUid:\t"+tt.user+"\t") {
				t.Errorf("it does not run as user %s: %v\n%s", tt.user, err, status)
			}
			sig := map[string]syscall.Signal{"SIGTERM": syscall.SIGTERM, "SIGINT": syscall.SIGINT}[im.stopSignal]
			if err := syscall.Kill(c.pid, sig); err != nil {
				t.Fatal(err)
			}
			if got := c.end(t); got != 0 {
				t.Errorf("status %d, want 0", got)
			}
			for _, want := range []string{"app: here\n", "app: bye\n", "store: bye\n"} {
				if out := c.output(); !strings.Contains(out, want) {
					t.Errorf("no %q in the container's output:\n%s", want, out)
				}
			}
		})
		t.Run(tt.image+" ends with its program", func(t *testing.T) {
			c := im.start(t)
			out, status := c.exec("kita", "check", "app", "-o", "json")
			var view struct {
				Status struct {
					Process struct{ PID int }
				}
			}
			if err := json.Unmarshal([]byte(out), &view); err != nil || status != 0 || view.Status.Process.PID == 0 {
				t.Fatalf("status %d, %v:\n%s", status, err, out)
			}
			if out, status := c.exec("/bin/kill", "-KILL", fmt.Sprint(view.Status.Process.PID)); status != 0 {
				t.Fatalf("kill: status %d:\n%s", status, out)
			}
			if got, want := c.end(t), 128+int(syscall.SIGKILL); got != want {
				t.Errorf("status %d, want that of app, %d", got, want)
			}
			if out := c.output(); !strings.Contains(out, "store: bye\n") {
				t.Errorf("store was not stopped in order:\n%s", out)
			}
		})
		t.Run(tt.image+" is unhealthy without its program", func(t *testing.T) {
			c := im.start(t)
			if out, status := c.exec("kita", "stop", "app"); status != 0 {
				t.Fatalf("stop: status %d:\n%s", status, out)
			}
			if out, status := c.exec(im.health...); status == 0 {
				t.Errorf("the health check says that all is well:\n%s", out)
			}
		})
	}
}

// image is a root directory and how a program is started in it.
type image struct {
	root, workdir      string
	env                []string
	user, stopSignal   string
	entrypoint, health []string
}

// builder carries a Dockerfile out.
type builder struct {
	t      *testing.T
	shell  string
	images map[string]*image
	now    *image
}

func (b *builder) build(recipe string) {
	b.t.Helper()
	for line := range strings.Lines(recipe) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		word, rest, _ := strings.Cut(line, " ")
		if err := b.step(word, rest); err != nil {
			b.t.Fatalf("%s: %v", line, err)
		}
	}
}

func (b *builder) step(word, rest string) error {
	switch word {
	case "FROM":
		from, name, _ := strings.Cut(rest, " AS ")
		return b.from(from, name)
	case "WORKDIR":
		b.now.workdir = rest
		return os.MkdirAll(filepath.Join(b.now.root, rest), 0o755)
	case "COPY":
		return b.copy(strings.Fields(rest))
	case "RUN":
		return b.run(rest)
	case "ENV":
		b.now.env = append(b.now.env, rest)
		return nil
	case "USER":
		b.now.user = rest
		return nil
	case "STOPSIGNAL":
		b.now.stopSignal = rest
		return nil
	case "ENTRYPOINT":
		return json.Unmarshal([]byte(rest), &b.now.entrypoint)
	case "HEALTHCHECK":
		_, command, found := strings.Cut(rest, " CMD ")
		if !found {
			return errors.New("it has no CMD")
		}
		return json.Unmarshal([]byte(command), &b.now.health)
	}
	return errors.New("this test does not know the instruction")
}

// from begins an image: as a copy of an earlier one, or with a shell.
func (b *builder) from(base, name string) error {
	root, err := os.MkdirTemp(world.root, "c")
	if err != nil {
		return err
	}
	im := &image{root: root, workdir: "/", user: "0:0"}
	if former := b.images[base]; former != nil {
		*im = *former
		im.root, im.env = root, slices.Clone(former.env)
		if out, err := exec.Command("cp", "-a", former.root+"/.", root).CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
	} else if err := furnish(root, b.shell); err != nil {
		return err
	}
	if err := os.Chmod(root, 0o755); err != nil {
		return err
	}
	b.now, b.images[name] = im, im
	return nil
}

// furnish makes a root with a shell and what scripts call.
func furnish(root, shell string) error {
	for _, dir := range []string{"bin", "proc", "dev", "etc", "tmp", "run", "usr/local/bin", "var/lib"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	if err := copyFile(shell, filepath.Join(root, "bin/busybox")); err != nil {
		return err
	}
	for _, name := range []string{"sh", "sleep", "mkdir", "chown", "kill"} {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", name)); err != nil {
			return err
		}
	}
	return nil
}

// copy is COPY [--from=IMAGE] SOURCE TARGET; a directory's target ends with a
// slash, as does what is copied into one.
func (b *builder) copy(words []string) error {
	from := world.module
	if name, found := strings.CutPrefix(words[0], "--from="); found {
		if b.images[name] == nil {
			return fmt.Errorf("there is no image %q", name)
		}
		from, words = b.images[name].root, words[1:]
	}
	if len(words) != 2 {
		return errors.New("it is not one source and one target")
	}
	if words[0] == "." {
		// All of the source, which RUN finds where it is.
		return nil
	}
	to := words[1]
	if !path.IsAbs(to) {
		to = path.Join(b.now.workdir, to)
	}
	source, target := filepath.Join(from, words[0]), filepath.Join(b.now.root, to)
	if stat, err := os.Stat(source); err != nil {
		return err
	} else if stat.IsDir() {
		return os.CopyFS(target, os.DirFS(source))
	}
	return copyFile(source, target)
}

func copyFile(from, to string) error {
	stat, err := os.Stat(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, stat.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}

// run is RUN. The compiler is this machine's, so what calls it runs out here, in
// the source; everything else runs in the image.
func (b *builder) run(line string) error {
	cmd := exec.Command("chroot", b.now.root, "/bin/sh", "-ec", line)
	if strings.Contains(line, " go build ") {
		cmd = exec.Command("sh", "-ec", strings.ReplaceAll(line, "-o /", "-o "+b.now.root+"/"))
		cmd.Dir = world.module
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// container is a running image.
type container struct {
	im   *image
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has been waited for
	log  string
	mark string
	// pid is PID 1 of the container, as it is known out here.
	pid int
}

// start runs the entry point and waits until it is healthy.
func (im *image) start(t *testing.T) *container {
	t.Helper()
	mark := newInstance("").mark
	c := &container{im: im, done: make(chan struct{}), log: filepath.Join(t.TempDir(), "log"), mark: mark}
	log, err := os.Create(c.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	const script = `mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot --userspec="$USERSPEC" "$0" "$@"`
	args := append([]string{"-pfm", "--propagation", "private", "sh", "-c", script, im.root}, im.entrypoint...)
	c.cmd = exec.Command("unshare", args...)
	c.cmd.Stdout, c.cmd.Stderr = log, log
	c.cmd.Env = append(c.environ(), "USERSPEC="+im.user)
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.done)
		_ = c.cmd.Wait()
	}()
	t.Cleanup(func() {
		if c.pid != 0 {
			// The last process that is left takes all others with it. It is not
			// waited for here, so its number is still its own.
			select {
			case <-c.done:
			default:
				_ = syscall.Kill(c.pid, syscall.SIGKILL)
			}
		} else {
			_ = c.cmd.Process.Kill()
		}
		<-c.done
		if left, err := endMarked(mark); err != nil || len(left) > 0 {
			t.Errorf("processes are left: %v, %v", left, err)
		}
		if t.Failed() {
			t.Logf("the container's output:\n%s", c.output())
		}
	})
	eventually(t, "PID 1 is there", func() bool {
		select {
		case <-c.done:
			t.Fatalf("the container ended: %v\n%s", c.cmd.ProcessState, c.output())
		default:
		}
		if below := childrenOf(c.cmd.Process.Pid); len(below) == 1 {
			c.pid = below[0]
		}
		return c.pid != 0
	})
	var said string
	eventually(t, "the container is healthy", func() bool {
		out, status := c.exec(im.health...)
		said = out
		return status == 0
	})
	if !strings.Contains(said, "running") {
		t.Errorf("the health check says %q", said)
	}
	return c
}

func (c *container) environ() []string {
	return append([]string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "KITA_E2E=" + c.mark}, c.im.env...)
}

// exec is `docker exec`.
func (c *container) exec(args ...string) (out string, status int) {
	uid, gid, _ := strings.Cut(c.im.user, ":")
	cmd := exec.Command("nsenter", append([]string{"-t", fmt.Sprint(c.pid), "-p", "-m", "-r", "-w", "-S", uid, "-G", gid, "--"}, args...)...)
	cmd.Env = c.environ()
	text, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		return err.Error(), -1
	}
	return string(text), cmd.ProcessState.ExitCode()
}

func (c *container) output() string {
	text, _ := os.ReadFile(c.log)
	return string(text)
}

// end waits for the end of the container, and returns its exit status.
func (c *container) end(t *testing.T) int {
	t.Helper()
	eventually(t, "the container ends", func() bool {
		select {
		case <-c.done:
			return true
		default:
			return false
		}
	})
	return c.cmd.ProcessState.ExitCode()
}
