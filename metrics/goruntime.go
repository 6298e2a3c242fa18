package metrics

import (
	"runtime"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"time"
)

// goFamilies are those of the Go runtime, named and explained as the Prometheus
// client library for Go does.
func goFamilies() []*family {
	families := []*family{
		{"go_gc_duration_seconds", summary, "A summary of the wall-time pause (stop-the-world) duration in garbage collection cycles.", writePauses},
		{"go_info", gauge, "Information about the Go environment.", func(p *page, _ *reading) { p.value(1, label("version", runtime.Version())) }},
		plain("go_goroutines", gauge, "Number of goroutines that currently exist.", func() float64 { return float64(runtime.NumGoroutine()) }),
		plain("go_threads", gauge, "Number of OS threads created.", func() float64 {
			n, _ := runtime.ThreadCreateProfile(nil)
			return float64(n)
		}),
		plain("go_sched_gomaxprocs_threads", gauge, "The current runtime.GOMAXPROCS setting, or the number of operating system threads that can execute user-level Go code simultaneously.",
			func() float64 { return float64(runtime.GOMAXPROCS(0)) }),
		plain("go_gc_gogc_percent", gauge, "Heap size target percentage configured by the user, otherwise 100. -1 where only the memory limit has garbage collected.", collectorPercent),
		plain("go_gc_gomemlimit_bytes", gauge, "Go runtime memory limit configured by the user, otherwise math.MaxInt64.",
			func() float64 { return float64(debug.SetMemoryLimit(-1)) }),
	}
	for _, m := range memoryFamilies {
		families = append(families, &family{"go_memstats_" + m.name, m.kind, m.help, func(p *page, s *reading) { p.value(m.value(s.memory())) }})
	}
	return families
}

// collectorPercent is -1 for off, where the client library shows 2^64.
func collectorPercent() float64 {
	sample := []runtimemetrics.Sample{{Name: "/gc/gogc:percent"}}
	runtimemetrics.Read(sample)
	return float64(int64(sample[0].Value.Uint64()))
}

// plain is a family of one series.
func plain(name string, kind kind, help string, value func() float64) *family {
	return &family{name, kind, help, func(p *page, _ *reading) { p.value(value()) }}
}

func writePauses(p *page, _ *reading) {
	stats := debug.GCStats{PauseQuantiles: make([]time.Duration, 5)}
	debug.ReadGCStats(&stats)
	for i, pause := range stats.PauseQuantiles {
		p.part("", pause.Seconds(), p.bound("quantile", float64(i)/4))
	}
	p.part("_sum", stats.PauseTotal.Seconds())
	p.count("_count", uint64(stats.NumGC))
}

// memory is read once a scrape.
func (s *reading) memory() *runtime.MemStats {
	if s.mem == nil {
		s.mem = new(runtime.MemStats)
		runtime.ReadMemStats(s.mem)
	}
	return s.mem
}

var memoryFamilies = []struct {
	name  string
	kind  kind
	help  string
	value func(*runtime.MemStats) float64
}{
	{"alloc_bytes", gauge, "Number of bytes allocated in heap and currently in use.", func(m *runtime.MemStats) float64 { return float64(m.Alloc) }},
	{"alloc_bytes_total", counter, "Total number of bytes allocated in heap until now, even if released already.", func(m *runtime.MemStats) float64 { return float64(m.TotalAlloc) }},
	{"buck_hash_sys_bytes", gauge, "Number of bytes used by the profiling bucket hash table.", func(m *runtime.MemStats) float64 { return float64(m.BuckHashSys) }},
	{"frees_total", counter, "Total number of heap objects frees.", func(m *runtime.MemStats) float64 { return float64(m.Frees) }},
	{"gc_sys_bytes", gauge, "Number of bytes used for garbage collection system metadata.", func(m *runtime.MemStats) float64 { return float64(m.GCSys) }},
	{"heap_alloc_bytes", gauge, "Number of heap bytes allocated and currently in use, same as go_memstats_alloc_bytes.", func(m *runtime.MemStats) float64 { return float64(m.HeapAlloc) }},
	{"heap_idle_bytes", gauge, "Number of heap bytes waiting to be used.", func(m *runtime.MemStats) float64 { return float64(m.HeapIdle) }},
	{"heap_inuse_bytes", gauge, "Number of heap bytes that are in use.", func(m *runtime.MemStats) float64 { return float64(m.HeapInuse) }},
	{"heap_objects", gauge, "Number of currently allocated objects.", func(m *runtime.MemStats) float64 { return float64(m.HeapObjects) }},
	{"heap_released_bytes", gauge, "Number of heap bytes released to OS.", func(m *runtime.MemStats) float64 { return float64(m.HeapReleased) }},
	{"heap_sys_bytes", gauge, "Number of heap bytes obtained from system.", func(m *runtime.MemStats) float64 { return float64(m.HeapSys) }},
	{"last_gc_time_seconds", gauge, "Number of seconds since 1970 of last garbage collection.", func(m *runtime.MemStats) float64 { return float64(m.LastGC) / 1e9 }},
	{"mallocs_total", counter, "Total number of heap objects allocated, both live and gc-ed.", func(m *runtime.MemStats) float64 { return float64(m.Mallocs) }},
	{"mcache_inuse_bytes", gauge, "Number of bytes in use by mcache structures.", func(m *runtime.MemStats) float64 { return float64(m.MCacheInuse) }},
	{"mcache_sys_bytes", gauge, "Number of bytes used for mcache structures obtained from system.", func(m *runtime.MemStats) float64 { return float64(m.MCacheSys) }},
	{"mspan_inuse_bytes", gauge, "Number of bytes in use by mspan structures.", func(m *runtime.MemStats) float64 { return float64(m.MSpanInuse) }},
	{"mspan_sys_bytes", gauge, "Number of bytes used for mspan structures obtained from system.", func(m *runtime.MemStats) float64 { return float64(m.MSpanSys) }},
	{"next_gc_bytes", gauge, "Number of heap bytes when next garbage collection will take place.", func(m *runtime.MemStats) float64 { return float64(m.NextGC) }},
	{"other_sys_bytes", gauge, "Number of bytes used for other system allocations.", func(m *runtime.MemStats) float64 { return float64(m.OtherSys) }},
	{"stack_inuse_bytes", gauge, "Number of bytes obtained from system for stack allocator in non-CGO environments.", func(m *runtime.MemStats) float64 { return float64(m.StackInuse) }},
	{"stack_sys_bytes", gauge, "Number of bytes obtained from system for stack allocator.", func(m *runtime.MemStats) float64 { return float64(m.StackSys) }},
	{"sys_bytes", gauge, "Number of bytes obtained from system.", func(m *runtime.MemStats) float64 { return float64(m.Sys) }},
}
