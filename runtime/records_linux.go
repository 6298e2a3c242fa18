package runtime

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"kita/failpoint"
	"kita/runtime/exitlog"
	"kita/spec"
)

// ownRecords is the directory, in the run directory, of the exit log that the
// server writes. The keeper has one of its own, so that neither rotates the
// other's away.
const ownRecords = "server"

// records are the exit logs of the server and its keeper.
type records struct {
	dir string // of the server's own log; empty for none
	// keeper reads the keeper's log, former that of a former server.
	keeper, former *exitlog.Reader

	mu sync.Mutex
	// own is guarded by mu; nil until the first record.
	own *exitlog.Writer
}

func newRecords(runDir string) *records {
	if runDir == "" {
		return &records{}
	}
	dir := filepath.Join(runDir, ownRecords)
	return &records{dir: dir, keeper: exitlog.OpenReader(runDir), former: exitlog.OpenReader(dir)}
}

// append writes ends of children down. Until that has been done none of them must
// be reaped: what is lost with a crash is then told by the zombie.
func (r *records) append(recs []exitlog.Record) error {
	if r.dir == "" || len(recs) == 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.own == nil {
		if err := os.Mkdir(r.dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		w, err := exitlog.OpenWriter(r.dir, recs[0].Boot)
		if err != nil {
			return err
		}
		r.own = w
	}
	return r.own.Append(recs...)
}

func (r *records) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.own != nil {
		r.own.Close()
		r.own = nil
	}
}

// forget empties the server's own log. That of the keeper is bounded by itself.
func (r *records) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dir == "" || r.own != nil {
		return
	}
	// Where that fails they stay, and are older than what is known.
	_ = os.RemoveAll(r.dir)
}

// find looks for the end of a process that is no child of this one.
func (r *records) find(id spec.Identity) (exitlog.Record, bool) {
	if r.keeper == nil {
		return exitlog.Record{}, false
	}
	if rec, ok := r.keeper.Find(id.PID, id.StartTicks, id.BootID); ok {
		return rec, true
	}
	return r.former.Find(id.PID, id.StartTicks, id.BootID)
}

// all returns every end on record, that of a former server's own log included.
func (r *records) all() ([]exitlog.Record, error) {
	if r.dir == "" {
		return nil, nil
	}
	kept, err := r.keeper.All()
	own, ownErr := r.former.All()
	return append(kept, own...), errors.Join(err, ownErr)
}

// settle records ends and reaps the leaders then. What cannot be recorded stays a
// zombie until it can.
func (h *Host) settle(ends []end) {
	err := h.record(ends)
	for _, e := range ends {
		if err == nil {
			e.reap()
			continue
		}
		h.tellKept(e, err)
		e.mu.Lock()
		e.zombie = true
		e.mu.Unlock()
		h.running.Go(func() { h.settleLater(e) })
	}
}

// record writes ends down, all or none.
func (h *Host) record(ends []end) error {
	recs := make([]exitlog.Record, len(ends))
	for i, e := range ends {
		failpoint.Hit(failpoint.Record)
		recs[i] = exitlog.Record{
			PID: e.id.PID, StartTicks: e.id.StartTicks, Boot: e.id.BootID,
			Child: e.child, Incarnation: e.id.Incarnation, Status: uint32(e.info.waitStatus()), At: time.Now(),
		}
	}
	return h.records.append(recs)
}

// reap has the kernel forget a child whose end is on record.
func (p *process) reap() {
	failpoint.Hit(failpoint.Reap)
	p.mu.Lock()
	defer p.mu.Unlock()
	// By the PID, which is its own until this call returns: the pidfd may have
	// been closed by now.
	reapPID(p.id.PID)
	p.reaped = true
}

// settleLater tries again until it succeeds or the host is closed. It is a
// goroutine of the host.
func (h *Host) settleLater(e end) {
	tick := time.NewTicker(h.retry)
	defer tick.Stop()
	for {
		select {
		case <-h.closing:
			return
		case <-tick.C:
			err := h.record([]end{e})
			if err == nil {
				e.reap()
				return
			}
			h.tellKept(e, err)
		}
	}
}

func (h *Host) tellKept(e end, err error) {
	h.log.Error("cannot record an exit, the zombie is kept", "child", e.child,
		"incarnation", e.id.Incarnation, "err", err)
}

func reapPID(pid int) {
	for {
		if err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOHANG, nil); err != unix.EINTR {
			return
		}
	}
}

// waitStatus is s as wait(2) encodes it.
func (s siginfoChild) waitStatus() unix.WaitStatus {
	switch s.code {
	case cldExited:
		return unix.WaitStatus(s.status << 8)
	case cldDumped:
		return unix.WaitStatus(s.status | 0x80)
	}
	return unix.WaitStatus(s.status)
}
