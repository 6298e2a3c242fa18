//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"kita/control"
	"kita/failpoint"
	"kita/spec"
)

// server is a real one, a keeper and a server, with directories of its own.
type server struct {
	client *control.Client
	keeper *exec.Cmd
	stamps *stamps
	names  []string
	dir    string
	socket string
	log    string
	env    []string // nil: that of this process
	// begun is when the process was started.
	begun time.Duration
}

// setup says what a server has.
type setup struct {
	// stampers is how many children there are that stamp; files are further ones,
	// or whatever else lies in the load path, by name.
	stampers int
	files    map[string]string
	mode     string
	// slowSync: each sync of the journal takes slowSyncTime longer.
	slowSync bool
}

// slowSyncTime is what a sync takes on a disk that has to move something, or on
// one at the other end of a network.
const slowSyncTime = 5 * time.Millisecond

// serverNumber makes the addresses of the servers of this process different.
var serverNumber atomic.Int64

// serve starts a server and waits until it answers.
func (w *world) serve(ctx context.Context, has setup) (*server, error) {
	s, err := w.prepare(has)
	if err != nil {
		return nil, err
	}
	program := w.bin("kita")
	if has.slowSync {
		program = w.bin(slowKita)
		s.env = append(os.Environ(), fmt.Sprintf("KITA_FAILPOINT=%s:%v:", failpoint.Journal, slowSyncTime))
	}
	if err := s.launch(ctx, program); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

// prepare writes the files of a server.
func (w *world) prepare(has setup) (*server, error) {
	w.files++
	dir := filepath.Join(w.dir, fmt.Sprintf("server%d", w.files))
	run := filepath.Join(dir, "run")
	if w.runDir != "" {
		run = filepath.Join(w.runDir, filepath.Base(w.dir)+filepath.Base(dir))
	}
	marks, err := newStamps(w.stampPath())
	if err != nil {
		return nil, err
	}
	s := &server{stamps: marks, dir: dir, log: filepath.Join(dir, "log"), socket: filepath.Join(run, "kita.sock")}
	s.client = control.Dial(control.Target{Unix: s.socket})
	children := filepath.Join(dir, "children")
	if err := os.MkdirAll(children, 0o700); err != nil {
		return nil, err
	}
	write := func(name, text string) {
		err = errors.Join(err, os.WriteFile(name, []byte(text), 0o600))
	}
	for i := range has.stampers {
		name := fmt.Sprintf("c%05d", i)
		s.names = append(s.names, name)
		write(filepath.Join(children, name+".yml"), fmt.Sprintf(
			"command: [%s, %s]\nrestart: {policy: always, backoff: {initial: 1ns, max: 1ns}}\n", w.bin("stamp"), marks.path))
	}
	for name, text := range has.files {
		write(filepath.Join(children, name), text)
	}
	if has.mode == "" {
		has.mode = "quiet"
	}
	// Nobody uses the TCP port; an address of its own keeps it from others.
	id := os.Getpid() + int(serverNumber.Add(1))*7
	write(filepath.Join(dir, "server.yml"), fmt.Sprintf(
		"loadpaths: [%s]\nmode: %s\nlistener_addr: 127.%d.%d.2\nstate_dir: %s\nrun_dir: %s\n",
		children, has.mode, 1+id%190, id/190%250, filepath.Join(dir, "state"), run))
	return s, err
}

// launch starts the process and waits until it answers.
func (s *server) launch(ctx context.Context, binary string) error {
	log, err := os.Create(s.log)
	if err != nil {
		return err
	}
	defer log.Close()
	s.keeper = exec.Command(binary, "serve", filepath.Join(s.dir, "server.yml"))
	s.keeper.Stdout, s.keeper.Stderr = log, log
	s.keeper.SysProcAttr, s.keeper.Env = ownGroup(), s.env
	s.begun = now()
	if err := s.keeper.Start(); err != nil {
		return err
	}
	return s.ready(ctx)
}

// ready waits until the server accepts a connection and answers. It looks every
// half millisecond, at a cost of one connect(2).
func (s *server) ready(ctx context.Context) error {
	return s.until(ctx, "the server to answer", 500*time.Microsecond, func() bool {
		conn, err := net.Dial("unix", s.socket)
		if err != nil {
			return false
		}
		_ = conn.Close()
		_, err = s.client.Info(ctx)
		return err == nil
	})
}

// until waits until what is asked for holds.
func (s *server) until(ctx context.Context, what string, pause time.Duration, holds func() bool) error {
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for limit := now() + awaitLimit; now() < limit; {
		if holds() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return fmt.Errorf("waited %v in vain for %s: %s", awaitLimit, what, s.lastLines())
}

// startAll has every child started, and returns how long it took until the last
// of them began, and until the command returned.
func (s *server) startAll(ctx context.Context) (begun, returned time.Duration, all []stamp, err error) {
	if err := s.stamps.clear(); err != nil {
		return 0, 0, nil, err
	}
	begin := now()
	if err := s.doAll(ctx, spec.VerbStart); err != nil {
		return 0, 0, nil, fmt.Errorf("start all: %w: %s", err, s.lastLines())
	}
	returned = now() - begin
	all, err = s.stamps.await(ctx, len(s.names))
	if err != nil {
		return 0, 0, nil, fmt.Errorf("start all: %w: %s", err, s.lastLines())
	}
	return latest(all) - begin, returned, all, nil
}

// doAll gives a command to all children: by one command where the server knows
// it, else by one for each, 128 at a time.
func (s *server) doAll(ctx context.Context, verb spec.Verb) error {
	_, err := s.client.Do(ctx, spec.Command{Verb: verb, Child: spec.All})
	var refused *spec.Refusal
	if !errors.As(err, &refused) || refused.Code != spec.NotFound {
		return err
	}
	return s.doEach(ctx, verb, s.names, 128)
}

// doEach gives a command to each of the children, so many at a time. Of several
// errors it returns one.
func (s *server) doEach(ctx context.Context, verb spec.Verb, names []string, parallel int) error {
	var next atomic.Int64
	errs := make([]error, parallel)
	var workers sync.WaitGroup
	for worker := range parallel {
		workers.Go(func() {
			for errs[worker] == nil {
				i := int(next.Add(1)) - 1
				if i >= len(names) {
					return
				}
				_, errs[worker] = s.client.Do(ctx, spec.Command{Verb: verb, Child: names[i]})
			}
		})
	}
	workers.Wait()
	failed := slices.IndexFunc(errs, func(err error) bool { return err != nil })
	if failed < 0 {
		return nil
	}
	return errs[failed]
}

// stopAll stops every child and returns how long the command took.
func (s *server) stopAll(ctx context.Context) (time.Duration, error) {
	begin := now()
	_, err := s.client.Do(ctx, spec.Command{Verb: spec.VerbStop, Child: spec.All})
	return now() - begin, err
}

// running are the PIDs of the children that are alive.
func (s *server) running(ctx context.Context) ([]int, error) {
	views, err := s.client.List(ctx)
	var pids []int
	for _, v := range views {
		if v.Status.Process != nil {
			pids = append(pids, v.Status.Process.PID)
		}
	}
	return pids, err
}

// end ends the server and everything it started.
func (s *server) end() {
	if s.keeper != nil && s.keeper.Process != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if s.client.Kill(ctx) != nil {
			_ = s.keeper.Process.Kill()
		}
		stop := context.AfterFunc(ctx, func() { _ = s.keeper.Process.Kill() })
		_ = s.keeper.Wait()
		stop()
		buryOrphans(s.dir)
	}
	s.client.Close()
	s.stamps.close()
	_ = os.RemoveAll(filepath.Dir(s.socket))
	_ = os.RemoveAll(s.dir)
}

// buryOrphans kills what a server that was killed has left to this process.
func buryOrphans(dir string) {
	for _, pid := range childrenOf(os.Getpid()) {
		words, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		environ, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if strings.Contains(string(words), dir) || strings.Contains(string(environ), "KITA_CHILD=") {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			_, _ = syscall.Wait4(pid, nil, 0, nil)
		}
	}
}

// lastLines is the end of the server's log.
func (s *server) lastLines() string {
	text, _ := os.ReadFile(s.log)
	return string(text[max(0, len(text)-2000):])
}
