package runtime

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"time"

	"kita/spec"
)

// ChildUsage reads what live runs use, all their processes together. views say
// which; of those that are not alive, or not watched, there is nothing. It may
// take a while with many, and blocks nobody: it holds no lock over a read.
//
// Where a run has a cgroup that says which processes are meant, else it is what
// descends from the leader or is in its process group, and what has left both
// and bears the tokens.
func (h *Host) ChildUsage(views []spec.View) []spec.ChildUsage {
	kin := &kinship{host: h}
	usages := make([]spec.ChildUsage, 0, len(views))
	for i := range views {
		live := views[i].Status.Process
		if live == nil {
			continue
		}
		p := h.lookup(run{views[i].Name, live.Incarnation})
		if p == nil {
			continue
		}
		if u, ok := p.usage(kin); ok {
			usages = append(usages, u)
		}
	}
	return usages
}

// usage is false where nothing of the run lives any more.
func (p *process) usage(kin *kinship) (spec.ChildUsage, bool) {
	u := spec.ChildUsage{Name: p.child, Incarnation: p.id.Incarnation}
	var counted struct{ cpu, memory bool }
	var pids []int
	if p.leaf != nil {
		c := p.leaf.Usage()
		u.CPUSeconds, u.MemoryBytes = c.CPU.Seconds(), c.Memory
		counted.cpu, counted.memory = c.KnowsCPU, c.KnowsMemory
		pids, _ = p.leaf.PIDs() // what could be read
	} else {
		pids = kin.of(p)
	}
	u.SampledAt = time.Now().UTC()
	for _, pid := range pids {
		if counted.cpu && counted.memory {
			u.Processes = len(pids)
			break
		}
		s, err := readSpent(pid)
		if err != nil || s.dead || pid == p.id.PID && s.startTicks != p.id.StartTicks {
			continue
		}
		u.Processes++
		if !counted.cpu {
			u.CPUSeconds += float64(s.ticks) / ticksPerSecond
		}
		if !counted.memory {
			u.MemoryBytes += s.pages * uint64(os.Getpagesize())
		}
	}
	return u, u.Processes > 0
}

// spent is what a process has used, and its children that it has waited for.
type spent struct {
	dead       bool
	ticks      uint64
	startTicks uint64
	pages      uint64
}

// readSpent reads /proc/PID/stat, proc_pid_stat(5): fields 14 to 17, 22 and 24.
func readSpent(pid int) (spent, error) {
	var buf [1280]byte
	text, err := readSmall("/proc/"+strconv.Itoa(pid)+"/stat", buf[:])
	if err != nil {
		return spent{}, err
	}
	return parseSpent(text)
}

func parseSpent(text []byte) (spent, error) {
	end := bytes.LastIndexByte(text, ')')
	if end < 0 {
		return spent{}, errors.New("/proc/PID/stat has no command")
	}
	var s spent
	field := 3
	for word := range bytes.FieldsSeq(text[end+1:]) {
		switch field {
		case 3:
			s.dead = word[0] == 'Z' || word[0] == 'X'
		case 14, 15, 16, 17, 22, 24:
			// The times of children are signed there.
			n, err := strconv.ParseInt(string(word), 10, 64)
			if err != nil {
				// A start of more than 2^63 ticks, or a broken kernel.
				return spent{}, err
			}
			switch number := uint64(max(n, 0)); field {
			case 22:
				s.startTicks = number
			case 24:
				s.pages = number
			default:
				s.ticks += number
			}
		}
		if field == 24 {
			return s, nil
		}
		field++
	}
	return spent{}, errors.New("/proc/PID/stat has too few fields")
}

// kinship tells which processes are of runs without a cgroup. It looks at the
// whole machine once, when it is first asked.
type kinship struct {
	host     *Host
	looked   bool
	groups   map[int][]procStat
	children map[int][]procStat
	// strayed are the orphans that bear the tokens of a run.
	strayed map[run][]procStat
}

func (k *kinship) look() {
	k.looked = true
	groups, err := k.host.scan()
	if err != nil {
		k.host.log.Warn("cannot read /proc", "error", err)
		return
	}
	k.groups, k.children, k.strayed = groups, map[int][]procStat{}, map[run][]procStat{}
	for _, stats := range groups {
		for _, st := range stats {
			k.children[st.parent] = append(k.children[st.parent], st)
		}
	}
	if k.host.keeper == 0 {
		return
	}
	for _, st := range k.children[k.host.keeper] {
		if st.pid == os.Getpid() || k.host.leads(st.pid) {
			continue
		}
		if env, err := readEnviron(st.pid); err == nil {
			if r, ok := runOf(env, k.host.id); ok && k.host.trusts(st.pid) {
				k.strayed[r] = append(k.strayed[r], st)
			}
		}
	}
}

// of are the PIDs of p's run.
func (k *kinship) of(p *process) []int {
	if !k.looked {
		k.look()
	}
	queue := []int{p.id.PID}
	if p.hasGroup() {
		for _, st := range k.groups[p.id.PID] {
			queue = append(queue, st.pid)
		}
	}
	for _, st := range k.strayed[run{p.child, p.id.Incarnation}] {
		queue = append(queue, st.pid)
	}
	seen := map[int]bool{}
	var pids []int
	for len(queue) > 0 {
		pid := queue[0]
		queue = queue[1:]
		if seen[pid] {
			continue
		}
		seen[pid] = true
		pids = append(pids, pid)
		for _, st := range k.children[pid] {
			queue = append(queue, st.pid)
		}
	}
	return pids
}
