package metrics

import (
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"kita/spec"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeChildren is a list that a test may exchange while it is scraped.
type fakeChildren struct{ views atomic.Pointer[[]spec.View] }

func (f *fakeChildren) set(views ...spec.View) { f.views.Store(&views) }

func (f *fakeChildren) List() []spec.View { return *f.views.Load() }

// fakeProcesses knows the usage of a few processes and how many reads were
// going on at the most.
type fakeProcesses struct {
	usage map[int]spec.Usage
	read  func() // called in every read when not nil

	mu              sync.Mutex
	calls, at, most int // mu
}

func (f *fakeProcesses) Usage(pid int) (spec.Usage, error) {
	f.mu.Lock()
	f.calls++
	f.at++
	f.most = max(f.most, f.at)
	f.mu.Unlock()
	if f.read != nil {
		f.read()
	}
	f.mu.Lock()
	f.at--
	f.mu.Unlock()
	u, ok := f.usage[pid]
	if !ok {
		return u, errors.New("no such process")
	}
	return u, nil
}

// fakeOutputs has the files of a few children.
type fakeOutputs map[string][]spec.OutputFile

func (f fakeOutputs) Output(child string) []spec.OutputFile { return f[child] }
func (f fakeOutputs) Used() uint64                          { return 3 << 20 }
func (f fakeOutputs) Budget() uint64                        { return 1 << 30 }

func outputsOfExample() fakeOutputs {
	out, err := []spec.StreamName{spec.Out}, []spec.StreamName{spec.Err}
	return fakeOutputs{
		"web": {
			{Streams: out, Written: 1000, Rotations: 2, Dropped: 3},
			{Streams: err, Written: 10},
			// The one of a path that its file does not name any more.
			{Streams: out, Written: 500, Rotations: 1},
		},
		"broken":    {{Streams: []spec.StreamName{spec.Out, spec.Err}, Written: 7, Fault: "its directory is gone"}},
		"forgotten": {{Streams: out}},
	}
}

func alive(name string, pid int) spec.View {
	return spec.View{Name: name, Status: spec.Status{
		Phase: spec.PhaseRunning, Starts: 2,
		Process: &spec.Process{PID: pid, StartedAt: time.UnixMilli(1_700_000_000_250)},
	}}
}

// example is a server with something in every metric.
func example() (*prometheus.Registry, *Metrics, *fakeChildren) {
	children := &fakeChildren{}
	web := alive("web", 10)
	web.Stale = true
	children.set(web, alive("just-ended", 11),
		spec.View{Name: "broken", FileError: "broken.yml:1: no command", Status: spec.Status{Phase: spec.PhaseStopped}},
		spec.View{Name: "stuck", Status: spec.Status{Phase: spec.PhaseStopping, Failure: &spec.Failure{Code: spec.NotStopped}, Warnings: []string{"a", "b"}}})
	reg := prometheus.NewRegistry()
	m := New(reg, Options{
		Version: "1.2.3", Revision: "abcdef", GoVersion: "go1.26",
		Children:     children,
		Outputs:      outputsOfExample(),
		Processes:    &fakeProcesses{usage: map[int]spec.Usage{10: {CPUSeconds: 1.5, ResidentBytes: 4096, OpenFiles: 7}}},
		QueueDepth:   func() int { return 3 },
		ConfigErrors: func() int { return 1 },
		StoreErr:     func() error { return errors.New("no space left on device") },
		Keeper:       func() bool { return true },
		Connections:  func() Connections { return Connections{Open: 3, Full: 1, Displaced: 2, Unadmitted: 4} },
	})
	m.PassDone(200 * time.Microsecond)
	m.PassDone(3 * time.Second)
	m.StaleFact()
	m.Started("web", "mode")
	m.Exited("web", spec.Exit{Known: true, Code: 1}, false)
	m.Started("web", "policy")
	m.Exited("web", spec.Exit{Known: true, Signal: 15}, true)
	m.Exited("adopted", spec.Exit{}, false)
	m.Exited("adopted", spec.Exit{Known: true, Signal: 9, OOMKilled: true}, false)
	m.Started("adopted", "no such cause")
	m.HookDone("prehook", true)
	m.HookDone("posthook", false)
	m.HookDone("sidehook", true)
	m.Command("start", Success)
	m.Command("TryStart", Refused)
	m.Command("logs", Success)
	m.Command("GET /", "teapot")
	return reg, m, children
}

// scrape returns the lines about kita.
func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	response := httptest.NewRecorder()
	m.Handler().ServeHTTP(response, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	if response.Code != 200 {
		t.Fatalf("status %d: %s", response.Code, response.Body)
	}
	var b strings.Builder
	for line := range strings.Lines(response.Body.String()) {
		if strings.Contains(line, "kita_") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestExposition(t *testing.T) {
	_, m, _ := example()
	got := scrape(t, m)
	const golden = "testdata/metrics.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the exposition changed; go test -update, and look at the difference\n%s", got)
	}
}

func TestNamesFollowThePrometheusGuidelines(t *testing.T) {
	reg, _, _ := example()
	problems, err := testutil.GatherAndLint(reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestGoAndProcessCollectorsAreThere(t *testing.T) {
	reg, _, _ := example()
	for _, name := range []string{"go_goroutines", "process_open_fds"} {
		if n, err := testutil.GatherAndCount(reg, name); err != nil || n != 1 {
			t.Errorf("%s: %d series, %v", name, n, err)
		}
	}
}

func TestOpenMetricsAndGzipAreOffered(t *testing.T) {
	_, m, _ := example()
	request := httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil)
	request.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	request.Header.Set("Accept-Encoding", "gzip")
	response := httptest.NewRecorder()
	m.Handler().ServeHTTP(response, request)
	if got := response.Header().Get("Content-Type"); !strings.HasPrefix(got, "application/openmetrics-text") {
		t.Errorf("content type %q", got)
	}
	zip, err := gzip.NewReader(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(zip)
	if err != nil || !strings.HasSuffix(string(body), "# EOF\n") {
		t.Errorf("no whole body: %v", err)
	}
}

func TestForgottenChildLeavesNoSeries(t *testing.T) {
	_, m, children := example()
	if !strings.Contains(scrape(t, m), `child="web"`) {
		t.Fatal("web has no series to begin with")
	}
	children.set(alive("webster", 12))
	m.Forgotten("web")
	got := scrape(t, m)
	if strings.Contains(got, `child="web"`) {
		t.Errorf("left:\n%s", got)
	}
	if !strings.Contains(got, `child="adopted"`) || !strings.Contains(got, `child="webster"`) {
		t.Errorf("series of others are gone:\n%s", got)
	}
	m.Started("web", "policy")
	if !strings.Contains(scrape(t, m), `kita_child_restarts_total{cause="policy",child="web"} 0`) {
		t.Error("the first start of a new child with an old name counts as a restart")
	}
}

func TestOddNamesDoNotBreakTheScrape(t *testing.T) {
	reg := prometheus.NewRegistry()
	children := &fakeChildren{}
	m := New(reg, Options{Version: "\xff", Children: children})
	names := []string{"a\"b\\c\nd", "\xff", `\xff`, "\xffü\xfe", "", "twice", "twice", strings.Repeat("x", 200)}
	var views []spec.View
	for _, name := range names {
		views = append(views, spec.View{Name: name})
		m.Exited(name, spec.Exit{Known: true}, true)
		m.Started(name, "policy")
	}
	children.set(views...)
	if _, err := reg.Gather(); err != nil {
		t.Fatal(err)
	}
	got := scrape(t, m)
	for _, want := range []string{
		`kita_child_up{child="a\"b\\c\nd"} 0`,
		`kita_child_up{child="\\xff"} 0`,
		`kita_child_up{child="\\xffü\\xfe"} 0`,
		`kita_child_up{child="twice"} 0`,
	} {
		if strings.Count(got, want+"\n") != 1 {
			t.Errorf("not once: %s\n%s", want, got)
		}
	}
	for _, name := range names {
		m.Forgotten(name)
	}
	if n := testutil.CollectAndCount(m.exits) + testutil.CollectAndCount(m.restarts) + testutil.CollectAndCount(m.oomKills); n != 0 {
		t.Errorf("%d series left", n)
	}
}

func TestNilOptionsLeaveTheirMetricsOut(t *testing.T) {
	got := scrape(t, New(prometheus.NewRegistry(), Options{}))
	for _, name := range []string{"kita_queue_depth", "kita_config_errors", "kita_state_write_error", "kita_keeper_up", "kita_child_up"} {
		if strings.Contains(got, name) {
			t.Errorf("%s is there", name)
		}
	}
}

func TestUsageIsReadInParallelWithABound(t *testing.T) {
	children := &fakeChildren{}
	var views []spec.View
	for i := range 10_000 {
		if i%2 == 0 {
			views = append(views, alive(fmt.Sprint("c", i), i+1))
		} else {
			views = append(views, spec.View{Name: fmt.Sprint("c", i)})
		}
	}
	children.set(views...)
	// The first reads of two scrapes meet: nobody goes on before as many as
	// may are there.
	var together sync.WaitGroup
	together.Add(usageReaders)
	var first atomic.Int64
	processes := &fakeProcesses{read: func() {
		if first.Add(1) <= usageReaders {
			together.Done()
			together.Wait()
		}
	}}
	reg := prometheus.NewRegistry()
	New(reg, Options{Children: children, Processes: processes})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if n, err := testutil.GatherAndCount(reg, "kita_child_up"); err != nil || n != 10_000 {
				t.Errorf("%d children, %v", n, err)
			}
		})
	}
	wg.Wait()
	if processes.most != usageReaders {
		t.Errorf("%d reads at once, want %d", processes.most, usageReaders)
	}
	if processes.calls != 2*5_000 {
		t.Errorf("%d reads for 5000 live processes and 2 scrapes", processes.calls)
	}
}

