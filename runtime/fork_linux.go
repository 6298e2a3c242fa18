package runtime

import (
	"errors"
	"fmt"
	"os"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What fork and exec cost grows with the descriptors of the process: the kernel
// copies the table, and closes all of the copy but three. With a pidfd for each
// of 10,000 children that is eight times the price of the fork itself. So forks
// are done by threads with a table of their own, in which there is next to
// nothing.

const (
	// Forkers is how many threads a Host has from the beginning to fork in, and
	// MostForkers bounds them. Each mostly waits, for the program to be executed or for a
	// lock of the kernel's control groups: two of them leave two processors idle
	// for a third of the time. Meanwhile it keeps its share of GOMAXPROCS from
	// everybody else.
	Forkers     = 6
	MostForkers = 16
	// forkerPatience is how long a launch waits for one of them before there is
	// another: all may be held up by a file system that does not answer.
	forkerPatience = 20 * time.Millisecond
)

// forkers start programs in threads of their own. The zero value does it in the
// caller's.
type forkers struct {
	// keep are descriptors that the threads keep, and with them each process until
	// it has been executed.
	keep []int
	// jobs is nil where no thread can have a table of its own.
	jobs    chan *forkJob
	running sync.WaitGroup
	ending  sync.Once

	mu sync.Mutex
	// number, guarded by mu, is how many there are.
	number int
}

// forkJob is one call of syscall.StartProcess, with descriptors of the process.
type forkJob struct {
	path string
	argv []string
	attr *syscall.ProcAttr
	pid  int
	err  error
	done chan struct{}
}

var forkJobs = sync.Pool{New: func() any { return &forkJob{done: make(chan struct{}, 1)} }}

// begin makes the first threads. The error says why there are none; the forkers
// work all the same.
func (f *forkers) begin() error {
	// Go's poller has to be there before a table is copied. This makes it.
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	r.Close()
	w.Close()
	jobs := make(chan *forkJob)
	for range Forkers {
		if err := f.add(jobs); err != nil {
			close(jobs)
			f.running.Wait()
			return fmt.Errorf("threads for forks: %w", err)
		}
	}
	f.jobs = jobs
	return nil
}

// add makes another thread that takes jobs.
func (f *forkers) add(jobs <-chan *forkJob) error {
	ready := make(chan error)
	f.running.Go(func() { f.serve(jobs, ready) })
	err := <-ready
	if err == nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.number++
	}
	return err
}

// serve does jobs in a thread of its own, which ends with the goroutine, and its
// table with it. It tells ready once whether it can.
func (f *forkers) serve(jobs <-chan *forkJob, ready chan<- error) {
	goruntime.LockOSThread()
	if unix.Gettid() == os.Getpid() {
		// The kernel takes the table of the first thread for that of the process.
		// While this goroutine keeps it, another is on another thread.
		chosen, done := make(chan error), make(chan struct{})
		go func() {
			defer close(done)
			f.serve(jobs, chosen)
		}()
		err := <-chosen
		goruntime.UnlockOSThread()
		ready <- err
		<-done
		return
	}
	self, err := ownTable(f.keep)
	ready <- err
	if err != nil {
		return
	}
	for j := range jobs {
		j.run(self)
	}
}

// close ends the threads. No start is under way or comes.
func (f *forkers) close() {
	f.ending.Do(func() {
		if f.jobs != nil {
			close(f.jobs)
		}
		f.running.Wait()
	})
}

// start is syscall.StartProcess.
func (f *forkers) start(path string, argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	if f.jobs == nil {
		pid, _, err = syscall.StartProcess(path, argv, attr)
		return pid, err
	}
	j := forkJobs.Get().(*forkJob)
	j.path, j.argv, j.attr = path, argv, attr
	f.give(j)
	<-j.done
	pid, err = j.pid, j.err
	*j = forkJob{done: j.done}
	forkJobs.Put(j)
	return pid, err
}

