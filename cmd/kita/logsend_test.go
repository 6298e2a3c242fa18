package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kita/control"
	"kita/control/controltest"
	"kita/spec"
)

// brokenPipe is a reader that has had enough after a few bytes.
type brokenPipe struct{ left int }

func (b *brokenPipe) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, &os.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.EPIPE}
	}
	return len(p), nil
}

func TestAReaderThatHasHadEnoughEndsIt(t *testing.T) {
	server, other := serveFake(t, writingService()), serveFake(t, writingService())
	var stderr bytes.Buffer
	p := &program{name: "kita", out: &brokenPipe{5}, err: &stderr, now: time.Now, defaultSocket: func() (string, bool) { return "", false }}
	root := p.rootCommand(nil)
	// Both hosts would be followed for ever.
	root.SetArgs([]string{"logs", "web", "db", "-f", "on", server.tcp + "," + other.tcp})
	if status := p.finish(root.Execute()); status != exitOK || stderr.Len() > 0 {
		t.Errorf("status %d, stderr %q", status, &stderr)
	}
	p.out = fullDisk{}
	root = p.rootCommand(nil)
	root.SetArgs([]string{"logs", "web", "on", server.tcp})
	if status := p.finish(root.Execute()); status != exitFailed || stderr.String() != "kita: write the output: no space left on device\n" {
		t.Errorf("a full disk: status %d, stderr %q", status, &stderr)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func TestAReaderThatLeavesEndsWhatIsSilent(t *testing.T) {
	for _, tt := range []struct {
		args, line, stderr string
		status             int
	}{
		{"logs web -f -n 1 --stream out", "two\n", "", exitOK},
		{"logs nope web -f -n 1 --stream out", "web  | two\n", "kita: there is no child \"nope\": no file of that name is in the load paths\n", exitFailed},
	} {
		t.Run(tt.args, func(t *testing.T) { followUntilTheReaderLeaves(t, tt.args, tt.line, tt.stderr, tt.status) })
	}
}

// followUntilTheReaderLeaves runs a command that follows, of which the reader
// takes one line.
func followUntilTheReaderLeaves(t *testing.T, args, want, complaint string, status int) {
	t.Helper()
	server := serveFake(t, writingService())
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	var stderr bytes.Buffer
	p := &program{name: "kita", out: writer, err: &stderr, now: time.Now, defaultSocket: func() (string, bool) { return server.socket, true }}
	root := p.rootCommand(nil)
	root.SetArgs(strings.Fields(args))
	ended := make(chan int, 1)
	go func() { ended <- p.finish(root.Execute()) }()
	line := make([]byte, len(want))
	if _, err := io.ReadFull(reader, line); err != nil || string(line) != want {
		t.Fatalf("%q, %v", line, err)
	}
	_ = reader.Close()
	select {
	case got := <-ended:
		if got != status || stderr.String() != complaint {
			t.Errorf("status %d, stderr %q", got, &stderr)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it does not end")
	}
}

// watched is an output that can be waited for.
type watched struct {
	mu   sync.Mutex
	text strings.Builder // owned by mu
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// await returns when it has had a text.
func (w *watched) await(t *testing.T, text string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(30 * time.Second); !strings.Contains(w.String(), text); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%q never came, but %q", text, w)
		}
	}
}

// running is a command that is under way.
type running struct {
	t           *testing.T
	out, stderr watched
	end         context.CancelFunc
	status      chan int
}

func begin(t *testing.T, socket, args string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{t: t, end: cancel, status: make(chan int, 1)}
	p := &program{name: "kita", out: &r.out, err: &r.stderr, now: time.Now, defaultSocket: func() (string, bool) { return socket, true }}
	root := p.rootCommand(nil)
	root.SetArgs(strings.Fields(args))
	go func() { r.status <- p.finish(root.ExecuteContext(ctx)) }()
	t.Cleanup(func() {
		cancel()
		r.status <- <-r.status
	})
	return r
}

// wait is the status with which it ends.
func (r *running) wait() int {
	r.t.Helper()
	select {
	case status := <-r.status:
		r.status <- status
		return status
	case <-time.After(30 * time.Second):
		r.t.Fatal("it does not end")
		return 0
	}
}

func TestCtrlCEndsWhatIsFollowed(t *testing.T) {
	svc := writingService()
	server, other := serveFake(t, svc), serveFake(t, writingService())
	for name, args := range map[string]string{
		"one host":      "logs web --stream out -f",
		"several hosts": "logs web -f on " + server.tcp + "," + other.tcp,
	} {
		t.Run(name, func(t *testing.T) {
			r := begin(t, server.socket, args)
			svc.Write("web", name+"\n", spec.Out)
			r.out.await(t, name)
			// It is caught, for the logs are followed.
			if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			if status := r.wait(); status != exitOK || r.stderr.String() != "" {
				t.Errorf("status %d, stderr %q", status, &r.stderr)
			}
		})
	}
}

// The time limit is for the beginning: what is followed goes on.
func TestTheTimeLimitDoesNotEndWhatIsFollowed(t *testing.T) {
	svc := writingService()
	server := serveFake(t, svc)
	r := begin(t, server.socket, "logs web -f --timeout 2s")
	// The limit has to pass.
	time.Sleep(2100 * time.Millisecond)
	svc.Write("web", "later\n", spec.Out)
	r.out.await(t, "later")

	// A server that does not begin is another matter.
	svc.LogsFunc = func(ctx context.Context, _ spec.LogRequest, _ func(string) bool, _ func(spec.LogChunk) error) error {
		<-ctx.Done()
		return ctx.Err()
	}
	if status, _, stderr := kita(server.socket, "logs", "db", "-f", "--timeout", "50ms"); status != exitUnreachable || !strings.Contains(stderr, "did not answer in time") {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
}

func TestFollowingGoesOnWithTheNextServer(t *testing.T) {
	svc := writingService()
	socket := filepath.Join(shortDir(t), socketName)
	end := serveAt(t, svc, socket)
	r := begin(t, socket, "logs web -f --stream out")
	r.out.await(t, "two")
	end()
	r.stderr.await(t, "trying to go on")
	svc.Write("web", "between\n", spec.Out)
	defer serveAt(t, svc, socket)()
	svc.Write("web", "last\n", spec.Out)
	r.out.await(t, "last")
	if r.out.String() != "one\ntwo\nbetween\nlast\n" {
		t.Errorf("stdout %q", &r.out)
	}
	if n := strings.Count(r.stderr.String(), "trying to go on"); n != 1 {
		t.Errorf("stderr %q", &r.stderr)
	}
	r.end()
	r.wait()
}

// shortDir is a directory for a socket, whose path has a limit.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kita")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// serveAt serves on the socket until end is called.
func serveAt(t *testing.T, svc *controltest.Service, socket string) (end func()) {
	t.Helper()
	s := control.NewServer(control.Options{Service: svc})
	ln, err := control.ListenUnix(socket)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.ServeUnix(context.Background(), ln) })
	return sync.OnceFunc(func() {
		if err := s.Close(context.Background()); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("close: %v", err)
		}
		serving.Wait()
	})
}
