package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// world is what all faults share; TestMain makes it and nothing changes it.
var world struct {
	// root holds every file of this run. Its path is short because that of a
	// unix socket below it must fit into 107 bytes.
	root string
	// kita has failpoints; newer is the same with another version, v2.
	kita, newer string
	workload    string
}

func TestMain(m *testing.M) {
	code, err := prepare(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		code = 1
	}
	os.Exit(code)
}

func prepare(m *testing.M) (code int, err error) {
	root, err := os.MkdirTemp("/tmp", "kc")
	if err != nil {
		return 0, err
	}
	defer func() {
		if os.Getenv("KITA_CHAOS_KEEP") != "" {
			fmt.Fprintln(os.Stderr, "chaos: kept", root)
			return
		}
		os.RemoveAll(root)
	}()
	// An instance that runs as another user must find its files here.
	if err := os.Chmod(root, 0o711); err != nil {
		return 0, err
	}
	world.root = root
	world.kita, world.newer = filepath.Join(root, "bin", "kita"), filepath.Join(root, "bin", "kita-v2")
	world.workload = filepath.Join(root, "bin", "workload")
	for _, b := range []struct{ binary, source, version string }{
		{world.kita, "./cmd/kita", "v1"}, {world.newer, "./cmd/kita", "v2"}, {world.workload, "./e2e/chaos/workload", ""},
	} {
		if err := build(b.binary, b.source, b.version); err != nil {
			return 0, err
		}
	}
	stop := endOnSignal()
	defer stop()
	return m.Run(), nil
}

// endOnSignal has a harness that is interrupted leave nothing behind either.
func endOnSignal() (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	over := make(chan struct{})
	go func() {
		select {
		case <-over:
			return
		case sig := <-signals:
			fmt.Fprintf(os.Stderr, "chaos: %v, everything is ended\n", sig)
		}
		for _, pattern := range []string{"/sys/fs/cgroup/chaos-%d-*", "/sys/fs/cgroup/*/chaos-%d-*"} {
			dirs, _ := filepath.Glob(fmt.Sprintf(pattern, os.Getpid()))
			for _, dir := range dirs {
				p := &pen{dir}
				_ = p.write("freezer.state", "THAWED")
				_ = p.kill(5 * time.Second)
				_ = p.remove()
			}
		}
		for n := range instances.Load() {
			_, _ = endMarked(markOf(n + 1))
		}
		os.RemoveAll(world.root)
		os.Exit(1)
	}()
	return func() {
		signal.Stop(signals)
		close(over)
	}
}

// build makes a binary as it is released, but with the failpoints.
func build(binary, source, version string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-tags", "failpoint", "-ldflags", "-s -w -X main.version="+version, "-o", binary, source)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", source, err, out)
	}
	return nil
}
