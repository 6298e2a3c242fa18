//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kita/control"
	"kita/spec"
)

// BenchmarkCheckDuringSlowStop asks for one child while another, which ignores
// TERM, is being stopped; "idle" is the same without that stop. The ratio of
// the two is what a slow stop costs everybody else, and should be about 1.
func BenchmarkCheckDuringSlowStop(b *testing.B) {
	s := serveTest(b, map[string]string{
		"quick.yml":    "command: sleep 1000\n",
		"stubborn.yml": "command: [sh, -c, \"trap '' TERM; while :; do sleep 1; done\"]\nstop: {grace: 1h}\n",
	})
	s.do(b, spec.VerbStart, "quick")
	s.do(b, spec.VerbStart, "stubborn")
	check := func(b *testing.B) {
		took := make([]time.Duration, 0, b.N)
		for b.Loop() {
			begin := time.Now()
			if _, err := s.client.Get(b.Context(), "quick"); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(begin))
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-median")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
	}
	b.Run("idle", check)

	ctx, cancel := context.WithCancel(b.Context())
	var stopping sync.WaitGroup
	stopping.Go(func() {
		_, _ = s.client.Do(ctx, spec.Command{Verb: spec.VerbStop, Child: "stubborn"})
	})
	s.await(b, "stubborn", spec.PhaseStopping)
	b.Run("stopping", check)
	s.await(b, "stubborn", spec.PhaseStopping)
	cancel()
	stopping.Wait()
}

// BenchmarkTrystart stops and starts a child, its desired state synced to disk
// each time.
func BenchmarkTrystart(b *testing.B) {
	s := serveTest(b, map[string]string{"web.yml": "command: sleep 1000\n"})
	for b.Loop() {
		s.do(b, spec.VerbTrystart, "web")
	}
}

// BenchmarkManyChildren starts 200 children and tells what the server needs
// for each.
func BenchmarkManyChildren(b *testing.B) {
	const children = 200
	files := map[string]string{}
	for i := range children {
		files[fmt.Sprintf("c%03d.yml", i)] = "command: sleep 1000\n"
	}
	for b.Loop() {
		s := serveTest(b, files)
		begin := time.Now()
		var starts sync.WaitGroup
		for i := range children {
			starts.Go(func() {
				_, err := s.client.Do(b.Context(), spec.Command{Verb: spec.VerbStart, Child: fmt.Sprintf("c%03d", i)})
				if err != nil {
					b.Error(err)
				}
			})
		}
		starts.Wait()
		b.ReportMetric(float64(time.Since(begin).Milliseconds()), "ms-all-starts")
		b.ReportMetric(s.status(b, "VmRSS"), "KiB-server")
		b.ReportMetric(s.status(b, "Threads"), "threads")
		s.end(b)
	}
}

// testServer is a real one, in a directory of its own.
type testServer struct {
	client  *control.Client
	process *exec.Cmd
	log     string
	ended   bool
}

// built is the directory of the binary, once there is one. Benchmarks run one
// after the other.
var built string

var kitaProgram = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "kita-bench")
	if err != nil {
		return "", err
	}
	built = dir
	binary := filepath.Join(dir, "kita")
	cmd := exec.Command("go", "build", "-trimpath", "-o", binary, "../cmd/kita")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build kita: %w\n%s", err, out)
	}
	return binary, nil
})

func TestMain(m *testing.M) {
	status := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(status)
}

func serveTest(b *testing.B, files map[string]string) *testServer {
	b.Helper()
	program, err := kitaProgram()
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	// The TCP port is not used; an address of its own keeps it from others.
	write("server.yml", fmt.Sprintf("loadpaths: [%s/children]\nlistener_addr: 127.%d.%d.2\nstate_dir: state\nrun_dir: run\n",
		dir, 1+os.Getpid()%254, os.Getpid()/254%254))
	for name, text := range files {
		write(filepath.Join("children", name), text)
	}
	s := &testServer{log: filepath.Join(dir, "log")}
	log, err := os.Create(s.log)
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	s.process = exec.Command(program, "serve", filepath.Join(dir, "server.yml"))
	s.process.Stdout, s.process.Stderr = log, log
	if err := s.process.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.end(b) })
	s.client = control.Dial(control.Target{Unix: filepath.Join(dir, "run", "kita.sock")})
	s.until(b, "the server to answer", func() bool {
		_, err := s.client.Info(b.Context())
		return err == nil
	})
	return s
}

// end ends the server and everything it started.
func (s *testServer) end(b *testing.B) {
	if s.ended {
		return
	}
	s.ended = true
	// One that ignores TERM is killed by its PID first: nobody waits an hour.
	ctx := context.Background()
	if views, err := s.client.List(ctx); err == nil {
		for _, v := range views {
			if v.Status.Process != nil {
				_ = syscall.Kill(-v.Status.Process.PID, syscall.SIGKILL)
			}
		}
	}
	if err := s.client.Kill(ctx); err != nil {
		b.Errorf("kill: %v", err)
		_ = s.process.Process.Kill()
	}
	if err := s.process.Wait(); err != nil {
		log, _ := os.ReadFile(s.log)
		b.Errorf("the server ended with %v\n%s", err, log)
	}
}

func (s *testServer) do(b *testing.B, verb spec.Verb, child string) {
	b.Helper()
	if _, err := s.client.Do(b.Context(), spec.Command{Verb: verb, Child: child}); err != nil {
		b.Fatal(err)
	}
}

func (s *testServer) await(b *testing.B, child string, phase spec.Phase) {
	b.Helper()
	s.until(b, fmt.Sprintf("%s to be %s", child, phase), func() bool {
		v, err := s.client.Get(b.Context(), child)
		return err == nil && v.Status.Phase == phase
	})
}

func (s *testServer) until(b *testing.B, what string, holds func() bool) {
	b.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 4000 {
		if holds() {
			return
		}
		<-tick.C
	}
	log, _ := os.ReadFile(s.log)
	b.Fatalf("waited in vain for %s\n%s", what, log)
}

// status reads a number of the server's /proc/PID/status.
func (s *testServer) status(b *testing.B, key string) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.process.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var n float64
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			if _, err := fmt.Sscan(rest, &n); err == nil {
				return n
			}
		}
	}
	b.Fatalf("no %s in the server's status", key)
	return 0
}
