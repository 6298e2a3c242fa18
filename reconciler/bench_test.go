package reconciler

import (
	"context"
	"fmt"
	goruntime "runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// crowd is a server over n children and a runtime that costs nothing, so that
// what is measured is kita's own.
func crowd(b *testing.B, n int) *world {
	b.Helper()
	files := make(map[string]string, n)
	for i := range n {
		files[fmt.Sprintf("c%05d", i)] = "command: ./stamp\nrestart: {policy: always, backoff: {initial: 1ns, max: 1ns}}\n"
	}
	w := newWorld(b, "", files)
	w.mustServe()
	return w
}

// each carries out a command for every child, by as many callers at once.
func (w *world) each(b *testing.B, verb spec.Verb, callers int) {
	b.Helper()
	var names []string
	for _, v := range w.List() {
		names = append(names, v.Name)
	}
	next := make(chan string)
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for name := range next {
				if _, err := w.Do(context.Background(), spec.Command{Verb: verb, Child: name, By: "bench"}); err != nil {
					panic(err)
				}
			}
		})
	}
	for _, name := range names {
		next <- name
	}
	close(next)
	all.Wait()
}

// perChild reports the time and the allocations of one child's share.
func perChild(b *testing.B, children int) func() {
	var before, after goruntime.MemStats
	goruntime.ReadMemStats(&before)
	begin, used := time.Now(), cpu()
	return func() {
		n := float64(b.N * children)
		spent := time.Since(begin)
		goruntime.ReadMemStats(&after)
		b.ReportMetric(float64(spent.Microseconds())/n, "µs/child")
		b.ReportMetric(float64((cpu()-used).Microseconds())/n, "cpu-µs/child")
		b.ReportMetric(float64(after.Mallocs-before.Mallocs)/n, "allocs/child")
		b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/n, "B/child")
	}
}

// cpu is what this process has used of all processors.
func cpu() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkStart is what kita adds to a launch: 1,000 children are restarted
// (trystart) by 1,000 callers at once, with one journal for all.
func BenchmarkStart(b *testing.B) {
	const children = 1000
	w := crowd(b, children)
	w.all(b, spec.VerbStart)
	done := perChild(b, children)
	for b.Loop() {
		w.each(b, spec.VerbTrystart, children)
	}
	done()
}

// BenchmarkTrystart is one command after the other, its fsync included.
func BenchmarkTrystart(b *testing.B) {
	w := crowd(b, 1000)
	w.all(b, spec.VerbStart)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Do(context.Background(), spec.Command{Verb: spec.VerbTrystart, Child: "c00500", By: "bench"}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRespawn is a crash and the start that follows it, beside 10,000 idle
// children.
func BenchmarkRespawn(b *testing.B) {
	w := crowd(b, 10000)
	w.all(b, spec.VerbStart)
	begun := make(chan struct{}, 1)
	w.runtime.begun = func() { begun <- struct{}{} }
	b.ReportAllocs()
	for b.Loop() {
		w.runtime.exit("c00500", 1)
		<-begun
	}
}

// BenchmarkBoot is a cold start in mode full until all have been launched.
func BenchmarkBoot(b *testing.B) {
	const children = 1000
	w := crowd(b, children)
	w.leave()
	done := perChild(b, children)
	for b.Loop() {
		b.StopTimer()
		w.server, w.boot = "mode: full\n", fmt.Sprint("boot", b.N, time.Now())
		w.runtime = newFakeRuntime()
		b.StartTimer()
		w.mustServe()
		b.StopTimer()
		w.leave()
		b.StartTimer()
	}
	done()
}

// BenchmarkRecall is what a new server needs until it knows 10,000 children of
// a former one.
func BenchmarkRecall(b *testing.B) {
	const children = 10000
	w := crowd(b, children)
	w.all(b, spec.VerbStart)
	w.leave()
	done := perChild(b, children)
	for b.Loop() {
		w.mustServe()
		b.StopTimer()
		w.leave()
		b.StartTimer()
	}
	done()
}

// BenchmarkMemory reports what an idle, running child holds in reconciler, store
// and spec.
func BenchmarkMemory(b *testing.B) {
	const children = 10000
	for b.Loop() {
		before := heapInUse()
		w := crowd(b, children)
		w.all(b, spec.VerbStart)
		w.until("all run", func() bool {
			return w.phase(fmt.Sprintf("c%05d", children-1)) == spec.PhaseRunning && w.QueueDepth() == 0
		})
		w.runtime.starts = nil
		b.ReportMetric(float64(heapInUse()-before)/children, "heap-B/child")
		w.leave()
	}
}

func heapInUse() uint64 {
	var m goruntime.MemStats
	goruntime.GC()
	goruntime.GC()
	goruntime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkStartAll is one command that restarts 1,000 children.
func BenchmarkStartAll(b *testing.B) {
	const children = 1000
	w := crowd(b, children)
	w.all(b, spec.VerbStart)
	done := perChild(b, children)
	for b.Loop() {
		w.all(b, spec.VerbTrystart)
	}
	done()
}

// all carries out a command for all children.
func (w *world) all(b *testing.B, verb spec.Verb) {
	b.Helper()
	if _, err := w.Do(context.Background(), spec.Command{Verb: verb, Child: spec.All, By: "bench"}); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkStopStart stops 1,000 children with one command, and starts them with
// another.
func BenchmarkStopStart(b *testing.B) {
	const children = 1000
	w := crowd(b, children)
	w.all(b, spec.VerbStart)
	done := perChild(b, children)
	for b.Loop() {
		w.all(b, spec.VerbStop)
		w.all(b, spec.VerbStart)
	}
	done()
}
