package metrics

import (
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
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

func (f fakeOutputs) Output(of spec.View) []spec.OutputFile { return f[of.Name] }
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
func example() (*Metrics, *fakeChildren) {
	children := &fakeChildren{}
	web := alive("web", 10)
	web.Stale = true
	children.set(web, alive("just-ended", 11),
		spec.View{Name: "broken", FileError: "broken.yml:1: no command", Status: spec.Status{Phase: spec.PhaseStopped}},
		spec.View{Name: "stuck", Status: spec.Status{Phase: spec.PhaseStopping, Failure: &spec.Failure{Code: spec.NotStopped}, Warnings: []string{"a", "b"}}})
	m := New(Options{
		Version: "1.2.3", Revision: "abcdef", GoVersion: "go1.26",
		Children:     children,
		Outputs:      outputsOfExample(),
		Processes:    &fakeProcesses{usage: map[int]spec.Usage{10: {CPUSeconds: 1.5, ResidentBytes: 4096, OpenFiles: 7}}},
		QueueDepth:   func() int { return 3 },
		ConfigErrors: func() int { return 1 },
		StoreErr:     func() error { return errors.New("no space left on device") },
		EventsLost:   func() uint64 { return 5 },
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
	return m, children
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
	m, _ := example()
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

// gather parses what m says, which is to be what Prometheus takes, with each
// series once.
func gather(t *testing.T, m *Metrics) map[string]*dto.MetricFamily {
	t.Helper()
	var text bytes.Buffer
	if err := m.writeTo(&text, false); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(text.String()) {
		series := line[:strings.LastIndexByte(line, ' ')]
		if seen[series] && !strings.HasPrefix(line, "#") {
			t.Errorf("twice: %s", line)
		}
		seen[series] = true
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(&text)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

func TestNamesFollowThePrometheusGuidelines(t *testing.T) {
	m, _ := example()
	var text bytes.Buffer
	if err := m.writeTo(&text, false); err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.New(&text).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		// Names that the Go client library has as well.
		if !slices.Contains([]string{"go_memstats_alloc_bytes_total", "go_gc_gogc_percent", "go_gc_gomemlimit_bytes"}, p.Metric) {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func TestGoAndProcessMetricsAreThere(t *testing.T) {
	m, _ := example()
	families := gather(t, m)
	for _, name := range []string{
		"go_goroutines", "go_threads", "go_info", "go_memstats_heap_inuse_bytes", "go_gc_duration_seconds",
		"process_open_fds", "process_max_fds", "process_cpu_seconds_total", "process_resident_memory_bytes",
		"process_virtual_memory_bytes", "process_network_receive_bytes_total",
	} {
		if f := families[name]; f == nil || len(f.Metric) != 1 {
			t.Errorf("%s: %v", name, f)
		}
	}
	started := time.Unix(int64(families["process_start_time_seconds"].Metric[0].Gauge.GetValue()), 0)
	if age := time.Since(started); age < -time.Minute || age > time.Hour {
		t.Errorf("the process began %v ago", age)
	}
}

func TestACollectorThatIsOffHasANegativePercent(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	if got := gather(t, New(Options{}))["go_gc_gogc_percent"].Metric[0].Gauge.GetValue(); got != -1 {
		t.Errorf("it is %v", got)
	}
}

// TestMetricsAreThoseOfTheClientLibrary compares what is said of this process with
// what the Go client library of Prometheus says.
func TestMetricsAreThoseOfTheClientLibrary(t *testing.T) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	theirs, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	ours := gather(t, New(Options{}))
	for _, f := range theirs {
		name := f.GetName()
		mine := ours[name]
		if mine == nil {
			t.Errorf("there is no %s", name)
			continue
		}
		if mine.GetType() != f.GetType() || len(mine.Metric) != len(f.Metric) {
			t.Errorf("%s: %v, theirs is %v", name, mine, f)
		}
		if name == "process_start_time_seconds" || name == "process_max_fds" || name == "process_virtual_memory_max_bytes" {
			if got, want := mine.Metric[0].Gauge.GetValue(), f.Metric[0].Gauge.GetValue(); math.Abs(got-want) > 1 {
				t.Errorf("%s: %v, theirs is %v", name, got, want)
			}
		}
	}
}

func TestOpenMetricsAndGzipAreOffered(t *testing.T) {
	m, _ := example()
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

func TestFormatIsNegotiated(t *testing.T) {
	m, _ := example()
	for _, tt := range []struct{ name, accept, encoding, contentType, contentEncoding string }{
		{name: "nothing is asked for", contentType: textType},
		{name: "anything", accept: "*/*", encoding: "deflate", contentType: textType},
		{name: "no gzip", accept: "text/plain", encoding: "gzip;q=0, identity", contentType: textType},
		{name: "OpenMetrics is liked less", accept: "text/plain;q=0.9,application/openmetrics-text;q=0.5", contentType: textType},
		{name: "another OpenMetrics", accept: "application/openmetrics-text;version=2.0.0", contentType: textType},
		{
			name:        "Prometheus",
			accept:      "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
			encoding:    "gzip",
			contentType: openType, contentEncoding: "gzip",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			request := httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil)
			request.Header.Set("Accept", tt.accept)
			request.Header.Set("Accept-Encoding", tt.encoding)
			response := httptest.NewRecorder()
			m.Handler().ServeHTTP(response, request)
			if got := response.Header().Get("Content-Type"); got != tt.contentType {
				t.Errorf("content type %q, want %q", got, tt.contentType)
			}
			if got := response.Header().Get("Content-Encoding"); got != tt.contentEncoding {
				t.Errorf("content encoding %q, want %q", got, tt.contentEncoding)
			}
		})
	}
}

func TestOpenMetricsSaysCountersAndNumbersItsWay(t *testing.T) {
	m, _ := example()
	var text bytes.Buffer
	if err := m.writeTo(&text, true); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# TYPE kita_child_starts counter\nkita_child_starts_total{child=\"broken\"} 0.0\n",
		"kita_child_cpu_seconds_total{child=\"web\"} 1.5\n",
		"kita_reconcile_duration_seconds_bucket{le=\"1.0\"} 1\n",
		"kita_reconcile_duration_seconds_bucket{le=\"+Inf\"} 2\n",
		"kita_output_disk_budget_bytes 1.073741824e+09\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("missing: %s", want)
		}
	}
}

func TestForgottenChildLeavesNoSeries(t *testing.T) {
	m, children := example()
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
	children := &fakeChildren{}
	m := New(Options{Version: "\xff", Children: children})
	names := []string{"a\"b\\c\nd", "\xff", `\xff`, "\xffü\xfe", "", "twice", "twice", strings.Repeat("x", 200)}
	var views []spec.View
	for _, name := range names {
		views = append(views, spec.View{Name: name})
		m.Exited(name, spec.Exit{Known: true}, true)
		m.Started(name, "policy")
	}
	children.set(views...)
	gather(t, m)
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
	for _, family := range []string{"kita_child_exits_total", "kita_child_restarts_total", "kita_child_oom_kills_total", "kita_child_failures_total"} {
		if left := gather(t, m)[family]; left != nil {
			t.Errorf("left: %v", left)
		}
	}
	if len(m.counts.of) != 0 {
		t.Errorf("%d children left", len(m.counts.of))
	}
}

func TestNilOptionsLeaveTheirMetricsOut(t *testing.T) {
	got := scrape(t, New(Options{}))
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
	m := New(Options{Children: children, Processes: processes})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if n := len(gather(t, m)["kita_child_up"].GetMetric()); n != 10_000 {
				t.Errorf("%d children", n)
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
	m, children := example()
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

func (f openFile) Output(spec.View) []spec.OutputFile {
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
			m := New(Options{Children: children, Processes: &fakeProcesses{usage: usage}, Outputs: outputs})
			request := httptest.NewRequestWithContext(b.Context(), "GET", "/metrics", nil)
			b.ReportAllocs()
			for b.Loop() {
				m.Handler().ServeHTTP(httptest.NewRecorder(), request)
			}
		})
	}
}
