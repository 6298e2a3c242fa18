package main

import (
	goruntime "runtime"
	"sync"
)

// The Go runtime ends the program when it needs another thread and the machine,
// or the cgroup, has none left to give. It keeps those that it has had, so enough
// are made while there are some.
const (
	// serverThreads are those of the reconciler's workers, each of which may
	// wait for a fork or a disk, and of what else goes on beside them.
	serverThreads = 28
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
