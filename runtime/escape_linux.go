package runtime

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
)

// escaped finds processes of a run without a cgroup that have left its process
// group: by the tokens in the environment they were executed with. Orphans come
// to the keeper, so that its children are all there is to look at once the
// leader is dead; thorough looks at every process of the machine, and at what
// descends from the leader and from those found, tokens or not.
func (p *process) escaped(thorough bool) []procStat {
	if p.host.keeper == 0 {
		thorough = true
	}
	if !thorough {
		return p.orphans()
	}
	groups, err := p.host.scanner.scan()
	if err != nil {
		p.host.log.Warn("cannot read /proc", "error", err)
		return nil
	}
	children := map[int][]procStat{}
	var queue []procStat
	for _, stats := range groups {
		for _, st := range stats {
			children[st.parent] = append(children[st.parent], st)
			if st.startTicks < p.id.StartTicks || st.pid == p.id.PID {
				continue
			}
			if p.pidfd != nil && st.group == p.id.PID || p.bears(st.pid) {
				queue = append(queue, st)
			}
		}
	}
	if p.pidfd != nil {
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
		inGroup := p.pidfd != nil && (st.pid == p.id.PID || st.group == p.id.PID)
		if !inGroup && !st.dead() {
			found = append(found, st)
		}
		queue = append(queue, children[st.pid]...)
	}
	return found
}

// orphans are the children of the keeper that bear the run's token.
func (p *process) orphans() []procStat {
	var found []procStat
	for _, pid := range childrenOf(p.host.keeper) {
		if pid == p.id.PID || p.host.leads(pid) {
			continue
		}
		st, err := readStat(pid)
		if err != nil || st.dead() || st.startTicks < p.id.StartTicks || !p.bears(pid) {
			continue
		}
		if p.pidfd == nil || st.group != p.id.PID {
			found = append(found, st)
		}
	}
	return found
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
	return ok && r == run{p.child, p.id.Incarnation}
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
// at every process.
func childrenOf(pid int) []int {
	tasks, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/task")
	if err != nil {
		return nil
	}
	var pids []int
	for _, task := range tasks {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/task/" + task.Name() + "/children")
		if os.IsNotExist(err) && !exists("/proc/self/task/"+strconv.Itoa(os.Getpid())+"/children") {
			return childrenByScan(pid)
		}
		for word := range strings.FieldsSeq(string(text)) {
			if n, err := strconv.Atoi(word); err == nil {
				pids = append(pids, n)
			}
		}
	}
	slices.Sort(pids)
	return pids
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func childrenByScan(pid int) []int {
	groups, err := readGroups()
	if err != nil {
		return nil
	}
	var pids []int
	for _, stats := range groups {
		for _, st := range stats {
			if st.parent == pid {
				pids = append(pids, st.pid)
			}
		}
	}
	slices.Sort(pids)
	return pids
}
