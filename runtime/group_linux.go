package runtime

import (
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// rounds bounds how often a group is looked at again because it changed under
// the look.
const rounds = 16

// signalGroup sends sig to the group whose number is the leader's PID; 0 only
// asks whether there is one. ESRCH: there is none.
func (p *process) signalGroup(sig unix.Signal) error {
	var err error = unix.EINVAL
	if !p.host.oldKernel {
		// The pidfd stands for the number itself, so this is exact even after
		// the leader has been reaped.
		open := p.pidfd.do(func(fd int) {
			err = unix.PidfdSendSignal(fd, sig, nil, unix.PIDFD_SIGNAL_PROCESS_GROUP)
		})
		if !open {
			return unix.ESRCH
		}
	}
	if err != unix.EINVAL {
		return err
	}
	return p.signalGroupBefore69(sig)
}

// signalGroupBefore69 does it for a kernel without PIDFD_SIGNAL_PROCESS_GROUP
// (Linux 6.9).
func (p *process) signalGroupBefore69(sig unix.Signal) error {
	p.mu.Lock()
	if pinned := !p.reaped && p.mine(); pinned || sig == 0 {
		// For sig 0 the number may have been recycled; live finds that out.
		defer p.mu.Unlock()
		return unix.Kill(-p.id.PID, sig)
	}
	p.mu.Unlock()

	var failed error
	sent := map[int]bool{}
	for range rounds {
		g := p.liveGroup()
		news := false
		for pid, f := range g.members {
			if sent[pid] {
				continue
			}
			sent[pid], news = true, true
			onFD(f, func(fd int) {
				if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && err != unix.ESRCH {
					failed = err
				}
			})
		}
		p.release(g)
		if !news {
			break
		}
	}
	return failed
}

// mine tells whether the leader is a child of this process, so that nobody
// else can reap it.
func (p *process) mine() bool {
	mine := false
	p.pidfd.do(func(fd int) { _, mine = peek(fd) })
	return mine
}

// group is what lives of a process group.
type group struct {
	// members are pidfds by PID, each verified to be in the group and tracked
	// by the process; whoever has the group releases it.
	members map[int]*os.File
	// unwatched are members that live but for which no pidfd could be had.
	unwatched []int
	// hidden: the kernel says that there is a member, /proc does not show it
	// (hidepid).
	hidden bool
}

func (g group) empty() bool { return len(g.members) == 0 && len(g.unwatched) == 0 && !g.hidden }

// liveGroup finds what lives of the group. Zombies do not, however long their
// parents leave them; the pidfd tells them from a thread group whose first
// thread alone has ended.
func (p *process) liveGroup() group {
	var before []int
	for range rounds {
		if p.signalGroup(0) == unix.ESRCH {
			return group{}
		}
		groups, err := p.host.scan()
		if err != nil {
			p.host.log.Warn("cannot read /proc", "error", err)
			return group{hidden: true}
		}
		stats := groups[p.id.PID]
		if p.recycled(stats) {
			return group{}
		}
		g := p.examine(stats)
		if !g.empty() {
			return g
		}
		// All that was seen is dead. One of them may have forked behind the
		// scan's back before it died, so the next one must see no other.
		dead := make([]int, 0, len(stats))
		for _, st := range stats {
			dead = append(dead, st.pid)
		}
		slices.Sort(dead)
		if before != nil && slices.Equal(before, dead) {
			return group{hidden: len(dead) == 0}
		}
		before = dead
	}
	return group{hidden: true}
}

// recycled tells whether the group's number means another group by now: there
// is a process with that number which is not the leader. While any of the old
// group lives, its number is not given to a process.
func (p *process) recycled(stats []procStat) bool {
	return slices.ContainsFunc(stats, func(st procStat) bool {
		return st.pid == p.id.PID && st.startTicks != p.id.StartTicks ||
			p.session != 0 && st.session != p.session
	})
}

// examine opens a pidfd for each process that lives.
func (p *process) examine(stats []procStat) group {
	g := group{members: map[int]*os.File{}}
	for _, st := range stats {
		fd, err := unix.PidfdOpen(st.pid, 0)
		if err == unix.ESRCH {
			continue
		}
		if err != nil {
			// For want of descriptors, most likely: believe what /proc said.
			if st.state != 'Z' && st.state != 'X' {
				g.unwatched = append(g.unwatched, st.pid)
			}
			continue
		}
		// The pidfd pins the process, not the number: look again who that is.
		now, err := readStat(st.pid)
		same := err == nil && now.group == st.group && now.startTicks == st.startTicks
		if !same || ended(fd) || unix.SetNonblock(fd, true) != nil {
			unix.Close(fd)
			continue
		}
		f := os.NewFile(uintptr(fd), "pidfd")
		if !p.track(f) {
			f.Close()
			return group{}
		}
		g.members[st.pid] = f
	}
	return g
}

// track makes close close f too; false if p is closed already.
func (p *process) track(f *os.File) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed() {
		return false
	}
	if p.others == nil {
		p.others = map[*os.File]struct{}{}
	}
	p.others[f] = struct{}{}
	return true
}

// release gives the pidfds of g back.
func (p *process) release(g group) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range g.members {
		delete(p.others, f)
		f.Close()
	}
}

// scan returns every process, by its process group. The result is shared: do
// not change it.
func (h *Host) scan() (map[int][]procStat, error) { return h.scans.look(readGroups) }

func readGroups() (map[int][]procStat, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	groups := map[int][]procStat{}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if st, err := readStat(pid); err == nil {
			groups[st.group] = append(groups[st.group], st)
		}
	}
	return groups, nil
}
