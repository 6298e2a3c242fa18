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
	"time"

	"golang.org/x/crypto/ssh"

	"kita/control"
	"kita/control/controltest"
	"kita/spec"
)

// fleetSize is how many servers are asked with one command.
const fleetSize = 1000

const (
	figureFleet       = "check on all servers"
	figureFleetMemory = "check on all servers, the client's memory at most"
	figureFleetServer = "a server that nobody asks"
)

// fleets measures one command that asks many servers, over plain HTTP and over
// SSH with a key. All servers are in this process.
func (w *world) fleets(ctx context.Context) error {
	for _, way := range []struct {
		name string
		key  bool
	}{{"", false}, {", with a key", true}} {
		names := []string{figureFleet + way.name, figureFleetMemory + way.name, figureFleetServer + way.name}
		if !w.wants(fleetSize, names...) {
			continue
		}
		f, err := w.newFleet(fleetSize, way.key)
		if err != nil {
			return err
		}
		var wall, memory []float64
		// The first time the servers' keys are learned.
		_, err = f.check(ctx)
		for round := 0; err == nil && round < w.rounds; round++ {
			var asked answer
			asked, err = f.check(ctx)
			wall, memory = append(wall, ms(asked.took)), append(memory, float64(asked.memory)*1024/1e6)
		}
		f.end()
		if err != nil {
			return fmt.Errorf("%s: %w", names[0], err)
		}
		w.add(figure{name: names[0], n: fleetSize, unit: "ms", kita: wall})
		w.add(figure{name: names[1], n: fleetSize, unit: "MB", kita: memory})
		w.add(figure{name: names[2], n: fleetSize, unit: "kB", kita: []float64{float64(f.bytes) / fleetSize / 1000}})
	}
	return nil
}

// fleet is many servers in this process, each with an address of its own, and
// what a client needs to ask them all.
type fleet struct {
	program string
	names   []string // as in hosts.yml
	servers []*control.Server
	serving []*sync.WaitGroup
	home    string
	// bytes are what all servers together take while nobody asks.
	bytes uint64
}

// fleetPorts are tried one after the other: somebody may listen on one of them
// on all addresses.
var fleetPorts = []int{spec.DefaultPort, 33890, 33891, 33892}

func (w *world) newFleet(size int, withKey bool) (*fleet, error) {
	w.files++
	f := &fleet{program: w.bin("kita"), home: filepath.Join(w.dir, fmt.Sprintf("fleet%d", w.files))}
	options := control.Options{}
	if err := os.MkdirAll(filepath.Join(f.home, "kita"), 0o700); err != nil {
		return nil, err
	}
	if withKey {
		var err error
		if options, err = f.makeKeys(); err != nil {
			return nil, err
		}
	}
	before := inUse()
	var hosts strings.Builder
	if withKey {
		hosts.WriteString("  h*: {key: ../ops.pem}\n")
	}
	port := 0
	for i := range size {
		options.Service = controltest.New(controltest.Child("web"))
		listener, taken, err := listen(i, port)
		if err == nil && withKey {
			options.HostKey, err = newSigner()
		}
		if err != nil {
			f.end()
			return nil, err
		}
		port = taken
		f.serve(options, listener)
		f.names = append(f.names, fmt.Sprintf("h%04d", i))
		fmt.Fprintf(&hosts, "  %s: %s\n", f.names[i], listener.Addr())
	}
	f.bytes = inUse() - before
	file := filepath.Join(f.home, "kita", "hosts.yml")
	return f, os.WriteFile(file, []byte("hosts:\n"+hosts.String()+"groups:\n  all: [h*]\n"), 0o600)
}

// listen listens on the address of the server i, and says on which port; port 0
// means one that is to be had.
func listen(i, port int) (net.Listener, int, error) {
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
			return listener, port, nil
		}
		errs = append(errs, err)
	}
	return nil, 0, errors.Join(errs...)
}

func (f *fleet) serve(options control.Options, listener net.Listener) {
	server, serving := control.NewServer(options), new(sync.WaitGroup)
	f.servers, f.serving = append(f.servers, server), append(f.serving, serving)
	serving.Go(func() { _ = server.ServeTCP(context.Background(), listener) })
}

// end ends all servers.
func (f *fleet) end() {
	for i := range f.servers {
		_ = f.endOne(i)
	}
	_ = os.RemoveAll(f.home)
}

// endOne ends the server i; it may have ended already.
func (f *fleet) endOne(i int) error {
	if f.servers[i] == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := f.servers[i].Close(ctx)
	f.serving[i].Wait()
	f.servers[i] = nil
	return err
}

// makeKeys gives the client a key, and the servers its public half.
func (f *fleet) makeKeys() (control.Options, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return control.Options{}, err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return control.Options{}, err
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return control.Options{}, err
	}
	keys := filepath.Join(f.home, "pub")
	config := spec.DefaultServer()
	config.Encrypt, config.PubKeysPath = true, []string{keys}
	return control.Options{Encrypt: true, Config: func() *spec.Server { return config }}, errors.Join(
		os.Mkdir(keys, 0o700),
		os.WriteFile(filepath.Join(f.home, "ops.pem"), pem.EncodeToMemory(block), 0o600),
		os.WriteFile(filepath.Join(keys, "ops.pub"), ssh.MarshalAuthorizedKey(key), 0o600))
}

func newSigner() (ssh.Signer, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return ssh.NewSignerFromKey(private)
}

// answer is what came of asking a fleet.
type answer struct {
	out, stderr string
	state       *os.ProcessState
	took        time.Duration
	// memory is the most that the client had resident, in KiB.
	memory int64
}

// check asks all servers, all of which have to answer.
func (f *fleet) check(ctx context.Context) (answer, error) {
	a, err := f.run(ctx)
	if err != nil {
		return a, err
	}
	if got := answered(a.out); a.state.ExitCode() != 0 || !slices.Equal(got, f.names) {
		return a, fmt.Errorf("status %d, %d of %d answered, in order: %v\n%.2000s",
			a.state.ExitCode(), len(got), len(f.names), slices.IsSorted(got), a.stderr)
	}
	return a, nil
}

// run is `kita check on @all`. That the client fails is no error.
func (f *fleet) run(ctx context.Context, more ...string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, awaitLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, f.program, append([]string{"check", "on", "@all"}, more...)...)
	cmd.Env = append(os.Environ(), "HOME="+f.home, "XDG_CONFIG_HOME="+f.home)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	begin := now()
	if err := cmd.Start(); err != nil {
		return answer{}, err
	}
	var a answer
	ended := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { a.memory = mostResident(cmd.Process.Pid, ended) })
	err := cmd.Wait()
	a.took = now() - begin
	close(ended)
	watching.Wait()
	a.out, a.stderr, a.state = o.String(), e.String(), cmd.ProcessState
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = nil
	}
	return a, err
}

// mostResident is the high-water mark of a process in KiB, as it was at most two
// milliseconds before its end. wait4(2) does not tell it: there the mark begins
// with that of the process which called exec, and this one is large.
func mostResident(pid int, ended <-chan struct{}) int64 {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	var most int64
	for {
		if kb, err := keyed(fmt.Sprintf("/proc/%d/status", pid), "VmHWM"); err == nil {
			most = max(most, int64(kb))
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
