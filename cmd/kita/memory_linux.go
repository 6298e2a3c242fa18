package main

import (
	"math"
	"os"
	goruntime "runtime"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"sync"
	"time"
)

const (
	// quietAfter is how long no garbage has had to be collected when a burst is
	// over: then all that it left is given back.
	quietAfter = 5 * time.Second
	// quietRoom is how many bytes a quiet server takes until garbage is collected
	// again. It is as much as the least heap of a Go program.
	quietRoom = 4 << 20
	// smallHeap is how many bytes of a heap in which no garbage was collected yet
	// are left as they are: the collector would take half as much for itself.
	smallHeap = 2 << 20
	// busyPercent is how much the heap grows between two collections while there
	// is much to do, in percent.
	busyPercent = 100
	// sampling is how many bytes are allocated between two samples of a memory
	// profile: the default of runtime.MemProfileRate.
	sampling = 512 << 10
)

// forgoProfile has no memory profile kept: its samples take up to 0.4 MB in each
// process, and there is nobody to show them to. What GODEBUG says goes first.
func forgoProfile() {
	if goruntime.MemProfileRate == sampling {
		goruntime.MemProfileRate = 0
	}
}

// keepProfile has one kept from here on.
func keepProfile() {
	if goruntime.MemProfileRate == 0 {
		goruntime.MemProfileRate = sampling
	}
}

// memory gives back what the program needs no more once it is quiet, and keeps the
// Go runtime from collecting garbage every two minutes where there is none. It
// has no clock of its own: the collector says that there is something to do.
//
//	busy:  the collector works as in any Go program
//	quiet: it works when quietRoom is used up, and that is the end of the quiet
type memory struct {
	after time.Duration

	mu sync.Mutex
	// All below is guarded by mu.
	timer *time.Timer
	quiet bool
	// collections are those that the collector has begun by itself.
	collections uint64
	ended       bool
}

// manageMemory begins, unless somebody has set GOGC or GOMEMLIMIT. end undoes it.
func manageMemory(after time.Duration) (end func()) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	m := &memory{after: after, collections: readMetric("/gc/cycles/automatic:gc-cycles")}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.timer = time.AfterFunc(after, m.giveBack)
	m.rest()
	m.await()
	return m.end
}

// await has collected called after the next collection.
func (m *memory) await() {
	garbage := &struct{ _ *byte }{}
	goruntime.AddCleanup(garbage, (*memory).collected, m)
}

// collected is called after each collection.
func (m *memory) collected() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return
	}
	m.await()
	before := m.collections
	if m.collections = readMetric("/gc/cycles/automatic:gc-cycles"); m.collections == before {
		// It was asked for, by giveBack.
		return
	}
	m.wake()
	m.timer.Reset(m.after)
}

// wake ends the quiet. mu is held.
func (m *memory) wake() {
	if m.quiet {
		m.quiet = false
		debug.SetGCPercent(busyPercent)
		debug.SetMemoryLimit(math.MaxInt64)
	}
}

// giveBack gives everything back that is not in use.
func (m *memory) giveBack() {
	if readMetric("/gc/cycles/total:gc-cycles") > 0 || readMetric("/memory/classes/heap/objects:bytes") > smallHeap {
		debug.FreeOSMemory()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.ended {
		m.rest()
	}
}

// rest begins the quiet. mu is held.
func (m *memory) rest() {
	m.quiet = true
	used := readMetric("/memory/classes/total:bytes") - readMetric("/memory/classes/heap/released:bytes")
	debug.SetMemoryLimit(int64(used + quietRoom))
	debug.SetGCPercent(-1)
}

func (m *memory) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
	m.timer.Stop()
	m.wake()
}

// readMetric reads a number of the Go runtime, without stopping the program.
func readMetric(name string) uint64 {
	sample := []runtimemetrics.Sample{{Name: name}}
	runtimemetrics.Read(sample)
	return sample[0].Value.Uint64()
}