// give hands a job to a thread that is free.
func (f *forkers) give(j *forkJob) {
	select {
	case f.jobs <- j:
		return
	default:
	}
	timer := time.NewTimer(forkerPatience)
	defer timer.Stop()
	for {
		select {
		case f.jobs <- j:
			return
		case <-timer.C:
			f.grow()
		}
	}
}

// grow adds a thread, unless there are enough. Where none can be had, those that
// there are have to do.
func (f *forkers) grow() {
	f.mu.Lock()
	enough := f.number >= MostForkers
	f.mu.Unlock()
	if !enough {
		_ = f.add(f.jobs)
	}
}

// run does the job in a thread whose own table has self, a pidfd of the process.
func (j *forkJob) run(self int) {
	defer func() { j.done <- struct{}{} }()
	taken := make([]int, 0, 8)
	defer func() {
		for _, fd := range taken {
			unix.Close(fd)
		}
	}()
	take := func(fd uintptr) uintptr {
		// What nobody replaces is in both tables.
		if fd <= 2 || j.err != nil {
			return fd
		}
		mine, err := unix.PidfdGetfd(self, int(fd), 0)
		if err != nil {
			j.err = os.NewSyscallError("pidfd_getfd", err)
			return fd
		}
		taken = append(taken, mine)
		return uintptr(mine)
	}
	attr, sys := *j.attr, *j.attr.Sys
	attr.Sys = &sys
	attr.Files = make([]uintptr, len(j.attr.Files))
	for i, fd := range j.attr.Files {
		attr.Files[i] = take(fd)
	}
	if sys.UseCgroupFD {
		sys.CgroupFD = int(take(uintptr(sys.CgroupFD)))
	}
	if j.err == nil {
		j.pid, _, j.err = syscall.StartProcess(j.path, j.argv, &attr)
	}
}

// ownTable gives this thread a descriptor table of its own, for good, and empties
// it but for 0 to 2, those to keep and what the Go runtime polls and is woken by, which it may
// use on any thread. It returns a pidfd of the process, by which descriptors of
// the other table can be had.
func ownTable(keep []int) (self int, err error) {
	if err := unix.Unshare(unix.CLONE_FILES); err != nil {
		return -1, os.NewSyscallError("unshare", err)
	}
	fds, err := descriptorsOfThread()
	if err != nil {
		return -1, err
	}
	for _, fd := range fds {
		if fd > 2 && !isOfGo(fd) && !slices.Contains(keep, fd) {
			unix.Close(fd)
		}
	}
	if self, err = unix.PidfdOpen(os.Getpid(), 0); err != nil {
		return -1, os.NewSyscallError("pidfd_open", err)
	}
	// Of the other table, where 2 is always open: Go sees to that.
	fd, err := unix.PidfdGetfd(self, 2, 0)
	if err != nil {
		return -1, os.NewSyscallError("pidfd_getfd", err)
	}
	return self, unix.Close(fd)
}

// isOfGo tells whether a descriptor can be that of Go's poller, or the one that
// wakes it (netpoll_epoll.go of the runtime).
func isOfGo(fd int) bool {
	var name [64]byte
	n, err := unix.Readlink(threadFDs+"/"+strconv.Itoa(fd), name[:])
	kind := string(name[:max(n, 0)])
	return err != nil || kind == "anon_inode:[eventpoll]" || kind == "anon_inode:[eventfd]"
}

// threadFDs are the descriptors of the calling thread.
const threadFDs = "/proc/thread-self/fd"

// descriptorsOfThread lists them. It does not use package os, which would have
// the directory polled.
func descriptorsOfThread() ([]int, error) {
	dir, err := unix.Open(threadFDs, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: threadFDs, Err: err}
	}
	defer unix.Close(dir)
	var fds []int
	buf := make([]byte, 8192)
	for {
		n, err := unix.ReadDirent(dir, buf)
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: threadFDs, Err: err}
		}
		if n == 0 {
			return fds, nil
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			fd, err := strconv.Atoi(name)
			if err != nil {
				return nil, errors.New(threadFDs + " holds " + strings.ToValidUTF8(name, "?"))
			}
			if fd != dir {
				fds = append(fds, fd)
			}
		}
	}
}
