package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kita/control"
	"kita/spec"
)

// home is a directory with a server.yml, for one server.
type home struct{ dir, config, socket string }

func newHome(t *testing.T, port int, more string) home {
	t.Helper()
	dir, err := os.MkdirTemp("", "kita")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := home{dir, filepath.Join(dir, "server.yml"), filepath.Join(dir, "run", socketName)}
	h.write(t, "server.yml", fmt.Sprintf("loadpaths: [%s/ch]\nlistener_addr: 127.0.0.1\nport: %d\nstate_dir: %s/state\nrun_dir: %s/run\n%s", dir, port, dir, dir, more))
	h.write(t, "ch/web.yml", "command: sleep 1000\n")
	return h
}

func (h home) write(t *testing.T, name, content string) {
	t.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// start begins a server and returns when it is ready; ended has its error.
func (h home) start(t *testing.T) (end context.CancelFunc, ended <-chan error, l *log) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l = newLog("msg=ready")
	p := &program{name: "kita", out: l, err: l, now: time.Now}
	result := make(chan error, 1)
	go func() {
		result <- p.serve(ctx, serveOptions{file: h.config, logLevel: "info", logFormat: "text", noKeeper: true})
	}()
	select {
	case <-l.waiting:
	case err := <-result:
		t.Fatalf("the server ended: %v\n%s", err, l)
	case <-time.After(time.Minute):
		t.Fatalf("the server is not ready\n%s", l)
	}
	return cancel, result, l
}

func TestChildrenOutliveTheServerUntilKill(t *testing.T) {
	h := newHome(t, freePort(t), "mode: full\n")
	end, ended, l := h.start(t)
	before := h.pid(t)
	end()
	if err := <-ended; err != nil {
		t.Fatalf("%v\n%s", err, l)
	}
	if _, err := os.Lstat(h.socket); err == nil {
		t.Error("the socket is left")
	}
	end, ended, l = h.start(t)
	defer end()
	if after := h.pid(t); after != before {
		t.Errorf("PID %d became %d\n%s", before, after, l)
	}
	// A second server on the same directories leaves the first its socket.
	if status, _, stderr := kita("", "serve", "--no-keeper", h.config); status != exitFailed || !strings.Contains(stderr, fmt.Sprintf("PID %d", os.Getpid())) {
		t.Errorf("second server: status %d, stderr %q", status, stderr)
	}
	if status, out, stderr := kita(h.socket, "kill"); status != exitOK {
		t.Errorf("kill: status %d, %s%s", status, out, stderr)
	}
	if err := <-ended; err != nil {
		t.Errorf("after kill: %v", err)
	}
	if !strings.Contains(l.String(), `exit="killed by SIGTERM"`) {
		t.Errorf("the child was not stopped\n%s", l)
	}
}

func (h home) pid(t *testing.T) int {
	t.Helper()
	client := control.Dial(control.Target{Unix: h.socket})
	defer client.Close()
	view, err := client.Get(t.Context(), "web")
	if err != nil || view.Status.Process == nil {
		t.Fatalf("web does not run: %+v, %v", view.Status, err)
	}
	return view.Status.Process.PID
}

func TestServeRefusesBeforeItStartsAnything(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	port := busy.Addr().(*net.TCPAddr).Port
	tests := []struct {
		name string
		port int
		more string
		odd  string // content of a second child file
		want string
	}{
		{"address in use", port, "mode: full\n", "", "address already in use"},
		{"metrics address in use", freePort(t), fmt.Sprintf("mode: full\nmetrics_addr: 127.0.0.1:%d\n", port), "", "metrics_addr: 127.0.0.1"},
		{"bad server.yml", port, "mode: fast\n", "", "server.yml:6: mode: "},
		{"mode full with an illegal file", freePort(t), "mode: full\n", "zzz: 1\n", "odd.yml:1: zzz: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHome(t, tt.port, tt.more)
			if tt.odd != "" {
				h.write(t, "ch/odd.yml", tt.odd)
			}
			h.write(t, "ch/web.yml", "command: touch started\n")
			status, _, stderr := kita("", "serve", "--no-keeper", h.config)
			if status != exitFailed || !strings.Contains(stderr, tt.want) {
				t.Errorf("status %d, stderr, want %q:\n%s", status, tt.want, stderr)
			}
			if _, err := os.Stat(filepath.Join(h.dir, "ch", "started")); err == nil {
				t.Error("a child was started")
			}
			if _, err := os.Lstat(h.socket); err == nil {
				t.Error("the socket is left")
			}
		})
	}
}

func TestResultClass(t *testing.T) {
	for result, want := range map[string]string{
		"ok": "success", string(spec.NotFound): "refused", string(spec.CannotStart): "failed", "gone": "failed",
	} {
		if got := resultClass(result); got != want {
			t.Errorf("%s is %s, want %s", result, got, want)
		}
	}
}
