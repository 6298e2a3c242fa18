//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// peerCrashes is how many crashes of a peer are measured in a round: some wait a
// second after each.
const peerCrashes = 5

// peerResult is what was measured of one system; a field is nil where the system
// has no such thing.
type peerResult struct {
	System string   `json:"system"`
	N      int      `json:"n"`
	Start  *summary `json:"start_ms"`
	Stop   *summary `json:"stop_ms"`
	Memory *summary `json:"memory_mb_pss"`
	Tasks  *summary `json:"threads_and_processes"`
	Crash  *summary `json:"crash_ms"`
	Status *summary `json:"status_ms,omitempty"`
}

// readPeers reads the names of other supervisors and their binaries.
func readPeers(file string) (map[string]string, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	binaries := map[string]string{}
	if err := json.Unmarshal(text, &binaries); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for name, binary := range binaries {
		if _, known := adapters[name]; !known {
			return nil, fmt.Errorf("%s: %q is none of %s", file, name, strings.Join(slices.Sorted(maps.Keys(adapters)), ", "))
		}
		if _, err := exec.LookPath(binary); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", file, name, err)
		}
	}
	return binaries, nil
}

// peers runs each system, and kita with them, on the same work, in turn: it is
// started with n children, some are killed, it is asked for all, and ended.
func (w *world) peers(ctx context.Context, binaries map[string]string, n int) ([]peerResult, error) {
	names := slices.Sorted(maps.Keys(binaries))
	values := map[string]*peerValues{}
	for round := range w.rounds {
		order := slices.Clone(names)
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, name := range order {
			if values[name] == nil {
				values[name] = &peerValues{}
			}
			if err := w.peer(ctx, name, binaries[name], n, values[name]); err != nil {
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				// What cannot run so many children is shown without figures.
				fmt.Fprintf(w.progress, "%s with %d children: %v\n", name, n, err)
			}
		}
	}
	var results []peerResult
	for _, name := range names {
		results = append(results, values[name].result(name, n))
	}
	return results, nil
}

// peerValues are the measured values of one system.
type peerValues struct{ start, stop, memory, tasks, crash, status []float64 }

func (v *peerValues) result(name string, n int) peerResult {
	of := func(values []float64) *summary { return summarize(values, median) }
	return peerResult{System: name, N: n, Start: of(v.start), Stop: of(v.stop), Memory: of(v.memory),
		Tasks: of(v.tasks), Crash: of(v.crash), Status: of(v.status)}
}

// peer is one round of one system.
func (w *world) peer(ctx context.Context, name, binary string, n int, v *peerValues) error {
	marks, err := newStamps(w.stampPath())
	if err != nil {
		return err
	}
	defer marks.close()
	p := &peerRun{binary: binary, dir: filepath.Join(w.dir, fmt.Sprintf("peer%d", w.files)),
		child: []string{w.bin("stamp"), marks.path}}
	for i := range n {
		p.names = append(p.names, fmt.Sprintf("c%05d", i))
	}
	defer os.RemoveAll(p.dir)
	defer p.watching.Wait()
	defer buryChildren()
	a := adapters[name]
	defer p.finish(a)
	if err := a.prepare(p); err != nil {
		return err
	}
	begin := now()
	lives, err := p.launch(ctx, a.start(p))
	if err != nil {
		return err
	}
	all, err := marks.await(lives, n)
	if err != nil {
		return p.explain(lives, err)
	}
	v.start = append(v.start, ms(latest(all)-begin))
	// Some watch a child for a while before they count it as started.
	if err := sleep(lives, 2*time.Second); err != nil {
		return p.explain(lives, err)
	}
	memory, tasks := supervisors()
	v.memory, v.tasks = append(v.memory, memory/1e6), append(v.tasks, tasks)
	if a.status != nil {
		took, err := runProcess(ctx, p.environment(), a.status(p)[0], a.status(p)[1:]...)
		if err != nil {
			return err
		}
		v.status = append(v.status, ms(took))
	}
	pids := pidsOf(all)
	for i := range peerCrashes {
		took, err := crash(lives, marks, pids, i%n)
		if err != nil {
			return p.explain(lives, err)
		}
		v.crash = append(v.crash, ms(took))
	}
	took, err := p.end(ctx, a, pids)
	v.stop = append(v.stop, ms(took))
	return err
}

// peerRun is one run of a system.
type peerRun struct {
	binary  string   // of the supervisor; its other programs lie beside it
	dir     string   // of its own
	names   []string // of its children
	child   []string // what each child is
	process *exec.Cmd
	// watching waits for the process.
	watching sync.WaitGroup
}

// tool is another program of the system.
func (p *peerRun) tool(name string) string { return filepath.Join(filepath.Dir(p.binary), name) }

// environment lets its programs find each other.
func (p *peerRun) environment() []string {
	return append(os.Environ(), "PATH="+filepath.Dir(p.binary)+":"+os.Getenv("PATH"), "PM2_HOME="+p.dir,
		"KITA_SOCKET="+filepath.Join(p.dir, "run", "kita.sock"))
}

