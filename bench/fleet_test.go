//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"kita/control"
	"kita/control/controltest"
	"kita/spec"
)

// BenchmarkFleet asks 1,000 servers on 1,000 addresses with one command.
func BenchmarkFleet(b *testing.B) {
	for _, way := range []struct {
		name string
		key  bool
	}{{"plain", false}, {"key", true}} {
		b.Run(way.name, func(b *testing.B) {
			f := newFleet(b, 1000, way.key)
			// The first time the servers' keys are learned.
			begin := time.Now()
			f.check(b)
			first := time.Since(begin)
			var wall, processor time.Duration
			f.memory = 0
			for b.Loop() {
				begin := time.Now()
				client := f.check(b)
				wall += time.Since(begin)
				processor += client.UserTime() + client.SystemTime()
			}
			b.ReportMetric(float64(wall.Milliseconds())/float64(b.N), "ms-wall")
			b.ReportMetric(float64(first.Milliseconds()), "ms-first")
			b.ReportMetric(float64(processor.Milliseconds())/float64(b.N), "ms-client-cpu")
			b.ReportMetric(float64(f.memory), "KiB-client")
			b.ReportMetric(float64(f.bytes)/float64(len(f.names)), "B/server")
		})
	}
}

// TestFleet is a short BenchmarkFleet whose answers are looked at.
func TestFleet(t *testing.T) {
	for _, way := range []struct {
		name string
		key  bool
	}{{"plain", false}, {"key", true}} {
		t.Run(way.name, func(t *testing.T) {
			f := newFleet(t, 100, way.key)
			f.check(t)
			const dead = 42
			f.end(t, dead)
			for _, parallel := range []string{"64", "1"} {
				out, stderr, state := f.run(t, "--parallel", parallel)
				want := slices.Delete(slices.Clone(f.names), dead, dead+1)
				if got := answered(out); state.ExitCode() != 4 || !slices.Equal(got, want) {
					t.Errorf("one is dead: status %d, %d answers, in order: %v", state.ExitCode(), len(got), slices.IsSorted(got))
				}
				last := fmt.Sprintf("kita: 1 of 100 hosts failed: %s (unreachable)\n", f.names[dead])
				if !strings.Contains(stderr, "kita: "+f.names[dead]+": ") || !strings.HasSuffix(stderr, last) {
					t.Errorf("one is dead: stderr, want %q at its end:\n%s", last, stderr)
				}
			}
		})
	}
}

// fleet is many servers in this process, each with an address of its own, and
// what a client needs to ask them all.
type fleet struct {
	names   []string // as in hosts.yml
	servers []*control.Server
	serving []*sync.WaitGroup
	home    string
	// bytes are what all servers together take while nobody asks.
	bytes uint64
	// memory is the most that a client had resident, in KiB.
	memory int64
}

// fleetPorts are tried one after the other: somebody may listen on one of them
// on all addresses.
var fleetPorts = []int{spec.DefaultPort, 33890, 33891, 33892}

func newFleet(tb testing.TB, size int, withKey bool) *fleet {
	tb.Helper()
	if _, err := kitaProgram(); err != nil {
		tb.Fatal(err)
	}
	f := &fleet{home: tb.TempDir()}
	options := control.Options{}
	if withKey {
		options = f.makeKeys(tb)
	}
	tb.Cleanup(func() {
		for i := range f.servers {
			f.end(tb, i)
		}
	})
	before := inUse()
	var hosts strings.Builder
	if withKey {
		hosts.WriteString("  h*: {key: ../ops.pem}\n")
	}
	port := 0
	for i := range size {
		options.Service = controltest.New(controltest.Child("web"))
		if withKey {
			options.HostKey = newSigner(tb)
		}
		var listener net.Listener
		listener, port = listen(tb, i, port)
		f.serve(options, listener)
		f.names = append(f.names, fmt.Sprintf("h%04d", i))
		fmt.Fprintf(&hosts, "  %s: %s\n", f.names[i], listener.Addr())
	}
	f.bytes = inUse() - before
	write(tb, filepath.Join(f.home, "kita", "hosts.yml"), "hosts:\n"+hosts.String()+"groups:\n  all: [h*]\n")
	return f
}

