package chaos

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

// report is the table.
type report struct {
	mu   sync.Mutex
	rows []*row // mu
}

// row is a line of the table. The goroutine of its test owns it.
type row struct {
	fault, as, pass string
	count           int
	measured        []string
	verdict         string
}

func (r *report) add(line *row) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rows = append(r.rows, line)
}

// measure notes a result for the table.
func (r *row) measure(format string, args ...any) {
	r.measured = append(r.measured, fmt.Sprintf(format, args...))
}

func (r *report) print(w io.Writer, seed uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.rows) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s; seed %d\n\n", machine(), seed)
	fmt.Fprintln(w, "| fault | as | count | pass criterion | measured | verdict |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|")
	for _, l := range r.rows {
		fmt.Fprintf(w, "| %s | %s | %d | %s | %s | %s |\n", l.fault, l.as, l.count, l.pass, strings.Join(l.measured, ", "), l.verdict)
	}
	fmt.Fprintln(w)
}

// machine says what the numbers were measured on.
func machine() string {
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	groups := "no cgroup2"
	if dir := cgroup2Mount(); dir != "" {
		controllers, _ := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
		groups = "cgroup2 at " + dir + " with controllers: " + strings.TrimSpace(string(controllers))
		if len(strings.TrimSpace(string(controllers))) == 0 {
			groups = "cgroup2 at " + dir + " without controllers"
		}
	}
	if old, _ := filepath.Glob("/sys/fs/cgroup/*/cgroup.procs"); len(old) > 1 {
		groups += fmt.Sprintf(", %d cgroup1 hierarchies", len(old)-1)
	}
	return fmt.Sprintf("Linux %s %s, %d processors, %s", strings.TrimSpace(string(release)), runtime.GOARCH, runtime.NumCPU(), groups)
}
