package keeper

import (
	"time"

	"golang.org/x/sys/unix"

	"kita/failpoint"
	"kita/runtime/exitlog"
)

// youngEnough: a server saves what it started at once, so only of the last
// starts before its death there may be nothing but what the process itself
// carries.
const youngEnough = 10 * time.Second

// graveyard is the part of a keeper that sees to the dead.
type graveyard struct {
	boot string
	// server is the id of the server, runDir its run directory; empty until
	// one has said so.
	server, runDir string
	log            *exitlog.Writer
	// runs are the children of which the cgroup may not tell.
	runs map[int]bornRun
	// left are the children that a dead server left, by PID: their ends are
	// written down whatever group they are in by now.
	left map[int]bool
	// stuck is what keeps ends from being written down, nil if nothing does.
	stuck error
}

type bornRun struct {
	run
	start uint64
}

// open has the ends written to dir from now on. What cannot be done now is
// tried again when there is an end to write down.
func (g *graveyard) open(id, dir string) {
	g.server = id
	// Anew even if it is the same: somebody may have removed it meanwhile.
	g.close()
	g.runDir = dir
	g.stuck = g.reopen()
}

func (g *graveyard) reopen() error {
	if g.log != nil {
		return nil
	}
	log, err := exitlog.OpenWriter(g.runDir, g.boot)
	if err == nil {
		g.log = log
	}
	return err
}

func (g *graveyard) close() {
	if g.log != nil {
		_ = g.log.Close()
		g.log = nil
	}
}

// remember reads what the children that began of late are, while they can still
// tell. It comes just after the death of their server.
func (g *graveyard) remember() {
	since := ticksAgo(youngEnough)
	if g.left == nil {
		g.left = map[int]bool{}
	}
	for _, pid := range children() {
		g.left[pid] = true
		st, err := readStat(pid)
		if err != nil || st.start < since || st.group != pid {
			continue
		}
		if r, ok := runByEnviron(pid); ok {
			if g.runs == nil {
				g.runs = map[int]bornRun{}
			}
			g.runs[pid] = bornRun{r, st.start}
		}
	}
}

// bury writes down the end of a zombie, if it could be that of a child, and
// reaps it. It returns false if the end could not be written: then the zombie
// stays.
func (g *graveyard) bury(pid int, status uint32) bool {
	st, err := readStat(pid)
	switch {
	case lacks(err):
		g.stuck = err
		return false
	case err != nil:
		// Hidden by a mount option; its group can still be asked for.
		st.group, _ = unix.Getpgid(pid)
	}
	if (st.group == pid || g.left[pid]) && g.runDir != "" {
		if g.stuck != nil {
			return false
		}
		if g.stuck = g.record(pid, st, status); g.stuck != nil {
			return false
		}
		failpoint.Hit(failpoint.Reap)
	}
	delete(g.runs, pid)
	delete(g.left, pid)
	reap(pid)
	return true
}

func (g *graveyard) record(pid int, st stat, status uint32) error {
	if err := g.reopen(); err != nil {
		return err
	}
	r := exitlog.Record{PID: pid, StartTicks: st.start, Boot: g.boot, Status: status, At: time.Now()}
	whose, ok := runByCgroup(pid)
	if born := g.runs[pid]; !ok && born.start == st.start {
		whose = born.run
	}
	// A server within a child has children of its own. And what never was the
	// child's command had no end that would be the child's: its server died
	// while it launched it, and the next one launches it once more.
	if whose.server == g.server && st.launched() {
		r.Child, r.Incarnation = whose.child, whose.incarnation
	}
	failpoint.Hit(failpoint.Record)
	return g.log.Append(r)
}

// buryAll sees to every zombie but except, the server. It returns false if some
// are left because their ends could not be written down. It tries that once.
func (g *graveyard) buryAll(except int) bool {
	g.stuck = nil
	for {
		pid, status, ok := peek(unix.P_ALL, 0)
		switch {
		case !ok:
			return true
		case pid == except:
			// It would be found again and again.
			return g.buryEach(except)
		case !g.bury(pid, status):
			g.buryEach(except)
			return false
		}
	}
}

// buryEach is buryAll for when the first zombie found has to stay.
func (g *graveyard) buryEach(except int) (all bool) {
	all = true
	for _, pid := range children() {
		if pid == except {
			continue
		}
		if _, status, ok := peek(unix.P_PID, pid); ok && !g.bury(pid, status) {
			all = false
		}
	}
	return all
}
