package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"kita/runtime/cgroup"
	"kita/spec"
)

// idler is a program that waits for a signal and costs next to nothing to
// execute, so that a benchmark measures the launch: an ELF file for amd64 of one
// segment, whose code calls pause(2) for ever.
var idler = []byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x02\x00\x3e\x00\x01\x00\x00\x00\x78\x00\x40\x00\x00\x00\x00\x00" +
	"\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x00\x00\x00\x00\x40\x00\x38\x00\x01\x00\x00\x00\x00\x00\x00\x00" +
	"\x01\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x00\x00\x40\x00\x00\x00\x00\x00\x00\x00\x40\x00\x00\x00\x00\x00" +
	"\x81\x00\x00\x00\x00\x00\x00\x00\x81\x00\x00\x00\x00\x00\x00\x00" +
	"\x00\x10\x00\x00\x00\x00\x00\x00" +
	"\xb8\x22\x00\x00\x00\x0f\x05\xeb\xf7") // mov $34,%eax; syscall; jmp

func idlerPath(b testing.TB) string {
	if goruntime.GOARCH != "amd64" {
		b.Skip("the idle program is for amd64")
	}
	path := filepath.Join(b.TempDir(), "idler")
	if err := os.WriteFile(path, idler, 0o700); err != nil {
		b.Fatal(err)
	}
	return path
}

// fleet is many idle children of one host.
type fleet struct {
	b    testing.TB
	host *Host
	dir  string
	path string
	// exits counts what the host tells of ends, started what was started.
	exits, started atomic.Int64
	output         bool
	options        Options
}

func (f *fleet) Exited(string, uint64, spec.Exit, bool) { f.exits.Add(1) }
func (f *fleet) Emptied(string, uint64)                 {}
func (f *fleet) Strayed(string, uint64, []int, bool)    {}
func (f *fleet) Wrote(string, spec.LastLines)           {}
func (f *fleet) OutputFault(string, uint64, []string)   {}

// newFleet makes a host with all that a server has; cgroups and output say what
// its children have.
func newFleet(b testing.TB, cgroups, output bool) *fleet {
	f := &fleet{b: b, dir: b.TempDir(), path: idlerPath(b), output: output}
	o := Options{ID: benchID(), RunDir: f.dir, StateDir: f.dir, Keeper: os.Getppid()}
	if cgroups {
		o.Cgroups = cgroup.Open(cgroup.Options{ID: o.ID})
		b.Cleanup(o.Cgroups.Close)
		if o.Cgroups.Kind() == cgroup.None {
			b.Skipf("needs cgroups: %v", o.Cgroups)
		}
	}
	f.options = o
	f.host = New(f, o)
	b.Cleanup(f.stop)
	return f
}

func benchID() string { return fmt.Sprintf("be%08x", os.Getpid()) }

func (f *fleet) child(n int64) *spec.Child {
	c := &spec.Child{Name: fmt.Sprintf("c%05d", n), Command: []string{f.path}, Dir: f.dir}
	if f.output {
		out := &spec.Stream{Path: filepath.Join(f.dir, c.Name+".log"), Mode: spec.Append}
		c.Stdout, c.Stderr = out, out
	}
	return c
}

// makeOutputs makes the files of n children, as after their first start: it is the
// file system that a new file costs time.
func (f *fleet) makeOutputs(n int) {
	for i := range int64(n) {
		if out := f.child(i + 1).Stdout; out != nil {
			if err := os.WriteFile(out.Path, nil, 0o600); err != nil {
				f.b.Fatal(err)
			}
		}
	}
}

// start starts the next child.
func (f *fleet) start() spec.Launch {
	l, err := f.host.Start(f.child(f.started.Add(1)), 1)
	if err != nil {
		f.b.Error(err)
	}
	return l
}

// settle waits until the output of all is left alone.
func (f *fleet) settle() {
	if !f.output {
		return
	}
	awaitThat(f.b, "quiet files", func() (string, bool) {
		busy := f.host.outputs.files.Busy()
		return fmt.Sprint(busy), busy == 0
	})
}

// stop ends all of them.
func (f *fleet) stop() {
	for n := range f.started.Load() {
		f.host.Signal(f.child(n+1).Name, 1, spec.Signal(unix.SIGTERM))
	}
	awaitThat(f.b, "the ends", func() (string, bool) {
		n := f.exits.Load()
		return fmt.Sprint(n), n == f.started.Load()
	})
	f.host.Close()
}

// workers is how many goroutines of the reconciler start children.
const workers = 16

// BenchmarkLaunch starts children, as many at once as the reconciler does, beside
// those that it has started before. bare is the floor: a loop of fork and exec.
func BenchmarkLaunch(b *testing.B) {
	b.Run("bare", benchmarkBare)
	for _, how := range []struct {
		name            string
		cgroups, output bool
	}{
		{"plain", false, false},
		{"cgroup", true, false},
		{"cgroup+output", true, true},
	} {
		b.Run(how.name, func(b *testing.B) {
			f := newFleet(b, how.cgroups, how.output)
			f.makeOutputs(b.N)
			b.ReportAllocs()
			b.SetParallelism(max(1, workers/goruntime.GOMAXPROCS(0)))
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					f.start()
				}
			})
			b.StopTimer()
		})
	}
}

