//go:build linux

// Command bareloop is the floor of what a supervisor may take: it spawns, reaps
// and respawns processes, and does nothing else. It starts a program with its
// arguments, each process in a group of its own with /dev/null for its streams,
// and obeys lines on its standard input, answering each with "ok":
//
//	start N   spawns N processes, one after the other; any that ends is spawned again
//	stop      sends each group TERM and reaps all of them
//
// At the end of its input it kills what is left.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bareloop:", err)
		os.Exit(1)
	}
}

func run(argv []string) error {
	if len(argv) == 0 {
		return errors.New("no program is given")
	}
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	fd := null.Fd()
	l := &loop{argv: argv, pids: map[int]bool{}, attr: syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{fd, fd, fd},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	}}
	defer l.stop(syscall.SIGKILL)
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		word, rest, _ := strings.Cut(commands.Text(), " ")
		switch word {
		case "start":
			n, err := strconv.Atoi(rest)
			if err != nil {
				return err
			}
			if err := l.start(n); err != nil {
				return err
			}
		case "stop":
			l.stop(syscall.SIGTERM)
		default:
			return fmt.Errorf("%q is no command", word)
		}
		fmt.Println("ok")
	}
	return commands.Err()
}

type loop struct {
	argv []string
	attr syscall.ProcAttr
	// reaped is closed when the reaper has seen the last process end.
	reaped chan struct{}

	mu       sync.Mutex // guards what follows
	stopping bool
	pids     map[int]bool
}

// start spawns n processes and has them reaped.
func (l *loop) start(n int) error {
	l.stopping = false
	for range n {
		if err := l.spawn(); err != nil {
			return err
		}
	}
	l.reaped = make(chan struct{})
	go l.reap()
	return nil
}

// spawn starts one process. The caller is the only one who touches pids, or
// holds mu.
func (l *loop) spawn() error {
	pid, _, err := syscall.StartProcess(l.argv[0], l.argv, &l.attr)
	if err != nil {
		return fmt.Errorf("start %s: %w", l.argv[0], err)
	}
	l.pids[pid] = true
	return nil
}

// reap waits for processes and spawns each again, until there is none.
func (l *loop) reap() {
	defer close(l.reaped)
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return
		}
		l.mu.Lock()
		delete(l.pids, pid)
		if !l.stopping {
			if err := l.spawn(); err != nil {
				fmt.Fprintln(os.Stderr, "bareloop:", err)
			}
		}
		l.mu.Unlock()
	}
}

// stop ends every process and returns when all are reaped.
func (l *loop) stop(with syscall.Signal) {
	if l.reaped == nil {
		return
	}
	l.mu.Lock()
	l.stopping = true
	for pid := range l.pids {
		_ = syscall.Kill(-pid, with)
	}
	l.mu.Unlock()
	<-l.reaped
	l.reaped = nil
}
