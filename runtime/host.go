package runtime

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"kita/runtime/cgroup"
	"kita/spec"
)

// Sink receives facts, on any goroutine; it must not block. A fact may arrive
// before the Start that caused it has returned. None arrives after Close has.
type Sink interface {
	// Exited: the leader ended. empty: nothing is left of its group.
	Exited(child string, incarnation uint64, exit spec.Exit, empty bool)
	// Emptied: what was left of the group after the leader's exit has ended.
	Emptied(child string, incarnation uint64)
	// Strayed: these processes live on and are of the run or of another; nothing
	// tells. suspected: or of none. It comes before the fact that says that
	// nothing is left.
	Strayed(child string, incarnation uint64, pids []int, suspected bool)
	// Wrote: these are the last lines of the run that Exited is about to tell of,
	// which did not end well.
	Wrote(child string, last spec.LastLines)
	// OutputFault: this is what is wrong with the output files of a live run now,
	// one line each; none: nothing is any more.
	OutputFault(child string, incarnation uint64, lines []string)
}

// Options are what a Host can be told; the zero value works.
type Options struct {
	// Logger is slog's default when nil.
	Logger *slog.Logger
	// Env is the environment children start from; os.Environ() when nil.
	Env []string
	// ID names the server among those of the machine. Its processes bear it, so
	// that a later server with the same ID finds them; without one it does not.
	ID string
	// Cgroups holds the runs, each in a leaf of its own; nil for none.
	Cgroups *cgroup.Tree
	// Keeper is the PID of the process that orphans come to; 0 for none.
	Keeper int
	// Inherits: the keeper had a server before this one, so that all that was
	// left of that came to it.
	Inherits bool
	// Strangers: orphans that are of no run may come to the keeper too.
	Strangers bool
	// RunDir is where the keeper records the exits that it sees, and this
	// server those of its own children, and where the pump is found; empty for no
	// records and no pump.
	RunDir string
	// StateDir is where it is kept what is known of output files; empty: they are
	// not looked after.
	StateDir string
	// Budget is how many bytes all rotated output files and archives may take; 0 or
	// nil is any number.
	Budget func() uint64
	// Locks are files that are open until the Host is closed. A process has them
	// open from the fork until it has been executed, so that a later server that
	// has the locks finds it, by what it is then.
	Locks []*os.File
}

// errClosed is what Start and Adopt return after Close.
var errClosed = errors.New("the server is going down")

// Host launches and watches processes. Its methods may be called from any
// goroutine.
type Host struct {
	sink    Sink
	log     *slog.Logger
	env     *environment
	id      string
	cgroups *cgroup.Tree
	keeper  int
	// strangers is Options.Strangers, or true of PID 1.
	strangers, inherits bool
	records             *records
	outputs             *outputs
	scans               shared[map[int][]procStat]
	orphanage           shared[[]procStat]
	ends                *ends
	forkers             forkers
	// retry is how long to wait before looking again at a group that could not
	// be watched, for want of descriptors say.
	retry time.Duration
	// patience is how long a process that ended may wait for its parent, which
	// is not this process, to reap it. Where /proc hides its exit status, the
	// kernel tells it only then.
	patience time.Duration
	// bornOdd: a program that this process executes inherits odd signals.
	bornOdd bool
	// oldKernel forgoes what Linux 6.9 brought; tests set it.
	oldKernel bool

	// closing is closed by Close.
	closing chan struct{}
	// running counts watchers and the calls that may begin one; Close waits
	// for it.
	running sync.WaitGroup

	mu sync.Mutex
	// closed and processes are guarded by mu. A nil process is one that is
	// being launched or adopted.
	closed    bool
	processes map[run]*process
	// leaders, guarded by mu, are processes by their PIDs.
	leaders map[int]*process
	// lives, guarded by mu, are those of the runs without a cgroup.
	lives []life
	// began is when this server began, as ticksNow has it; born the same.
	began uint64
	born  time.Time
}

// run names one run of a child.
type run struct {
	child       string
	incarnation uint64
}

func (r run) String() string { return fmt.Sprintf("%s, incarnation %d", r.child, r.incarnation) }

