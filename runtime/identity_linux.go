package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"kita/runtime/cgroup"
	"kita/runtime/exitlog"
	"kita/spec"
)

// BootID identifies this boot of the machine or of the container, see
// exitlog.Boot.
func BootID() (string, error) { return bootID() }

var bootID = sync.OnceValues(exitlog.Boot)

// identify tells who the process behind a pidfd is. The caller makes sure that
// the PID is still its own: it has not reaped it, or checks afterwards that
// the pidfd is alive.
func identify(pidfd, pid int, incarnation uint64) (spec.Identity, error) {
	boot, err := BootID()
	if err != nil {
		return spec.Identity{}, err
	}
	st, err := readStat(pid)
	if err != nil {
		return spec.Identity{}, err
	}
	return spec.Identity{
		PID:         pid,
		Inode:       pidfdInode(pidfd),
		StartTicks:  st.startTicks,
		BootID:      boot,
		Incarnation: incarnation,
	}, nil
}

// identifyFresh is identify for a child that this process has just forked. ticks is
// when; 0 if that is to be looked up.
func identifyFresh(pidfd, pid int, incarnation, ticks uint64) (spec.Identity, error) {
	if ticks == 0 {
		return identify(pidfd, pid, incarnation)
	}
	boot, err := BootID()
	return spec.Identity{PID: pid, Inode: pidfdInode(pidfd), StartTicks: ticks, BootID: boot, Incarnation: incarnation}, err
}

// pidfdInode returns the inode of a pidfd, which the kernel uses for one
// process only in a boot, or 0 where pidfds all share one anonymous inode
// (before pidfs, Linux 6.9).
func pidfdInode(pidfd int) uint64 {
	if !isPidfs(pidfd) {
		return 0
	}
	var st unix.Stat_t
	if err := unix.Fstat(pidfd, &st); err != nil {
		return 0
	}
	return st.Ino
}

// pidfs says what the kernel's pidfds are, once that is known.
var pidfs atomic.Int32

const (
	pidfsYes = iota + 1
	pidfsNo
)

// isPidfs tells whether a pidfd is a file of pidfs, as all are or none.
func isPidfs(pidfd int) bool {
	if known := pidfs.Load(); known != 0 {
		return known == pidfsYes
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(pidfd, &fs); err != nil {
		return false
	}
	known := int32(pidfsNo)
	if int64(fs.Type) == unix.PID_FS_MAGIC {
		known = pidfsYes
	}
	pidfs.Store(known)
	return known == pidfsYes
}

// procStat is what kita reads of /proc/PID/stat; proc_pid_stat(5) numbers the
// fields.
type procStat struct {
	pid        int
	state      byte   // field 3
	parent     int    // field 4
	group      int    // field 5
	session    int    // field 6
	userTicks  uint64 // field 14
	kernTicks  uint64 // field 15
	threads    int    // field 20
	startTicks uint64 // field 22
	// exitCode, field 52, is a wait status; 0 if this process may not know it,
	// or if the kernel is older than 3.5.
	exitCode uint32
}

// readStat reads /proc/PID/stat. The error is unix.ESRCH or unix.ENOENT when
// there is no such process.
func readStat(pid int) (procStat, error) {
	// Longer than the kernel writes it: 52 numbers of 20 digits at most, and a name.
	var buf [1280]byte
	path := "/proc/" + strconv.Itoa(pid) + "/stat"
	text, err := readSmall(path, buf[:])
	if err != nil {
		return procStat{}, err
	}
	st, err := parseStat(text)
	st.pid = pid
	return st, err
}

// readSmall reads a file of /proc that fits into buf and comes in one piece. It
// asks Go's poller for nothing, as package os would.
func readSmall(path string, buf []byte) ([]byte, error) {
	fd, err := retryEINTR(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	n, err := retryEINTR(func() (int, error) { return unix.Read(fd, buf) })
	if err != nil {
		return nil, &os.PathError{Op: "read", Path: path, Err: err}
	}
	return buf[:n], nil
}

func retryEINTR(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); err != unix.EINTR {
			return n, err
		}
	}
}

