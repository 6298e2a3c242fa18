package runtime

import (
	"time"

	"golang.org/x/sys/unix"

	"kita/runtime/cgroup"
	"kita/spec"
)

// end is the end of a leader that is a child of this process.
type end struct {
	*process
	info siginfoChild
}

// watchEnds looks at leaders of which the kernel says that they may have ended,
// records and reaps them, and tells the sink. What takes longer goes on in
// goroutines of the host. Those that go on go on being watched: older kernels tell
// too early when a thread that is not the first calls exec.
func (h *Host) watchEnds(leaders []*process) {
	ends := make([]end, 0, len(leaders))
	for _, p := range leaders {
		var info siginfoChild
		mine, is := false, false
		open := p.pidfd.do(func(fd int) {
			if info, mine = peek(fd); mine {
				is = info.pid != 0
			} else {
				is = ended(fd)
			}
		})
		switch {
		case !open:
		case !is:
			h.await(p)
		case !mine:
			h.running.Go(func() { h.watchStranger(p) })
		default:
			ends = append(ends, end{p, info})
		}
	}
	h.settle(ends)
	for _, e := range ends {
		if e.closed() {
			continue
		}
		exit := e.info.exit(e.id.Incarnation)
		exit.OOMKilled = oomKilled(e.leaf)
		if !h.tellEmpty(e.process, exit) {
			h.running.Go(func() { h.tell(e.process, exit) })
		}
	}
}

// watchStranger waits until it is known how a leader ended that is not a child of
// this process, and tells the sink.
func (h *Host) watchStranger(p *process) {
	if exit, ok := p.exitOfStranger(); ok {
		exit.OOMKilled = oomKilled(p.leaf)
		h.tell(p, exit)
	}
}

// tellEmpty tells the sink of an end after which nothing is left of the run. False:
// it has not, since something may be left, or the output is to be looked at.
func (h *Host) tellEmpty(p *process, exit spec.Exit) bool {
	if p.leaf == nil || h.outputs.attached(p.run()) || !p.leaf.RemoveEmpty() {
		return false
	}
	h.end(p)
	h.sink.Exited(p.child, p.id.Incarnation, exit, true)
	return true
}

// tell tells the sink of the leader's end, waits for its group, and tells the sink
// of that.
func (h *Host) tell(p *process, exit spec.Exit) {
	h.tellLast(p, exit)
	if p.nothingLeft() {
		h.tellStrays(p)
		h.end(p)
		h.removeLeaf(p.leaf)
		h.sink.Exited(p.child, p.id.Incarnation, exit, true)
		return
	}
	h.sink.Exited(p.child, p.id.Incarnation, exit, false)
	h.watchRest(p)
}

// watchRest waits for what is left after the leader, and tells the sink.
func (h *Host) watchRest(p *process) {
	if !p.awaitEmpty() {
		return
	}
	h.tellStrays(p)
	h.end(p)
	h.removeLeaf(p.leaf)
	h.sink.Emptied(p.child, p.id.Incarnation)
}

func (h *Host) tellStrays(p *process) {
	if pids := p.strays(); len(pids) > 0 {
		h.sink.Strayed(p.child, p.id.Incarnation, pids, h.strangers)
	}
}

// end gives everything of p back but its cgroup, before its last fact is told, so
// that whoever acts on the fact finds the descriptors free.
func (h *Host) end(p *process) {
	h.forget(p.run())
	p.close()
	h.outputs.detach(p.run())
}

func (h *Host) removeLeaf(l *cgroup.Leaf) {
	if l == nil {
		return
	}
	if err := l.Remove(); err != nil {
		h.log.Warn("cannot remove a cgroup", "cgroup", l.Path(), "err", err)
	}
}

func oomKilled(l *cgroup.Leaf) bool {
	if l == nil {
		return false
	}
	kills, _ := l.OOMKills()
	return kills > 0
}

// exitOfStranger finds out how a process ended that is not a child of this one.
// Whoever reaps it may be slow, and some kernels tell only then: it is asked
// again until patience ends. ok is false if p was closed.
func (p *process) exitOfStranger() (exit spec.Exit, ok bool) {
	at := time.Now()
	deadline := at.Add(p.host.patience)
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		settled := false
		open := p.pidfd.do(func(fd int) { exit, settled = exitOfStranger(fd, p.id.PID, p.id.Incarnation) })
		// The keeper has written it down before it reaped it.
		if rec, found := p.host.records.find(p.id); found && !exit.Known {
			exit, settled = exitOf(unix.WaitStatus(rec.Status), exit), true
		}
		if exit.Known || settled && p.host.records.keeper == nil || time.Now().After(deadline) || !open {
			exit.At = at
			return exit, !p.closed()
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-p.ending():
		}
		timer.Stop()
	}
}
