package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// setting is a file of a group and what is to be written there.
type setting struct {
	file, text string
	// optional: some kernels lack the file, and the limit holds without it.
	optional bool
}

// limit is one wanted limit, in the words of either version of the kernel's
// interface.
type limit struct {
	// name is that of the child file.
	name, controller string
	v2, v1           []setting
}

// limits lists what is wanted. The files are those of cgroup-v2.rst and of
// cgroup-v1/memory.rst, sched-bwc.rst and cgroup-v1/pids.rst in the kernel's
// documentation.
func limits(want spec.Resources) []limit {
	var ls []limit
	if want.Memory > 0 {
		bytes := strconv.FormatUint(want.Memory, 10)
		ls = append(ls, limit{"limits.memory", "memory",
			// Beyond the limit processes are to be killed, not swapped until
			// the swap is full too. The kernel picks one of them: group death
			// (memory.oom.group) is left off, the child may cope.
			[]setting{{file: "memory.max", text: bytes}, {"memory.swap.max", "0", true}},
			[]setting{{file: "memory.limit_in_bytes", text: bytes}, {"memory.memsw.limit_in_bytes", bytes, true}}})
	}
	if want.MilliCPU > 0 {
		quota, period := cpuQuota(want.MilliCPU)
		ls = append(ls, limit{"limits.cpu", "cpu",
			[]setting{{file: "cpu.max", text: quota + " " + period}},
			[]setting{{file: "cpu.cfs_period_us", text: period}, {file: "cpu.cfs_quota_us", text: quota}}})
	}
	if want.Tasks > 0 {
		// The kernel refuses more than PID_MAX_LIMIT of linux/threads.h.
		tasks := "max"
		if want.Tasks <= 4<<20 {
			tasks = strconv.FormatUint(want.Tasks, 10)
		}
		ls = append(ls, limit{"limits.tasks", "pids",
			[]setting{{file: "pids.max", text: tasks}}, []setting{{file: "pids.max", text: tasks}}})
	}
	return ls
}

// cpuQuota returns microseconds of processor time in a period, and the period.
// The kernel takes quotas of 1 ms or more in periods of at most 1 s; 100 ms is
// its own period.
func cpuQuota(milliCPU uint64) (quota, period string) {
	us := uint64(100_000)
	if milliCPU < 10 {
		us = 1_000_000
	}
	return strconv.FormatUint(milliCPU*(us/1000), 10), strconv.FormatUint(us, 10)
}

// unmet is a warning for each wanted limit.
func unmet(want spec.Resources, why string) (warnings []string) {
	for _, l := range limits(want) {
		warnings = append(warnings, notInForce(l, why))
	}
	return warnings
}

func notInForce(l limit, why string) string { return l.name + " is not in force: " + why }

// limit sets the wanted limits of l, and returns a warning for each that is not
// in force. A v1 controller needs a directory of its own.
func (l *Leaf) limit(want spec.Resources) (warnings []string) {
	for _, wanted := range limits(want) {
		if err := l.limitOne(wanted); err != nil {
			warnings = append(warnings, notInForce(wanted, oneLine(err)))
		}
	}
	return warnings
}

func (l *Leaf) limitOne(wanted limit) error {
	t := l.tree
	first := l.dirs[0]
	if first.v2 {
		// Where the controller is on already, this is all.
		err := t.set(first, wanted.v2)
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		switch offered, err := t.enable(first.hierarchy, wanted.controller); {
		case err != nil:
			return err
		case offered:
			return t.set(first, wanted.v2)
		}
	}
	for _, h := range t.machine.hierarchies {
		if !h.has(wanted.controller) {
			continue
		}
		if h.own == "" {
			return fmt.Errorf("the server's own group is not below %s", h.mount)
		}
		return l.limitV1(h, wanted)
	}
	return fmt.Errorf("no %s controller (%s)", wanted.controller, t.offers())
}

// limitV1 sets a limit in a v1 hierarchy. On a hybrid machine that can be one
// in which l has no directory yet; without the limit it would be of no use.
func (l *Leaf) limitV1(h hierarchy, wanted limit) error {
	if at := slices.IndexFunc(l.dirs, func(d dir) bool { return d.mount == h.mount }); at >= 0 {
		return l.tree.set(l.dirs[at], wanted.v1)
	}
	d, err := l.tree.makeDir(h, l.name)
	if err != nil {
		return err
	}
	if err := l.tree.set(d, wanted.v1); err != nil {
		return errors.Join(err, d.remove())
	}
	l.dirs = append(l.dirs, d)
	return nil
}

