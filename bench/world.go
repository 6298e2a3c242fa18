//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// world is what all measurements share.
type world struct {
	// dir is for files, on a disk; memory is for stamps, in memory where it can be.
	dir, memory string
	// bins is where the programs are; kita may be another one.
	bins, kita string
	runDir     string // "" puts it beside the state of each server
	only       *regexp.Regexp
	rounds     int
	progress   io.Writer
	results    []result
	files      int // how many names were given away
	idle       time.Duration
	// fewest is how many threads there are with the fewest children measured.
	fewest float64
	// heldBy is what holds the processes of a child together, once that is known.
	heldBy string
}

// programs are what is measured, and with what: the name of each, its package
// and what the linker is told besides.
var programs = []struct{ name, pkg, link string }{
	{"kita", "kita/cmd/kita", "-X main.version=bench"},
	{slowKita, "kita/cmd/kita", "-X main.version=bench"},
	{"stamp", "kita/bench/stamp", "-E main.start"},
	{"line", "kita/bench/line", ""},
	{"bareloop", "kita/bench/bareloop", ""},
	{"scribe", "kita/e2e/scribe", ""},
	{"bench", "kita/bench", ""},
}

// slowKita is kita with the steps that can be made slow.
const slowKita = "kita-failpoint"

// build builds the programs into dir as `make build` does.
func build(ctx context.Context, dir string) error {
	if module, _ := exec.CommandContext(ctx, "go", "list", "-m").Output(); strings.TrimSpace(string(module)) != "kita" {
		return errors.New("the programs can only be built within the module kita: name built ones with -bin, without -build")
	}
	for _, p := range programs {
		tags := ""
		if p.name == slowKita {
			tags = "failpoint"
		}
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", tags, "-ldflags", "-s -w "+p.link, "-o", filepath.Join(dir, p.name), p.pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", p.name, err, out)
		}
	}
	return nil
}

// newWorld makes the directories; end removes them. What this process starts is
// inherited by it, whatever dies between, so that end can end it.
func newWorld(parent string) (*world, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("become a subreaper: %w", err)
	}
	dir, err := os.MkdirTemp(parent, "kita-bench")
	if err != nil {
		return nil, err
	}
	memory, err := os.MkdirTemp("/dev/shm", "kita-bench")
	if err != nil {
		memory = filepath.Join(dir, "memory")
		if err := os.Mkdir(memory, 0o700); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	return &world{dir: dir, memory: memory, only: regexp.MustCompile(""), rounds: 1, progress: io.Discard}, nil
}

// end ends what is left of all that was started, and removes the files.
func (w *world) end() {
	buryChildren()
	_ = os.RemoveAll(w.memory)
	_ = os.RemoveAll(w.dir)
}

// bin is the path of a program.
func (w *world) bin(name string) string {
	if name == "kita" && w.kita != "" {
		return w.kita
	}
	return filepath.Join(w.bins, name)
}

// wants tells whether any of the figures is to be measured: the expression is
// matched with their names and N, "start 1000".
func (w *world) wants(n int, names ...string) bool {
	for _, name := range names {
		if w.only.MatchString(label(name, n)) {
			return true
		}
	}
	return false
}

// add notes a figure and shows it at once.
func (w *world) add(f figure) {
	if !w.wants(f.n, f.name) || len(f.kita) == 0 {
		return
	}
	r := f.result()
	w.results = append(w.results, r)
	fmt.Fprintln(w.progress, r)
}

func label(name string, n int) string {
	if n == 0 {
		return name
	}
	return fmt.Sprintf("%s %d", name, n)
}

// buryChildren kills every child of this process and those that come to it as
// their parents end, until there is none.
func buryChildren() {
	for {
		children := childrenOf(os.Getpid())
		if len(children) == 0 {
			return
		}
		for _, pid := range children {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		for _, pid := range children {
			_, _ = syscall.Wait4(pid, nil, 0, nil)
		}
	}
}

// childrenOf reads the PIDs of the children of all threads of a process.
func childrenOf(pid int) []int {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	var pids []int
	for _, file := range files {
		text, _ := os.ReadFile(file)
		for word := range strings.FieldsSeq(string(text)) {
			if child, err := strconv.Atoi(word); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

// ownGroup keeps a Ctrl-C in the terminal to this program, which ends the others.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
