package runtime

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"kita/runtime/cgroup"
)

// escaped finds processes of a run without a cgroup that have left its process
// group. Orphans come to the keeper, so that its children are all there is to
// look at once the leader is dead: they are told by the tokens in the
// environment they were executed with, or because no other run can have made
// them. thorough looks at every process of the machine for tokens, and at what
// descends from the leader and from those found.
func (p *process) escaped(thorough bool) ([]procStat, error) {
	orphans, err := p.orphans()
	if err != nil {
		return nil, err
	}
	if !thorough && p.host.keeper != 0 {
		// The kernel's list of children may miss some while others end, so what
		// is known to leave its group is looked for everywhere at last.
		if len(orphans) > 0 || !p.escapes.Load() {
			if len(orphans) > 0 {
				p.escapes.Store(true)
			}
			return orphans, nil
		}
	}
	groups, err := p.host.scan()
	if err != nil {
		return nil, err
	}
	children := map[int][]procStat{}
	queue := orphans
	// After the scan: what has got the number by then may be in it.
	hasGroup := p.hasGroup()
	for _, stats := range groups {
		for _, st := range stats {
			children[st.parent] = append(children[st.parent], st)
			if st.startTicks < p.id.StartTicks || p.isLeader(st) {
				continue
			}
			if hasGroup && st.group == p.id.PID || p.bears(st.pid) {
				queue = append(queue, st)
			}
		}
	}
	if hasGroup {
		queue = append(queue, procStat{pid: p.id.PID, startTicks: p.id.StartTicks})
	}
	seen := map[int]bool{}
	var found []procStat
	for len(queue) > 0 {
		st := queue[0]
		queue = queue[1:]
		if seen[st.pid] {
			continue
		}
		seen[st.pid] = true
		inGroup := hasGroup && st.group == p.id.PID
		if !inGroup && !p.isLeader(st) && !st.dead() {
			found = append(found, st)
		}
		queue = append(queue, children[st.pid]...)
	}
	if len(found) > 0 {
		p.escapes.Store(true)
	}
	return found, nil
}

// orphans are the children of the keeper that are of this run.
func (p *process) orphans() ([]procStat, error) {
	orphans, err := p.host.orphans()
	hasGroup := p.hasGroup()
	var found []procStat
	for _, st := range orphans {
		if hasGroup && st.group == p.id.PID {
			continue
		}
		if p.bears(st.pid) || p.isOnlyOwner(st) {
			found = append(found, st)
		}
	}
	return found, err
}

// isLeader tells a leader from a process that has got its number since.
func (p *process) isLeader(st procStat) bool {
	return st.pid == p.id.PID && st.startTicks == p.id.StartTicks
}

// hasGroup tells whether the process group with the leader's number is that of
// the run. A program that forks for long enough gets the number again.
func (p *process) hasGroup() bool {
	st, err := readStat(p.id.PID)
	return p.seen && (err != nil || st.startTicks == p.id.StartTicks)
}

// isOnlyOwner tells whether an orphan can be of no other run than this one. That
// cannot be told where others come to the keeper too: as PID 1 it gets the orphans
// of what somebody executed in its namespace.
func (p *process) isOnlyOwner(st procStat) bool {
	owners := p.host.owners(st)
	return !p.host.strangers && len(owners) == 1 && owners[0] == run{p.child, p.id.Incarnation}
}

// strays are orphans that may be of this run, or of others that lived when they
// began: they have left their process group and show no token.
func (p *process) strays() []int {
	if p.leaf != nil || p.host.keeper == 0 {
		return nil
	}
	orphans, err := p.host.orphans()
	if err != nil {
		p.host.log.Warn("cannot look for orphans", "child", p.child, "incarnation", p.id.Incarnation, "err", err)
	}
	var pids []int
	for _, st := range orphans {
		owners := p.host.owners(st)
		if slices.Contains(owners, run{p.child, p.id.Incarnation}) && !p.bears(st.pid) && !p.isOnlyOwner(st) {
			pids = append(pids, st.pid)
		}
	}
	return pids
}

// orphans are the live children of the keeper that lead no run. The pump of a
// former server is one, too, and of no run. The result is shared: do not change it.
func (h *Host) orphans() ([]procStat, error) {
	if h.keeper == 0 {
		return nil, nil
	}
	return h.orphanage.look(h.lookForOrphans)
}

func (h *Host) lookForOrphans() ([]procStat, error) {
	pump := h.pumpPID()
	pids, err := childrenOf(h.keeper)
	if err != nil {
		return nil, err
	}
	var found []procStat
	for _, pid := range pids {
		if pid == os.Getpid() || pid == pump || h.leads(pid) {
			continue
		}
		st, err := readStat(pid)
		switch {
		case err == nil && st.parent == h.keeper && !st.dead():
			found = append(found, st)
		case err != nil && !gone(err):
			return nil, err
		}
	}
	return found, nil
}

// pumpPID is the process of the pump, 0 if there is none.
func (h *Host) pumpPID() int {
	if h.outputs == nil || h.outputs.pump == nil {
		return 0
	}
	return h.outputs.pump.PID()
}

// gone tells whether an error of /proc says that there is no such process.
func gone(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH)
}

