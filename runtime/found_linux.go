package runtime

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"kita/runtime/cgroup"
	"kita/runtime/exitlog"
	"kita/spec"
)

// ExitOf tells how a run ended that Adopt found gone: from the records, or from
// the zombie that its parent has yet to reap; it waits for that in the first second
// of the host.
// What cannot be learned is an exit that is not known.
func (h *Host) ExitOf(l spec.Launch) spec.Exit {
	id := l.Identity
	exit := spec.Exit{Incarnation: id.Incarnation, At: time.Now(), OOMKilled: oomKilled(h.leaf(l))}
	// One second for all that a new server asks for, not for each.
	deadline := h.born.Add(h.patience)
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		// The look at the process comes first: its end is recorded before it
		// is reaped.
		st, err := readStat(id.PID)
		left := err == nil && st.dead() && st.startTicks == id.StartTicks
		if rec, ok := h.records.find(id); ok {
			exit.At = rec.At
			return exitOf(unix.WaitStatus(rec.Status), exit)
		}
		if left && mayReadExit(id.PID) {
			return exitOf(unix.WaitStatus(st.exitCode), exit)
		}
		if !left || !time.Now().Before(deadline) || !h.pause(wait) {
			return exit
		}
	}
}

// pause waits; false once the host is closing.
func (h *Host) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-h.closing:
		return false
	case <-timer.C:
		return true
	}
}

// Ended returns the ends of runs in this boot that are on record, by this host's
// former servers and by their keeper; of what ended before the call all is. Of two
// records of one end, by a server that died between its record and its reaping
// and by the keeper, it returns one. With an error it returns what could be read.
func (h *Host) Ended() ([]spec.Found, error) {
	boot, err := BootID()
	if err != nil {
		return nil, err
	}
	h.awaitBurials()
	all, err := h.records.all()
	if len(all) == 0 {
		return nil, err
	}
	leaves, leavesErr := h.leavesByRun()
	type who struct {
		pid   int
		ticks uint64
	}
	seen := map[who]int{}
	var found []spec.Found
	for _, rec := range all {
		if rec.Boot != boot {
			continue
		}
		end := endOf(rec, leaves)
		// The one that names the child is worth more.
		if i, twice := seen[who{rec.PID, rec.StartTicks}]; !twice {
			seen[who{rec.PID, rec.StartTicks}] = len(found)
			found = append(found, end)
		} else if found[i].Child == "" {
			found[i] = end
		}
	}
	return found, errors.Join(err, leavesErr)
}

// leavesByRun are the cgroups that there are.
func (h *Host) leavesByRun() (map[run]*cgroup.Leaf, error) {
	if h.cgroups == nil {
		return nil, nil
	}
	leaves, err := h.cgroups.Leaves()
	byRun := map[run]*cgroup.Leaf{}
	for _, l := range leaves {
		child, incarnation := l.Run()
		byRun[run{child, incarnation}] = l
	}
	return byRun, err
}

// awaitBurials waits until the keeper has recorded who had ended when it was
// called, or for a second: on a full disk it cannot.
func (h *Host) awaitBurials() {
	if h.keeper == 0 {
		return
	}
	deadline := time.Now().Add(h.patience)
	for wait := time.Millisecond; time.Now().Before(deadline); wait = min(2*wait, 20*time.Millisecond) {
		pids, err := childrenOf(h.keeper)
		unburied := err != nil || slices.ContainsFunc(pids, func(pid int) bool {
			st, err := readStat(pid)
			// The keeper reaps its servers, too, and leaders whose threads go on
			// are no zombies.
			return err == nil && st.dead() && st.group == pid && st.threads <= 1
		})
		if !unburied || !h.pause(wait) {
			return
		}
	}
}

func endOf(rec exitlog.Record, leaves map[run]*cgroup.Leaf) spec.Found {
	exit := exitOf(unix.WaitStatus(rec.Status), spec.Exit{Incarnation: rec.Incarnation, At: rec.At})
	l := spec.Launch{Identity: spec.Identity{
		PID: rec.PID, StartTicks: rec.StartTicks, BootID: rec.Boot, Incarnation: rec.Incarnation}}
	if leaf := leaves[run{rec.Child, rec.Incarnation}]; leaf != nil {
		l.Cgroup = leaf.Path()
		exit.OOMKilled = oomKilled(leaf)
	}
	return spec.Found{Child: rec.Child, StartedAt: startedAt(rec.StartTicks), Launch: l, Exit: &exit}
}

// Found returns the leaders that live, are of former servers with this host's ID
// and are not watched: call it when what is known has been adopted. They are told
// by their cgroups, or where there are none by their tokens, which anybody can
// write into an environment: those are believed of the children of the keeper and
// of the server's own user. With an error it returns those that it found.
func (h *Host) Found() ([]spec.Found, error) {
	byRun := map[run]spec.Found{}
	var errs []error
	leaves, err := h.leavesByRun()
	errs = append(errs, err)
	for r, l := range leaves {
		if h.lookup(r) != nil {
			continue
		}
		pids, err := l.PIDs()
		errs = append(errs, err)
		f, ok, err := found(r, pids)
		errs = append(errs, err)
		if ok {
			f.Launch.Cgroup = l.Path()
			byRun[r] = f
		}
	}
	if !h.hasCgroups() {
		bearers, err := h.bearers()
		errs = append(errs, err)
		for r, pids := range bearers {
			f, ok, err := found(r, pids)
			errs = append(errs, err)
			if ok {
				byRun[r] = f
			}
		}
	}
	return slices.Collect(maps.Values(byRun)), errors.Join(errs...)
}