// parseStat parses the text of /proc/PID/stat. The command's name, field 2, may
// hold anything, so the fields are counted from the last parenthesis.
func parseStat(text []byte) (procStat, error) {
	end := bytes.LastIndexByte(text, ')')
	if end < 0 {
		return procStat{}, errors.New("/proc/PID/stat has no command")
	}
	var st procStat
	field := 3
	for word := range bytes.FieldsSeq(text[end+1:]) {
		if err := st.set(field, word); err != nil {
			return st, fmt.Errorf("/proc/PID/stat: field %d: %w", field, err)
		}
		field++
	}
	if field < 3+20 {
		return procStat{}, errors.New("/proc/PID/stat has too few fields")
	}
	return st, nil
}

// set takes a field over, if it is one of those that are kept.
func (st *procStat) set(field int, word []byte) error {
	var number uint64
	switch field {
	case 3:
		if len(word) != 1 {
			return fmt.Errorf("%q is no state", word)
		}
		st.state = word[0]
		return nil
	case 4, 5, 6, 14, 15, 20, 22, 52:
		n, err := strconv.ParseInt(string(word), 10, 64)
		if err != nil {
			return err
		}
		number = uint64(n)
	}
	switch field {
	case 4:
		st.parent = int(number)
	case 5:
		st.group = int(number)
	case 6:
		st.session = int(number)
	case 14:
		st.userTicks = number
	case 15:
		st.kernTicks = number
	case 20:
		st.threads = int(number)
	case 22:
		st.startTicks = number
	case 52:
		st.exitCode = uint32(number)
	}
	return nil
}

// adopt opens a pidfd on the process that id means and verifies that it is the
// one.
func (h *Host) adopt(child string, l spec.Launch) (*process, error) {
	id := l.Identity
	boot, err := BootID()
	if err != nil {
		return nil, err
	}
	if id.PID <= 0 || id.BootID != boot {
		return nil, fmt.Errorf("adopt PID %d: %w: it is of another boot", id.PID, spec.ErrGone)
	}
	fd, err := unix.PidfdOpen(id.PID, 0)
	switch err {
	case nil:
	case unix.ESRCH, unix.EINVAL, unix.ENOENT:
		// EINVAL and ENOENT: the number is now that of a thread.
		return nil, fmt.Errorf("adopt PID %d: %w", id.PID, spec.ErrGone)
	default:
		return nil, fmt.Errorf("adopt PID %d: %w", id.PID, err)
	}
	if err := verify(fd, id); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("adopt PID %d: %w", id.PID, err)
	}
	return h.newProcess(child, id, h.leaf(l), fd), nil
}

// verify tells whether the process behind pidfd is the one that id means, and
// can be watched: the zombie of a child of this process can, another's is gone.
func verify(pidfd int, id spec.Identity) error {
	now, err := identify(pidfd, id.PID, id.Incarnation)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return spec.ErrGone
	}
	if err != nil {
		return err
	}
	if id.Inode == 0 || now.Inode == 0 {
		now.Inode = id.Inode
	}
	if now != id {
		return fmt.Errorf("%w: its PID belongs to another process", spec.ErrGone)
	}
	if _, mine := peek(pidfd); !mine && ended(pidfd) {
		return spec.ErrGone
	}
	return nil
}

// leaf is the cgroup of a run of a former server; nil if it had none.
func (h *Host) leaf(l spec.Launch) *cgroup.Leaf {
	if h.cgroups == nil {
		return nil
	}
	return h.cgroups.Leaf(l.Cgroup)
}

// adoptRest looks for what is left of a run whose leader has ended. Without a
// cgroup only the tokens tell: the number of its group may be another's by now.
func (h *Host) adoptRest(child string, l spec.Launch) (*process, error) {
	boot, err := BootID()
	if err != nil {
		return nil, err
	}
	p := &process{host: h, child: child, id: l.Identity, leaf: h.leaf(l), reaped: true}
	if l.Identity.BootID != boot || p.nothingLeft() {
		p.close()
		h.removeLeaf(p.leaf)
		return nil, fmt.Errorf("adopt what PID %d left: %w", l.Identity.PID, spec.ErrGone)
	}
	return p, nil
}