func TestScrapeDuringEvents(t *testing.T) {
	_, m, children := example()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				name := fmt.Sprint("c", i, "-", n%50)
				children.set(alive("web", 10), alive(name, n))
				m.Started(name, "policy")
				m.Exited(name, spec.Exit{Known: true, Code: n % 256}, n%2 == 0)
				m.PassDone(time.Millisecond)
				m.StaleFact()
				m.HookDone("prehook", true)
				m.Command("stop", Success)
				if n%10 == 0 {
					m.Forgotten(name)
				}
			}
		})
	}
	for range 30 {
		if got := scrape(t, m); !strings.Contains(got, `kita_child_up{child="web"} 1`) {
			t.Error("web is missing")
		}
	}
	close(stop)
	wg.Wait()
}

// openFile is an Outputs with two files for each child, which are looked at.
type openFile struct{ *os.File }

func (f openFile) Output(string) []spec.OutputFile {
	files := []spec.OutputFile{{Streams: []spec.StreamName{spec.Out}}, {Streams: []spec.StreamName{spec.Err}}}
	for i := range files {
		if info, err := f.Stat(); err == nil {
			files[i].Written = uint64(info.Size())
		}
	}
	return files
}
func (f openFile) Used() uint64   { return 0 }
func (f openFile) Budget() uint64 { return 0 }

// BenchmarkScrape is a scrape of 10,000 live children, /proc left out; also with
// two output files each.
func BenchmarkScrape(b *testing.B) {
	children, usage := &fakeChildren{}, map[int]spec.Usage{}
	var views []spec.View
	for i := range 10_000 {
		views = append(views, alive(fmt.Sprint("c", i), i+1))
		usage[i+1] = spec.Usage{CPUSeconds: 1, ResidentBytes: 1, OpenFiles: 1}
	}
	children.set(views...)
	file, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	for name, outputs := range map[string]Outputs{"children": nil, "outputs": openFile{file}} {
		b.Run(name, func(b *testing.B) {
			m := New(prometheus.NewRegistry(), Options{Children: children, Processes: &fakeProcesses{usage: usage}, Outputs: outputs})
			request := httptest.NewRequestWithContext(b.Context(), "GET", "/metrics", nil)
			for b.Loop() {
				m.Handler().ServeHTTP(httptest.NewRecorder(), request)
			}
		})
	}
}
