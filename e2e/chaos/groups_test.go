package chaos

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cgroup2Mount is where cgroup2 is mounted; empty where it is not.
func cgroup2Mount() string {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		before, after, found := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(before)
		if found && strings.HasPrefix(after, "cgroup2 ") && len(fields) > 4 {
			return fields[4]
		}
	}
	return ""
}

// pen is a control group of the harness, around an instance: nothing that
// begins in it can get out, so killing it leaves nothing.
type pen struct{ dir string }

// newPen makes a group below a hierarchy, "" being cgroup2.
func newPen(hierarchy, name string) (*pen, error) {
	base := cgroup2Mount()
	if hierarchy != "" {
		base = filepath.Join("/sys/fs/cgroup", hierarchy)
		// In the first group of a hierarchy every machine has such files.
		if _, err := os.Stat(filepath.Join(base, "cgroup.procs")); err != nil {
			return nil, err
		}
	}
	if base == "" {
		return nil, errors.New("no cgroup2 is mounted")
	}
	p := &pen{filepath.Join(base, fmt.Sprintf("chaos-%d-%s", os.Getpid(), name))}
	return p, os.Mkdir(p.dir, 0o755)
}

func (p *pen) path(name string) string { return filepath.Join(p.dir, name) }

func (p *pen) write(name, text string) error { return os.WriteFile(p.path(name), []byte(text), 0) }

// number reads a file with one number in it.
func (p *pen) number(name string) (int, error) {
	text, err := os.ReadFile(p.path(name))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// groups are the group itself and those below it, the deepest first.
func (p *pen) groups() []string {
	var dirs []string
	_ = filepath.WalkDir(p.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	slices.Reverse(dirs)
	return dirs
}

// pids are those of the group and all below it.
func (p *pen) pids() []int {
	var pids []int
	for _, dir := range p.groups() {
		text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			continue
		}
		for _, field := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// kill ends all that is in the group, without a fork: the kernel does it where
// it can, and else a loop that a fork bomb cannot outrun while its pids.max
// holds, since every round kills what the one before has missed.
func (p *pen) kill(limit time.Duration) error {
	if !poll(limit, nil, func() bool {
		if err := p.write("cgroup.kill", "1"); err != nil {
			for _, pid := range p.pids() {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
		return len(p.pids()) == 0
	}) {
		return fmt.Errorf("%s still has the processes %v", p.dir, p.pids())
	}
	return nil
}

// remove removes the group and those below it. What was just killed may still
// be on its way out.
func (p *pen) remove() error {
	var err error
	poll(patience, nil, func() bool {
		err = nil
		for _, dir := range p.groups() {
			err = errors.Join(err, os.Remove(dir))
		}
		return err == nil
	})
	return err
}