func (t *Tree) set(d dir, settings []setting) error {
	for _, s := range settings {
		err := t.machine.write(d.path, s.file, s.text)
		if err != nil && !(s.optional && errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	return nil
}

// enable switches a controller of cgroup2 on for the runs of this server.
// offered is false where it is not the server's to switch on.
func (t *Tree) enable(h hierarchy, controller string) (offered bool, err error) {
	base := t.base(h)
	above := filepath.Dir(base)
	has, err := listed(above, "cgroup.controllers", controller)
	if err != nil || !has {
		return false, err
	}
	for _, dir := range []string{above, base} {
		on, err := listed(dir, "cgroup.subtree_control", controller)
		if err != nil {
			return false, err
		}
		if on {
			continue
		}
		err = t.machine.write(dir, "cgroup.subtree_control", "+"+controller)
		if errors.Is(err, unix.EBUSY) && dir == above {
			// A group other than the root has either processes or controllers
			// for those below it.
			if err = t.moveAside(above, base); err == nil {
				err = t.machine.write(dir, "cgroup.subtree_control", "+"+controller)
			}
		}
		if err != nil {
			return false, err
		}
	}
	if controller == "memory" {
		t.oom.Store(oomCounted)
	}
	return true, nil
}

// What is known of who counts the processes that were killed for want of memory.
const (
	oomUnknown = iota
	oomCounted
	oomNotCounted
)

// countsOOM tells whether the kernel may count in d, a directory of cgroup2, which
// processes it killed for want of memory: where the server has switched that on.
func (t *Tree) countsOOM(d dir) bool {
	if filepath.Dir(d.path) != t.base(d.hierarchy) {
		return true
	}
	known := t.oom.Load()
	if known == oomUnknown {
		known = oomCounted
		on, err := listed(filepath.Dir(d.path), "cgroup.subtree_control", "memory")
		if err == nil && !on {
			known = oomNotCounted
		}
		t.oom.CompareAndSwap(oomUnknown, known)
	}
	return known == oomCounted
}

// moveAside moves the server out of its own group, into one beside its runs.
// It stays there: the group is left when the processes in it end. Others'
// processes are not the server's to move.
func (t *Tree) moveAside(above, base string) error {
	pids, err := readPIDs(above)
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if !t.belongs(pid) {
			return fmt.Errorf("process %d, which is not the server's, is in the server's own cgroup %s; give the server one of its own, in a systemd unit by Delegate=yes", pid, above)
		}
	}
	aside := filepath.Join(base, supervisor)
	if err := unix.Mkdir(aside, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return &fs.PathError{Op: "mkdir", Path: aside, Err: err}
	}
	for _, pid := range pids {
		err := t.machine.write(aside, "cgroup.procs", strconv.Itoa(pid))
		if err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	t.log.Info("the server moved to a cgroup of its own, to be able to limit children", "path", aside)
	return nil
}

// belongs tells whether the process is the server, its keeper, or one that they
// started, such as a hook.
func (t *Tree) belongs(pid int) bool {
	for pid > 0 {
		if pid == os.Getpid() || slices.Contains(t.self, pid) {
			return true
		}
		pid = parent(pid)
	}
	return false
}

// parent reads the fourth field of /proc/PID/stat, see proc_pid_stat(5); 0 means
// that there is none, or none in this PID namespace.
func parent(pid int) int {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0
	}
	// The second is a name in parentheses, of any bytes.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	ppid, err := strconv.Atoi(fields[1])
	if err != nil {
		return 0
	}
	return ppid
}

// listed tells whether a file of a group has the word.
func listed(dir, file, word string) (bool, error) {
	text, err := readFile(dir, file)
	return slices.Contains(strings.Fields(string(text)), word), err
}

// offers says in a few words which controllers there are.
func (t *Tree) offers() string {
	var words []string
	for _, h := range t.machine.hierarchies {
		if !h.v2 {
			words = append(words, "cgroup1 has "+strings.Join(h.controllers, " "))
			continue
		}
		if h.own == "" {
			continue
		}
		text, err := readFile(filepath.Dir(t.base(h)), "cgroup.controllers")
		switch names := strings.Join(strings.Fields(string(text)), " "); {
		case err != nil:
		case names == "":
			words = append(words, "cgroup2 has none for "+filepath.Dir(t.base(h)))
		default:
			words = append(words, "cgroup2 has "+names)
		}
	}
	if len(words) == 0 {
		return "none is to be seen"
	}
	return strings.Join(words, ", ")
}
