package main

import (
	goruntime "runtime"
	"testing"
	"time"
)

// waste makes n bytes of garbage.
func waste(n int) {
	const piece = 64 << 10
	for range n / piece {
		kept = make([]byte, piece)
	}
	kept = nil
}

var kept []byte

// gcPercent is -1 when no garbage is collected.
func gcPercent() int64 { return int64(readMetric("/gc/gogc:percent")) }

func TestMemoryOfABurstIsGivenBack(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	resident := func() uint64 {
		return readMetric("/memory/classes/total:bytes") - readMetric("/memory/classes/heap/released:bytes")
	}
	eventually := func(what string, is func() bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); !is(); goruntime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatalf("not within 30 s: %s", what)
			}
		}
	}
	end := manageMemory(10 * time.Millisecond)
	defer end()
	if gcPercent() >= 0 {
		t.Error("it is not quiet without a burst")
	}
	for range 3 {
		burst := make([][]byte, 64)
		for i := range burst {
			burst[i] = make([]byte, 1<<20)
			clear(burst[i])
		}
		peak := resident()
		goruntime.KeepAlive(burst)
		burst = nil
		waste(2 * quietRoom)
		eventually("it is given back", func() bool { return resident()+32<<20 < peak })
		eventually("it is quiet", func() bool { return gcPercent() < 0 })
	}
	before := resident()
	for range 30 {
		// On a busy machine a loop that does nothing else outruns any collector.
		collected := readMetric("/gc/cycles/automatic:gc-cycles")
		waste(4 * quietRoom)
		eventually("garbage is collected", func() bool { return readMetric("/gc/cycles/automatic:gc-cycles") > collected })
	}
	if after := resident(); after > before+20*quietRoom {
		t.Errorf("garbage of a quiet program takes %d bytes, before it was %d", after, before)
	}
	end()
	if now := gcPercent(); now != busyPercent {
		t.Errorf("it leaves a GC percent of %d", now)
	}
}

func TestMemoryIsLeftToWhoHasAnOpinion(t *testing.T) {
	t.Setenv("GOGC", "50")
	before := gcPercent()
	defer manageMemory(time.Hour)()
	if now := gcPercent(); now != before {
		t.Errorf("the GC percent is %d, it was %d", now, before)
	}
}