// listen listens on the address of the server i; port 0 means one that is to
// be had.
func listen(tb testing.TB, i, port int) (net.Listener, int) {
	tb.Helper()
	ports := fleetPorts
	if port != 0 {
		ports = []int{port}
	}
	// The tests of other packages keep to 127.1 to 127.191, by their PIDs too.
	ip := fmt.Sprintf("127.%d.%d.%d", 192+os.Getpid()%60, i/250, i%250+2)
	var errs []error
	for _, port := range ports {
		listener, err := net.Listen("tcp", fmt.Sprintf("%s:%d", ip, port))
		if err == nil {
			return listener, port
		}
		errs = append(errs, err)
	}
	tb.Fatal(errors.Join(errs...))
	return nil, 0
}

func (f *fleet) serve(options control.Options, listener net.Listener) {
	server, serving := control.NewServer(options), new(sync.WaitGroup)
	f.servers, f.serving = append(f.servers, server), append(f.serving, serving)
	serving.Go(func() { _ = server.ServeTCP(context.Background(), listener) })
}

// end ends the server i; it may have ended already.
func (f *fleet) end(tb testing.TB, i int) {
	if f.servers[i] == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := f.servers[i].Close(ctx); err != nil {
		tb.Errorf("close %s: %v", f.names[i], err)
	}
	f.serving[i].Wait()
	f.servers[i] = nil
}

// makeKeys gives the client a key, and the servers its public half.
func (f *fleet) makeKeys(tb testing.TB) control.Options {
	tb.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		tb.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		tb.Fatal(err)
	}
	write(tb, filepath.Join(f.home, "ops.pem"), string(pem.EncodeToMemory(block)))
	write(tb, filepath.Join(f.home, "pub", "ops.pub"), string(ssh.MarshalAuthorizedKey(key)))
	config := spec.DefaultServer()
	config.Encrypt, config.PubKeysPath = true, []string{filepath.Join(f.home, "pub")}
	return control.Options{Encrypt: true, Config: func() *spec.Server { return config }}
}

func newSigner(tb testing.TB) ssh.Signer {
	tb.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		tb.Fatal(err)
	}
	return signer
}

// check asks all servers, all of which have to answer.
func (f *fleet) check(tb testing.TB) *os.ProcessState {
	tb.Helper()
	out, stderr, state := f.run(tb)
	if got := answered(out); state.ExitCode() != 0 || !slices.Equal(got, f.names) {
		tb.Fatalf("status %d, %d of %d answered, in order: %v\n%.2000s", state.ExitCode(), len(got), len(f.names), slices.IsSorted(got), stderr)
	}
	return state
}

// run is `kita check on @all`.
func (f *fleet) run(tb testing.TB, more ...string) (out, stderr string, state *os.ProcessState) {
	tb.Helper()
	program, err := kitaProgram()
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(tb.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, append([]string{"check", "on", "@all"}, more...)...)
	cmd.Env = append(os.Environ(), "HOME="+f.home, "XDG_CONFIG_HOME="+f.home)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	var exit *exec.ExitError
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	ended := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { f.memory = max(f.memory, mostResident(cmd.Process.Pid, ended)) })
	err = cmd.Wait()
	close(ended)
	watching.Wait()
	if err != nil && !errors.As(err, &exit) {
		tb.Fatal(err)
	}
	return o.String(), e.String(), cmd.ProcessState
}

// mostResident is the high-water mark of a process in KiB, as it was at most two
// milliseconds before its end. wait4(2) does not tell it: there the mark begins
// with that of the process which called exec, and this one is large.
func mostResident(pid int, ended <-chan struct{}) int64 {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	var most int64
	for {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if _, after, found := strings.Cut(string(text), "VmHWM:"); found {
			var now int64
			if _, err := fmt.Sscan(after, &now); err == nil {
				most = max(most, now)
			}
		}
		select {
		case <-tick.C:
		case <-ended:
			return most
		}
	}
}

// answered are the hosts whose child is shown, in the order of the output.
func answered(out string) []string {
	var names []string
	for line := range strings.Lines(out) {
		if name, rest, ok := strings.Cut(line, ": "); ok && strings.HasPrefix(rest, "web ") {
			names = append(names, name)
		}
	}
	return names
}

// inUse is the memory of this process that is in use.
func inUse() uint64 {
	var m goruntime.MemStats
	goruntime.GC()
	goruntime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

func write(tb testing.TB, file, content string) {
	tb.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(content), 0o600)); err != nil {
		tb.Fatal(err)
	}
}