// starved is the error of a look at a process that tells nothing of it, because
// this process lacked what it takes; nil for every other.
func starved(pid int, err error) error {
	for _, lack := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM} {
		if errors.Is(err, lack) {
			return fmt.Errorf("look at PID %d: %w", pid, err)
		}
	}
	return nil
}

func (h *Host) hasCgroups() bool { return h.cgroups != nil && h.cgroups.Kind() != cgroup.None }

// bearers finds the processes that bear this server's tokens and are of no run
// that is watched.
func (h *Host) bearers() (map[run][]int, error) {
	if h.id == "" {
		return nil, nil
	}
	pids, err := h.candidates()
	byRun := map[run][]int{}
	deadline := time.Now().Add(execPatience)
	for _, pid := range pids {
		if h.leads(pid) || pid == os.Getpid() || pid == h.keeper {
			continue
		}
		env, err := h.settledEnviron(pid, deadline)
		if err != nil {
			if err := starved(pid, err); err != nil {
				return byRun, err
			}
			continue
		}
		if r, ok := runOf(env, h.id); ok && h.lookup(r) == nil && h.trusts(pid) {
			byRun[r] = append(byRun[r], pid)
		}
	}
	return byRun, err
}

// execPatience is how long a process may be between one program and the next.
const execPatience = 300 * time.Millisecond

// settledEnviron reads the environment of a process. In the midst of an execve(2)
// there is none: what was forked just before the death of its server may be there
// for a while on a busy machine, and is asked again until the deadline.
func (h *Host) settledEnviron(pid int, deadline time.Time) ([]byte, error) {
	for {
		env, err := readEnviron(pid)
		if err != nil || len(env) > 0 || time.Now().After(deadline) {
			return env, err
		}
		st, err := readStat(pid)
		young := err == nil && !st.dead() && st.group == pid && st.startTicks+2*ticksPerSecond > h.began
		if !young || !h.pause(5*time.Millisecond) {
			return nil, nil
		}
	}
}

// trusts tells whether a process may be taken for what its environment says.
func (h *Host) trusts(pid int) bool {
	st, err := readStat(pid)
	if err != nil {
		return false
	}
	if h.keeper != 0 && st.parent == h.keeper {
		return true
	}
	uid, err := realUID(pid)
	return err == nil && uid == os.Geteuid()
}

// realUID is who a process runs as. The owner of its directory in /proc does not
// tell: that is root where the process may not be dumped.
func realUID(pid int) (int, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if ids, ok := strings.CutPrefix(line, "Uid:"); ok {
			if fields := strings.Fields(ids); len(fields) > 0 {
				return strconv.Atoi(fields[0])
			}
		}
	}
	return 0, fmt.Errorf("/proc/%d/status names no user", pid)
}

// candidates are the processes among which a leader of a former server can be.
func (h *Host) candidates() ([]int, error) {
	if h.inherits {
		return childrenOf(h.keeper)
	}
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, err
}

// found is the run whose leader is among pids: the process that began first and
// still leads its process group.
func found(r run, pids []int) (f spec.Found, ok bool, err error) {
	var oldest spec.Identity
	var errs []error
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			errs = append(errs, starved(pid, err))
			continue
		}
		id, err := identify(fd, pid, r.incarnation)
		st, statErr := readStat(pid)
		gone := ended(fd)
		unix.Close(fd)
		errs = append(errs, starved(pid, errors.Join(err, statErr)))
		if err != nil || statErr != nil || gone || st.group != pid || st.startTicks != id.StartTicks {
			continue
		}
		// Inodes of pidfds only grow, ticks are 10 ms long.
		older := id.StartTicks < oldest.StartTicks || id.StartTicks == oldest.StartTicks && id.Inode < oldest.Inode
		if oldest.PID == 0 || older {
			oldest = id
		}
	}
	f = spec.Found{Child: r.child, StartedAt: startedAt(oldest.StartTicks), Launch: spec.Launch{Identity: oldest}}
	return f, oldest.PID != 0, errors.Join(errs...)
}

// Tidy removes what former servers left and nobody needs: empty cgroups, zombies
// of this very process that are nobody's any more, and the ends that they have on
// record, which must have been saved by now.
func (h *Host) Tidy() {
	h.records.forget()
	if h.cgroups != nil {
		h.cgroups.Tidy(func(child string, incarnation uint64) bool {
			return h.lookup(run{child, incarnation}) != nil
		})
	}
	// One that cannot be looked for now goes at the next start.
	pids, _ := childrenOf(os.Getpid())
	for _, pid := range pids {
		// After an upgrade these are all children: most need no look.
		if h.leads(pid) {
			continue
		}
		if st, err := readStat(pid); err == nil && st.state == 'Z' {
			reapPID(pid)
		}
	}
}

// Witnessed tells whether a keeper saw how the runs of the former server ended, so
// that what is not on record has not been.
func (h *Host) Witnessed() bool { return h.inherits }

// Containment says what holds the processes of a run together.
func (h *Host) Containment() string {
	if h.cgroups == nil {
		return "process groups"
	}
	if !h.hasCgroups() {
		return "process groups, descendants and tokens in /proc; cgroups: " + h.cgroups.String()
	}
	return h.cgroups.String()
}

// startedAt is the time of field 22 of /proc/PID/stat; now where it cannot be
// told.
func startedAt(ticks uint64) time.Time {
	now := time.Now()
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil || ticks > math.MaxInt64/uint64(time.Second/ticksPerSecond) {
		return now
	}
	age := time.Duration(up.Nano()) - time.Duration(ticks)*(time.Second/ticksPerSecond)
	return now.Add(-max(0, age))
}