// write writes a file below the run's directory.
func (p *peerRun) write(name, text string, mode os.FileMode) error {
	path := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), mode)
}

// launch starts the supervisor. lives is ctx until that is found dead; its cause
// is how it ended.
func (p *peerRun) launch(ctx context.Context, words []string) (lives context.Context, err error) {
	log, err := os.Create(filepath.Join(p.dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.process = exec.Command(words[0], words[1:]...)
	p.process.Env, p.process.Dir = p.environment(), p.dir
	p.process.Stdout, p.process.Stderr = log, log
	p.process.SysProcAttr = ownGroup()
	if err := p.process.Start(); err != nil {
		return nil, err
	}
	lives, dies := context.WithCancelCause(ctx)
	p.watching.Go(func() {
		err := p.process.Wait()
		// Some start what they are in the background: this process inherits it.
		if err == nil && hasLivingChild() {
			return
		}
		dies(fmt.Errorf("the supervisor has ended: %v", p.process.ProcessState))
	})
	return lives, nil
}

// hasLivingChild tells whether any child of this process has not ended.
func hasLivingChild() bool {
	return slices.ContainsFunc(childrenOf(os.Getpid()), func(pid int) bool {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, state, _ := strings.Cut(string(text), ") ")
		return err == nil && !strings.HasPrefix(state, "Z")
	})
}

// explain is err, or how the supervisor ended where that is why, with the last
// lines of its log.
func (p *peerRun) explain(lives context.Context, err error) error {
	if cause := context.Cause(lives); cause != nil {
		err = cause
	}
	return fmt.Errorf("%w: %s", err, p.lastLines())
}

// end has the system end all children, and returns how long that took.
func (p *peerRun) end(ctx context.Context, a adapter, pids []int) (time.Duration, error) {
	begin := now()
	words := a.stop(p)
	took, err := runProcess(ctx, p.environment(), words[0], words[1:]...)
	// A command that only says so is waited for until no child is left.
	for err == nil && slices.ContainsFunc(pids, alive) {
		if err = sleep(ctx, time.Millisecond); now()-begin > awaitLimit {
			err = fmt.Errorf("children live %v after they were stopped", awaitLimit)
		}
		took = now() - begin
	}
	return took, err
}

// finish ends the supervisor, by its own command where it leaves something behind
// otherwise.
func (p *peerRun) finish(a adapter) {
	if p.process == nil || p.process.Process == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), finishLimit)
	defer cancel()
	// What does not end in time is killed.
	stop := context.AfterFunc(ctx, func() { _ = p.process.Process.Kill() })
	defer stop()
	if a.finish == nil {
		cancel()
	} else if _, err := runProcess(ctx, p.environment(), a.finish(p)[0], a.finish(p)[1:]...); err != nil {
		cancel()
	}
	p.watching.Wait()
}

// finishLimit is how long a supervisor may take to end.
const finishLimit = 30 * time.Second

// alive tells whether a child of a system lives. One whose supervisor has ended
// before it is left to this process, which reaps it.
func alive(pid int) bool {
	if reaped, _ := syscall.Wait4(pid, nil, syscall.WNOHANG, nil); reaped == pid {
		return false
	}
	return syscall.Kill(pid, 0) == nil
}

func (p *peerRun) lastLines() string {
	text, _ := os.ReadFile(filepath.Join(p.dir, "log"))
	return string(text[max(0, len(text)-1000):])
}

// supervisors sums up the memory and the threads of everything below this
// process but the stampers: some systems detach from what started them.
func supervisors() (memory, tasks float64) {
	var pids []int
	var walk func(pid int)
	walk = func(pid int) {
		for _, child := range childrenOf(pid) {
			if name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", child)); string(name) != "stamp\n" {
				pids = append(pids, child)
			}
			walk(child)
		}
	}
	walk(os.Getpid())
	for _, pid := range pids {
		// One that has ended in the meantime has nothing.
		m, err := pss(pid)
		if err != nil {
			continue
		}
		t, err := threadsOf([]int{pid})
		if err != nil {
			continue
		}
		memory, tasks = memory+m, tasks+t
	}
	return memory, tasks
}

// printPeers writes the peers as a Markdown table.
func printPeers(out io.Writer, results []peerResult) error {
	if len(results) == 0 {
		return nil
	}
	n := results[0].N
	var b strings.Builder
	fmt.Fprintf(&b, "\n| system | start %d, with the supervisor | stop %d | memory idle (PSS) | threads and processes | crash to new process | status of all |\n|---|---|---|---|---|---|---|\n", n, n)
	for _, r := range results {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", r.System, r.Start.text("ms"), r.Stop.text("ms"),
			r.Memory.text("MB"), r.Tasks.text(""), r.Crash.text("ms"), r.Status.text("ms"))
	}
	_, err := io.WriteString(out, b.String())
	return err
}
