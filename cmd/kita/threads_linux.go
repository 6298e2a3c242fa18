package main

import (
	"os"
	goruntime "runtime"
	"sync"

	"kita/runtime"
)

// The Go runtime ends the program when it needs another thread and the machine,
// or the cgroup, has none left to give. It keeps those that it has had, so enough
// are made while there are some.
const (
	// serverThreads are those of the reconciler's workers, each of which may
	// wait for a disk, those that fork, and what else goes on beside them.
	serverThreads = 28 + runtime.MostForkers - runtime.Forkers
	keeperThreads = 6
)

// reserveThreads sees to it that the program has n threads.
func reserveThreads(n int) {
	var begun, done sync.WaitGroup
	release := make(chan struct{})
	begun.Add(n)
	for range n {
		done.Go(func() {
			// One that is locked to its goroutine serves no other.
			goruntime.LockOSThread()
			defer goruntime.UnlockOSThread()
			begun.Done()
			<-release
		})
	}
	begun.Wait()
	close(release)
	done.Wait()
}

// widen lets as many goroutines run at once as there are processors, besides the
// threads that fork: one that waits until a program has been executed counts as
// running, and two of them would stop everything else on a machine with two
// processors. Starting a thousand children takes a fifth longer without it. What
// GOMAXPROCS says in the environment stays.
func widen() {
	if os.Getenv("GOMAXPROCS") == "" {
		goruntime.GOMAXPROCS(goruntime.GOMAXPROCS(0) + runtime.Forkers)
	}
}