func benchmarkBare(b *testing.B) {
	path := idlerPath(b)
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(null)
	fd := uintptr(null)
	var pids []int
	for b.Loop() {
		pid, _, err := syscall.StartProcess(path, []string{path}, &syscall.ProcAttr{
			Env: os.Environ(), Files: []uintptr{fd, fd, fd}, Sys: &syscall.SysProcAttr{Setpgid: true},
		})
		if err != nil {
			b.Fatal(err)
		}
		pids = append(pids, pid)
	}
	for _, pid := range pids {
		unix.Kill(pid, unix.SIGKILL)
	}
	for _, pid := range pids {
		unix.Wait4(pid, nil, 0, nil)
	}
}

// BenchmarkEnd ends all children of a host at once, as `stop all` does, and
// waits until nothing is left of any.
func BenchmarkEnd(b *testing.B) {
	for _, cgroups := range []bool{false, true} {
		b.Run(map[bool]string{false: "plain", true: "cgroup"}[cgroups], func(b *testing.B) {
			f := newFleet(b, cgroups, false)
			for range b.N {
				f.start()
			}
			b.ReportAllocs()
			b.ResetTimer()
			for n := range int64(b.N) {
				f.host.Signal(f.child(n+1).Name, 1, spec.Signal(unix.SIGTERM), spec.Signal(unix.SIGCONT))
			}
			for f.exits.Load() < int64(b.N) {
				goruntime.Gosched()
			}
			b.StopTimer()
		})
	}
}

// BenchmarkAdopt takes the children of a former host over, on all processors, and
// looks for others, as a new server does.
func BenchmarkAdopt(b *testing.B) {
	f := newFleet(b, true, false)
	launches := make([]spec.Launch, b.N)
	for i := range launches {
		launches[i] = f.start()
	}
	f.host.Close()
	b.ReportAllocs()
	b.ResetTimer()
	f.host = New(f, f.options)
	next := atomic.Int64{}
	var adopters sync.WaitGroup
	for range goruntime.GOMAXPROCS(0) {
		adopters.Go(func() {
			for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
				if err := f.host.Adopt(f.child(i+1).Name, launches[i]); err != nil {
					b.Error(err)
				}
			}
		})
	}
	adopters.Wait()
	b.Log("adopted", b.Elapsed())
	if found, err := f.host.Found(); len(found) > 0 || err != nil {
		b.Errorf("found %d others (%v)", len(found), err)
	}
	b.Log("found", b.Elapsed())
	if _, err := f.host.Ended(); err != nil {
		b.Error(err)
	}
	b.Log("ended", b.Elapsed())
	f.host.Tidy()
	b.Log("tidied", b.Elapsed())
	b.StopTimer()
}

// BenchmarkIdle is what a child costs that does nothing: bytes of heap and of
// stacks of its host. Kept are neither the goroutines that started it nor what they
// left to the collector.
func BenchmarkIdle(b *testing.B) {
	for _, how := range []struct {
		name            string
		cgroups, output bool
	}{{"plain", false, false}, {"cgroup", true, false}, {"cgroup+output", true, true}} {
		b.Run(how.name, func(b *testing.B) {
			f := newFleet(b, how.cgroups, how.output)
			f.makeOutputs(b.N)
			before := inUse()
			for range b.N {
				f.start()
			}
			f.settle()
			b.ReportMetric(float64(inUse()-before)/float64(b.N), "B/child")
		})
	}
}

// inUse is how many bytes of heap and stacks are in use.
func inUse() int64 {
	goruntime.GC()
	goruntime.GC()
	var m goruntime.MemStats
	goruntime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

func TestIdleChildrenAreSmall(t *testing.T) {
	for _, tt := range []struct {
		name   string
		output bool
		most   int64 // bytes a child, with those of its file in this test
	}{{"without output", false, 1300}, {"with output", true, 4500}} {
		t.Run(tt.name, func(t *testing.T) { idleChildrenAreSmall(t, tt.output, tt.most) })
	}
}

func idleChildrenAreSmall(t *testing.T, output bool, most int64) {
	const children = 300
	f := newFleet(t, true, output)
	f.makeOutputs(children)
	before, goroutines := inUse(), goruntime.NumGoroutine()
	for range children {
		f.start()
	}
	f.settle()
	if each := (inUse() - before) / children; each > most {
		t.Errorf("an idle child costs %d bytes, at most %d are meant", each, most)
	}
	if grown := goruntime.NumGoroutine() - goroutines; grown > 10 {
		t.Errorf("%d idle children have %d goroutines", children, grown)
	}
}
