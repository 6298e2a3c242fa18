package runtime

import (
	"encoding/json"
	"fmt"
	"os"
	goruntime "runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// The part that ends the first thread has to be on it.
func init() {
	if os.Getenv(envHelper) == partEndFirst {
		goruntime.LockOSThread()
	}
}

const partEndFirst = "end the first thread"

// helper plays a part in a process of its own; it returns the exit code.
func helper(part string, args []string) int {
	var err error
	switch part {
	case "start":
		err = helpStart(args)
	case "start and reap":
		err = helpReap(args)
	case "start and reap when told":
		err = helpReapWhenTold(args)
	case "start with few descriptors":
		err = helpFewDescriptors(args)
	case "run":
		err = helpRun(args, nil)
	case "run nicely":
		err = helpRun(args, new(0))
	case partEndFirst:
		err = helpEndFirstThread()
	default:
		err = fmt.Errorf("no part is called %q", part)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 99
	}
	return 0
}

// helpStart starts a child, as a former server, prints its identity and goes.
func helpStart(command []string) error {
	h := New(make(facts, 10), Options{})
	defer h.Close()
	l, err := h.Start(&spec.Child{Name: "web", Command: command}, 7)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(l.Identity)
}

// helpReap starts a child as helpStart does, and stays to reap it.
func helpReap(command []string) error {
	if err := helpStart(command); err != nil {
		return err
	}
	_, err := syscall.Wait4(-1, nil, 0, nil)
	return err
}

// helpReapWhenTold leaves the child a zombie until a line comes in.
func helpReapWhenTold(command []string) error {
	if err := helpStart(command); err != nil {
		return err
	}
	var b [1]byte
	if _, err := unix.Read(0, b[:]); err != nil {
		return err
	}
	_, err := syscall.Wait4(-1, nil, 0, nil)
	return err
}

// helpFewDescriptors starts a child under every limit of descriptors up to one
// that suffices, and sees that each failure is told and leaks nothing.
func helpFewDescriptors(args []string) error {
	limits, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	c := &spec.Child{Name: "web", Command: []string{"/bin/true"}}
	if args[1] == "shim" {
		nice := 1
		c.Nice = &nice
	}
	f := make(facts, 10)
	h := New(f, Options{})
	defer h.Close()
	// The poller and what else is made once.
	if _, err := h.Start(c, 1); err != nil {
		return err
	}
	<-f
	count := func() int {
		n := 0
		for fd := range 256 {
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
				n++
			}
		}
		return n
	}
	before := count()
	failures := 0
	for limit := before; limit < before+limits; limit++ {
		if err := syscall.Setrlimit(unix.RLIMIT_NOFILE, &syscall.Rlimit{Cur: uint64(limit), Max: 256}); err != nil {
			return err
		}
		_, err := h.Start(c, uint64(limit))
		if err == nil {
			<-f
		} else {
			failures++
			if errnoOf(err) != unix.EMFILE {
				return fmt.Errorf("with %d descriptors: %w", limit, err)
			}
		}
		if after := count(); after != before {
			return fmt.Errorf("with %d descriptors: %d are open, before it were %d (%v)", limit, after, before, err)
		}
	}
	if failures == 0 || failures == limits {
		return fmt.Errorf("%d of %d starts failed", failures, limits)
	}
	return nil
}

// helpRun starts a child and waits for its end.
func helpRun(command []string, nice *int) error {
	f := make(facts, 10)
	h := New(f, Options{})
	defer h.Close()
	if _, err := h.Start(&spec.Child{Name: "web", Command: command, Nice: nice}, 1); err != nil {
		return err
	}
	<-f
	return nil
}

// helpEndFirstThread ends the thread that main runs on while another goes on
// until its standard input ends: /proc shows a zombie that is alive.
func helpEndFirstThread() error {
	// The ending thread takes what runs goroutines with it: leave another.
	goruntime.GOMAXPROCS(4)
	go func() {
		goruntime.LockOSThread()
		fmt.Println("ready")
		var b [1]byte
		unix.Read(0, b[:])
		os.Exit(3)
	}()
	// An init function has locked main to the first thread.
	syscall.RawSyscall(unix.SYS_EXIT, 0, 0, 0)
	return nil
}