// owners are the runs that an orphan can be of: the one whose tokens it shows, or
// those that lived when it began. The keeper has no other descendants.
func (h *Host) owners(st procStat) []run {
	if r, ok := h.runByLeaf(st.pid); ok {
		return []run{r}
	}
	if env, err := readEnviron(st.pid); err == nil {
		if r, ok := runOf(env, h.id); ok {
			return []run{r}
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if st.startTicks < h.began {
		// A former server knew of runs that this one does not.
		owners := []run{{}}
		for _, l := range h.lives {
			if l.from <= st.startTicks {
				owners = append(owners, l.run)
			}
		}
		return owners
	}
	var owners []run
	for _, l := range h.lives {
		if l.from <= st.startTicks && (l.to == 0 || st.startTicks <= l.to) {
			owners = append(owners, l.run)
		}
	}
	return owners
}

// runByLeaf is the run in whose cgroup a process is.
func (h *Host) runByLeaf(pid int) (run, bool) {
	if !h.hasCgroups() {
		return run{}, false
	}
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return run{}, false
	}
	for line := range strings.Lines(string(text)) {
		// A kita within a child has leaves of its own below that of the child.
		before, after, ours := strings.Cut(line, "/kita-"+h.id+"/")
		if !ours {
			continue
		}
		leaf, _, _ := strings.Cut(strings.TrimSpace(after), "/")
		if _, child, incarnation, ok := cgroup.ParsePath(before + "/kita-" + h.id + "/" + leaf); ok {
			return run{child, incarnation}, true
		}
	}
	return run{}, false
}

// life is how long a run without a cgroup lived, in clock ticks since the boot;
// to is 0 while it does.
type life struct {
	run
	from, to uint64
}

// rememberedLives bounds the lives that are kept; those that ended first go.
const rememberedLives = 4096

// live begins a life, and die ends it. mu is held.
func (h *Host) live(r run, p *process) {
	if p.leaf == nil {
		h.lives = append(h.lives, life{run: r, from: p.id.StartTicks})
	}
}

func (h *Host) die(r run) {
	i := slices.IndexFunc(h.lives, func(l life) bool { return l.run == r && l.to == 0 })
	if i < 0 {
		return
	}
	h.lives[i].to = ticksNow()
	if len(h.lives) > rememberedLives {
		if first := slices.IndexFunc(h.lives, func(l life) bool { return l.to != 0 }); first >= 0 {
			h.lives = slices.Delete(h.lives, first, first+1)
		}
	}
}

// tick is the unit of field 22 of /proc/PID/stat.
const tick = time.Second / ticksPerSecond

// ticksNow is the present in ticks.
func ticksNow() uint64 { return uint64(nanosNow() / tick) }

// nanosNow is the clock by which the kernel notes when a process began; 0 where it
// cannot be read.
func nanosNow() time.Duration {
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return 0
	}
	return time.Duration(up.Nano())
}

// ticksBetween is field 22 of a process that began between two moments; 0 where
// they do not tell.
func ticksBetween(before, after time.Duration) uint64 {
	// The kernel rounds the time down, from a finer one than it tells.
	const margin = time.Microsecond
	ticks := (before - margin) / tick
	if before < margin || ticks != (after+margin)/tick {
		return 0
	}
	return uint64(ticks)
}

func (st procStat) dead() bool { return st.state == 'Z' || st.state == 'X' }

// leads tells whether a PID is that of a leader that is watched.
func (h *Host) leads(pid int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, is := h.leaders[pid]
	return is
}

// bears tells whether the environment that a process was executed with says that
// it is of this run. It does not where it may not be read.
func (p *process) bears(pid int) bool {
	env, err := readEnviron(pid)
	if err != nil {
		return false
	}
	r, ok := runOf(env, p.host.id)
	return ok && r == run{p.child, p.id.Incarnation} && p.host.trusts(pid)
}

func readEnviron(pid int) ([]byte, error) {
	return os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
}

// runOf returns the run of the server id whose tokens an environment holds.
func runOf(env []byte, id string) (r run, ok bool) {
	var server string
	for entry := range bytes.SplitSeq(env, []byte{0}) {
		name, value, _ := strings.Cut(string(entry), "=")
		switch name {
		case envChild:
			r.child = value
		case envIncarnation:
			r.incarnation, _ = strconv.ParseUint(value, 10, 64)
		case envServer:
			server = value
		}
	}
	return r, id != "" && server == id && r.child != "" && r.incarnation != 0
}

// childrenOf returns the children of a process, zombies included; by
// /proc/PID/task/TID/children, or where the kernel has no such file by a look
// at every process. A process that is gone has none.
func childrenOf(pid int) ([]int, error) {
	dir := "/proc/" + strconv.Itoa(pid) + "/task"
	tasks, err := os.ReadDir(dir)
	if err != nil {
		if gone(err) {
			err = nil
		}
		return nil, err
	}
	var pids []int
	for _, task := range tasks {
		text, err := os.ReadFile(dir + "/" + task.Name() + "/children")
		if gone(err) && !exists("/proc/self/task/"+strconv.Itoa(os.Getpid())+"/children") {
			return childrenByScan(pid)
		}
		if err != nil && !gone(err) {
			return nil, err
		}
		for word := range strings.FieldsSeq(string(text)) {
			if n, err := strconv.Atoi(word); err == nil {
				pids = append(pids, n)
			}
		}
	}
	slices.Sort(pids)
	return pids, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func childrenByScan(pid int) ([]int, error) {
	groups, err := readGroups()
	var pids []int
	for _, stats := range groups {
		for _, st := range stats {
			if st.parent == pid {
				pids = append(pids, st.pid)
			}
		}
	}
	slices.Sort(pids)
	return pids, err
}
