package runtime

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// What belongs to a run: everything in its cgroup and in the process group of
// its leader. Where there is no cgroup: the group, what descends from it, and
// what bears the run's tokens; see escape_linux.go.

// signal sends sigs to all of the run: each process gets them in that order.
func (p *process) signal(sigs ...spec.Signal) error {
	var err error
	for _, sig := range sigs {
		if failed := p.signalGroup(unix.Signal(sig)); failed != unix.ESRCH {
			err = worse(err, failed)
		}
	}
	if group, gerr := unix.Getpgid(p.id.PID); gerr == nil && group != p.id.PID {
		// Through the pidfd, so it does not matter whose PID that is now.
		p.pidfd.do(func(fd int) { err = worse(err, sendAll(fd, sigs)) })
	}
	if p.leaf != nil && slices.Contains(sigs, spec.Signal(unix.SIGKILL)) {
		err = worse(err, p.leaf.Kill())
	} else {
		err = worse(err, p.signalOutside(sigs))
	}
	switch err {
	case nil:
		return nil
	case unix.EPERM:
		return fmt.Errorf("signal %v to process group %d: %w (its processes run as a user the server may not signal)",
			names(sigs), p.id.PID, err)
	}
	return fmt.Errorf("signal %v to process group %d: %w", names(sigs), p.id.PID, err)
}

// sendAll sends sigs to the process behind a pidfd.
func sendAll(pidfd int, sigs []spec.Signal) error {
	var err error
	for _, sig := range sigs {
		err = worse(err, unix.PidfdSendSignal(pidfd, unix.Signal(sig), nil, 0))
	}
	return err
}

func names(sigs []spec.Signal) string {
	var all []string
	for _, sig := range sigs {
		all = append(all, sig.String())
	}
	return strings.Join(all, ", ")
}

// worse is the error to report of two; that somebody was gone already is none.
func worse(a, b error) error {
	if a != nil || b == unix.ESRCH {
		return a
	}
	return b
}

// signalOutside sends sigs to the members that have left the process group. A
// process that forks meanwhile is met by the next round.
func (p *process) signalOutside(sigs []spec.Signal) error {
	if p.alone() {
		return nil
	}
	var failed error
	sent := map[int]bool{}
	for range rounds {
		g := p.outside(slices.Contains(sigs, spec.Signal(unix.SIGKILL)))
		news := false
		for pid, f := range g.members {
			if sent[pid] {
				continue
			}
			sent[pid], news = true, true
			onFD(f, func(fd int) { failed = worse(failed, sendAll(fd, sigs)) })
		}
		p.release(g)
		if !news {
			break
		}
	}
	return failed
}

// alone tells, at little cost, that nothing but the leader lives in the cgroup.
func (p *process) alone() bool {
	if p.leaf == nil || p.leaf.Others(p.id.PID) {
		return false
	}
	// What has the leader's number is the leader, if nobody has reaped that yet.
	pinned := false
	p.pidfd.do(func(fd int) {
		_, mine := peek(fd)
		pinned = mine || !ended(fd)
	})
	return pinned || !p.leaf.Others(nobody)
}

// nobody is the PID of no process.
const nobody = -1

// outside finds the members that live and are not in the process group.
func (p *process) outside(thorough bool) group {
	if p.leaf == nil {
		return p.escapees(thorough)
	}
	pids, err := p.leaf.PIDs()
	if err != nil {
		p.host.log.Warn("cannot read a cgroup", "child", p.child, "incarnation", p.id.Incarnation, "err", err)
		return group{}
	}
	// Who is in the group has got it as one of that.
	hasGroup := p.hasGroup()
	var stats []procStat
	for _, pid := range pids {
		st, err := readStat(pid)
		if err == nil && !(hasGroup && st.group == p.id.PID) && !p.isLeader(st) {
			stats = append(stats, st)
		}
	}
	if len(stats) == 0 {
		return group{}
	}
	g := p.examine(stats)
	// The pidfds pin processes by now: those whose numbers are still in the
	// cgroup are the ones that were meant.
	still, err := p.leaf.PIDs()
	for pid, f := range g.members {
		if err != nil || !slices.Contains(still, pid) {
			p.release(group{members: map[int]*os.File{pid: f}})
			delete(g.members, pid)
		}
	}
	return g
}

// nothingLeft tells, after the leader's end, whether all of the run has ended.
func (p *process) nothingLeft() bool {
	if p.leaf != nil {
		empty, err := p.leaf.Empty()
		if err != nil {
			p.host.log.Warn("cannot tell whether a cgroup is empty", "child", p.child, "incarnation", p.id.Incarnation, "err", err)
		}
		return empty && err == nil
	}
	g := p.live()
	p.release(g)
	return g.empty()
}

// escapees is what escaped finds, as a group. Where it cannot look, somebody is
// taken to be there.
func (p *process) escapees(thorough bool) group {
	stats, err := p.escaped(thorough)
	g := p.examine(stats)
	if err != nil {
		p.host.log.Warn("cannot look for what left its group", "child", p.child, "incarnation", p.id.Incarnation, "err", err)
		g.hidden = true
	}
	return g
}

// live finds what lives of a run that has no cgroup.
func (p *process) live() group {
	g := group{}
	if p.seen {
		g = p.liveGroup()
	}
	out := p.escapees(!p.seen && !p.host.inherits)
	if out.empty() && p.escapes.Load() {
		// What forked behind the back of one look is seen by the next.
		out = p.escapees(true)
	}
	if g.members == nil {
		g.members = out.members
	} else {
		for pid, f := range out.members {
			if _, twice := g.members[pid]; twice {
				p.release(group{members: map[int]*os.File{pid: f}})
				continue
			}
			g.members[pid] = f
		}
	}
	g.unwatched = append(g.unwatched, out.unwatched...)
	g.hidden = g.hidden || out.hidden
	return g
}

// survivors returns the PIDs of what lives, sorted.
func (p *process) survivors() []int {
	var pids []int
	if p.leaf != nil {
		inLeaf, err := p.leaf.PIDs()
		if err != nil {
			p.host.log.Warn("cannot read a cgroup", "child", p.child, "incarnation", p.id.Incarnation, "err", err)
		}
		pids = inLeaf
	} else {
		g := p.live()
		more := p.escapees(true)
		pids = slices.AppendSeq(g.unwatched, maps.Keys(g.members))
		pids = slices.AppendSeq(pids, maps.Keys(more.members))
		p.release(g)
		p.release(more)
	}
	gone := true
	p.pidfd.do(func(fd int) { gone = leaderEnded(fd) })
	if !gone {
		// It may have moved to another group.
		pids = append(pids, p.id.PID)
	}
	slices.Sort(pids)
	return slices.Compact(pids)
}

// awaitEmpty waits until nothing lives of the run; false if p was closed
// meanwhile.
func (p *process) awaitEmpty() bool {
	if p.leaf != nil {
		return p.leaf.AwaitEmpty(p.ending()) && !p.closed()
	}
	g := p.live()
	for !g.empty() {
		for _, f := range g.members {
			p.awaitOther(f)
		}
		unseen := len(g.members) == 0
		p.release(g)
		if unseen {
			p.pause() // there is nothing to wait on
		}
		if p.closed() {
			return false
		}
		g = p.live()
	}
	return !p.closed()
}

// pause waits for the host's retry time, or until p is closed.
func (p *process) pause() {
	timer := time.NewTimer(p.host.retry)
	defer timer.Stop()
	select {
	case <-p.ending():
	case <-timer.C:
	}
}
