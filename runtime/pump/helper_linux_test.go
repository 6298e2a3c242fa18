package pump

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"testing"
	"time"

	"kita/spec"
)

// otherVersion is the argv[0] of a pump with messages of another version.
const otherVersion = "kita-pump-other"

func TestMain(m *testing.M) {
	if len(os.Args) == 1 && os.Args[0] == otherVersion {
		os.Exit(act(version - 1))
	}
	Main()
	if how := os.Getenv(envWrite); how != "" {
		actWriter(how)
		return
	}
	os.Exit(m.Run())
}

// testPatience is how long a test waits for what must happen.
const testPatience = 30 * time.Second

// testClient is a client whose pump is gone when the test is over.
func testClient(t *testing.T, runDir string) *Client {
	t.Helper()
	c := New(Options{RunDir: runDir, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	t.Cleanup(func() {
		c.Close()
		eventually(t, "the pump ends", func() bool { return c.PID() == 0 })
	})
	return c
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(testPatience); !is(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", testPatience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func destination(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// start starts a shell script with its standard output in the stream s.
func start(t *testing.T, c *Client, k Key, s Stream, script string) *exec.Cmd {
	t.Helper()
	fd, path, err := c.MakeFIFO(k, -1, -1)
	if err != nil {
		t.Fatal(err)
	}
	out := os.NewFile(uintptr(fd), path)
	defer out.Close()
	s.FIFO = path
	if err := c.Attach(k, s); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", script)
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

func (c *Client) drainFor(t *testing.T, k Key) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testPatience)
	defer cancel()
	c.Drain(ctx, k)
	if ctx.Err() != nil {
		t.Fatalf("%v is not drained", k)
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func keyOf(child string) Key { return Key{child, 1, spec.Out} }