// New makes a Host that reports to sink; Close ends it. Descriptors above 2 that this process
// was itself started with are marked close-on-exec, so that no child inherits
// them by accident.
func New(sink Sink, o Options) *Host {
	h := &Host{
		sink:      sink,
		log:       o.Logger,
		id:        o.ID,
		cgroups:   o.Cgroups,
		keeper:    o.Keeper,
		strangers: o.Strangers || o.Keeper == 1,
		inherits:  o.Inherits && o.Keeper != 0,
		records:   newRecords(o.RunDir),
		retry:     time.Second,
		patience:  time.Second,
		closing:   make(chan struct{}),
		processes: map[run]*process{},
		leaders:   map[int]*process{},
		began:     ticksNow(),
		born:      time.Now(),
		bornOdd:   bornOdd(),
	}
	if h.log == nil {
		h.log = slog.Default()
	}
	if o.Env == nil {
		o.Env = os.Environ()
	}
	h.env = inherited(o.Env)
	if err := hideDescriptors(); err != nil {
		h.log.Warn("children may inherit descriptors of the server", "error", err)
	}
	for _, f := range o.Locks {
		h.forkers.keep = append(h.forkers.keep, int(f.Fd()))
	}
	if err := h.forkers.begin(); err != nil {
		h.log.Warn("starts take longer with many children", "err", err)
	}
	var err error
	if h.ends, err = newEnds(); err != nil {
		h.log.Warn("ends of processes are noticed late", "err", err)
	} else {
		h.running.Go(h.follow)
	}
	h.outputs = newOutputs(h, o)
	return h
}

// Configure tells what the file of a child says now. Its output is rotated as
// that says from now on.
func (h *Host) Configure(c *spec.Child) { h.outputs.configure(c) }

// Start launches a process of c as the given incarnation and watches it. It
// returns once the command has been executed, or cannot be: the error then
// says what was being done, to which path, and the errno.
func (h *Host) Start(c *spec.Child, incarnation uint64) (spec.Launch, error) {
	r := run{c.Name, incarnation}
	if err := h.reserve(r); err != nil {
		return spec.Launch{}, err
	}
	defer h.running.Done()
	p, l, err := h.launch(c, incarnation)
	if err != nil {
		h.forget(r)
		return spec.Launch{}, err
	}
	h.begin(r, p, h.await)
	return l, nil
}

// Adopt watches a run that a former server launched. Facts about it carry the
// incarnation of its identity. The error is spec.ErrGone if the process with
// that identity is not alive. A child of this very process (the server executed
// a new version of itself) is adopted dead or alive, since nobody else can reap
// it.
func (h *Host) Adopt(child string, l spec.Launch) error {
	return h.adoptWith(child, l, h.adopt, h.await)
}

// AdoptRest watches what is left of a run whose leader has ended: Emptied tells
// of its end. The error is spec.ErrGone if nothing is left.
func (h *Host) AdoptRest(child string, l spec.Launch) error {
	return h.adoptWith(child, l, h.adoptRest, func(p *process) {
		h.running.Go(func() { h.watchRest(p) })
	})
}

func (h *Host) adoptWith(child string, l spec.Launch,
	take func(string, spec.Launch) (*process, error), watch func(*process)) error {
	r := run{child, l.Identity.Incarnation}
	if err := h.reserve(r); err != nil {
		return err
	}
	defer h.running.Done()
	p, err := take(child, l)
	if err != nil {
		h.forget(r)
		return err
	}
	h.outputs.attach(child, l, nil)
	h.begin(r, p, watch)
	return nil
}

// Signal sends sigs to everything of that run, to each process in their order. A
// run that has ended is not an error.
func (h *Host) Signal(child string, incarnation uint64, sigs ...spec.Signal) error {
	p := h.lookup(run{child, incarnation})
	if p == nil {
		return nil
	}
	return p.signal(sigs...)
}

// Survivors returns the PIDs of that run that live, sorted.
func (h *Host) Survivors(child string, incarnation uint64) []int {
	p := h.lookup(run{child, incarnation})
	if p == nil {
		return nil
	}
	return p.survivors()
}

// Close stops watching and waits until no fact is under way. Every process
// goes on running.
func (h *Host) Close() {
	h.mu.Lock()
	if !h.closed {
		close(h.closing)
	}
	h.closed = true
	watched := make([]*process, 0, len(h.processes))
	for _, p := range h.processes {
		if p != nil {
			watched = append(watched, p)
		}
	}
	h.mu.Unlock()
	for _, p := range watched {
		p.close()
	}
	h.ends.close()
	h.running.Wait()
	h.forkers.close()
	h.outputs.close()
	h.records.close()
}

// reserve makes sure that a run is watched once, and counts the caller as
// running.
func (h *Host) reserve(r run) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return errClosed
	}
	if _, known := h.processes[r]; known {
		return fmt.Errorf("%v is watched already", r)
	}
	h.processes[r] = nil
	h.running.Add(1)
	return nil
}

// begin has a reserved run watched.
func (h *Host) begin(r run, p *process, watch func(*process)) {
	h.mu.Lock()
	closed := h.closed
	if !closed {
		h.processes[r] = p
		h.leaders[p.id.PID] = p
		h.live(r, p)
	}
	h.mu.Unlock()
	if closed {
		p.close()
		return
	}
	watch(p)
}

func (h *Host) forget(r run) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p := h.processes[r]; p != nil && h.leaders[p.id.PID] == p {
		delete(h.leaders, p.id.PID)
	}
	h.die(r)
	delete(h.processes, r)
}

func (h *Host) lookup(r run) *process {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.processes[r]
}
