package reconciler

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"kita/failpoint"
	"kita/reconciler/plan"
	"kita/reconciler/store"
	"kita/spec"
)

// workers is how many passes run at once. They mostly wait: for a fork, for an
// output file to open, for a facts file.
const workers = 16

// saveAgain is how long after a failure the state of a child is saved again.
const saveAgain = time.Second

// Runtime is what the loop needs of the processes of this machine. The exits
// of what it started or adopted come back through Exited and Emptied.
type Runtime interface {
	// Start launches a child's process and returns who it is.
	Start(c *spec.Child, incarnation uint64) (spec.Launch, error)
	// Signal reaches everything of one incarnation with all of sigs, in order.
	Signal(child string, incarnation uint64, sigs ...spec.Signal) error
	// Survivors are the PIDs of one incarnation that still live.
	Survivors(child string, incarnation uint64) []int
	// Configure tells what a child's file says now, of what is in force without
	// a new start: the rotation of its output.
	Configure(c *spec.Child)
	Remains
}

// Remains is what a new server needs to take over from a former one.
type Remains interface {
	// Adopt watches a run that a former server started. The error is
	// spec.ErrGone if that very leader is no longer alive; with another one it
	// may be.
	Adopt(child string, l spec.Launch) error
	// AdoptRest does it for what is left after the leader.
	AdoptRest(child string, l spec.Launch) error
	// ExitOf tells how the leader of a run ended that cannot be adopted.
	ExitOf(l spec.Launch) spec.Exit
	// Ended are the ends on record.
	Ended() ([]spec.Found, error)
	// Found are the runs that live and that nobody watches.
	Found() ([]spec.Found, error)
	// Witnessed tells whether all that ended since the former server died is
	// on record.
	Witnessed() bool
	// Tidy removes what is left of runs that nobody watches by now, and the
	// ends on record. They must have been saved.
	Tidy()
}

// Observer is told what happens, for metrics. Its methods must not block.
type Observer interface {
	PassDone(d time.Duration)
	StaleFact()
	Started(child, cause string)
	Exited(child string, e spec.Exit, success bool)
	HookDone(kind string, ok bool)
	Forgotten(child string)
}

// Options are what a Reconciler is made of. All fields are required, but for
// what may be empty as it says.
type Options struct {
	Settings  *Settings
	Catalogue *spec.Catalogue
	Store     *store.Store
	Observer  Observer
	// History may be nil: then nothing is taken down.
	History History
	Logger  *slog.Logger
	// Version, Listeners ("unix:PATH", "tcp:ADDRESS"), StateDir and RunDir are
	// shown by Info.
	Version   string
	Listeners []string
	// Activated are those of Listeners that came by socket activation.
	Activated        []string
	StateDir, RunDir string
	// HostKey is the fingerprint of the key that the server proves itself with
	// over SSH, empty without one. Info shows it.
	HostKey string
	// Keeper is the PID of the keeper, 0 for none; Containment says what holds
	// the processes of a child together. Info shows both.
	Keeper      int
	Containment string
	// Glance, which may be nil, is called every now and then, where the loop wakes
	// anyway. It does not block.
	Glance func()
}

// Reconciler holds the children and runs the loop over them.
type Reconciler struct {
	Options
	runtime Runtime
	queue   *queue
	started time.Time
	// encrypt is fixed at start, as the listeners are, whatever server.yml says
	// by now.
	encrypt bool
	// exitWith is the child with which the server ends, likewise fixed at start.
	exitWith string

	mu       sync.Mutex
	children map[string]*entry     // guarded by mu
	begun    bool                  // guarded by mu: what was there at the start is known
	byName   []*entry              // guarded by mu: children by name, nil until they are listed
	watchers map[*watcher]struct{} // guarded by mu
	ending   bool                  // guarded by mu: Kill was called
	ended    chan struct{}         // closed once Kill has done what can be done
	ready    chan struct{}         // closed once the startup mode has been carried out
	// hooks, guarded by mu, end the hooks in flight, by the names of their children.
	hooks map[string]context.CancelFunc
	// exitStatus and unstopped are guarded by mu; see ExitStatus and Unstopped.
	exitStatus int
	unstopped  []string
	debts      debts
	refusals   refusals
	remembered remembered
	ctx        context.Context // of the loop, the hooks and the sources
	cancel     context.CancelFunc
	running    sync.WaitGroup // workers, hooks and sources
}

// entry is one child. Its observed state is changed only by the pass that has
// its name in work; everything is read and written under Reconciler.mu.
type entry struct {
	name    string
	child   *spec.Child // the last good version of its file
	fileErr error
	desired spec.Desired
	obs     plan.Observed
	status  spec.Status
	// mailbox has the facts of which no pass knows yet; nil where there are none.
	mailbox *[]fact
	// changed is closed when the entry changes; nil while nobody waits.
	changed chan struct{}
	// configured is the child that the runtime was last told of; only the pass
	// uses it.
	configured *spec.Child
	gone       bool // there is no file of this child
	removed    bool
	// asFile: the latest command to start it was given with its file as it is now.
	asFile bool
	// learned: recall has learned of its end. Only the start uses it.
	learned bool
	// atRest: the server is ending, and nothing of the child is left to stop.
	atRest bool
	// wasAlive: something of it lived when the end began.
	wasAlive bool
	// unsaved: the latest state is not on disk; only the pass uses it.
	unsaved bool
	// unadopted: whether the process of a former server lives could not be
	// found out; only the pass uses it.
	unadopted bool
}

var errStarting = errors.New("the startup mode has not been carried out yet")

// New makes a Reconciler. Start begins its work; until then it may be given to
// a Runtime as its sink.
func New(o Options) *Reconciler {
	ctx, cancel := context.WithCancel(context.Background())
	if o.History == nil {
		o.History = noHistory{}
	}
	return &Reconciler{
		ctx:      ctx,
		cancel:   cancel,
		Options:  o,
		queue:    newQueue(),
		started:  time.Now(),
		encrypt:  o.Settings.Server().Encrypt,
		exitWith: o.Settings.Server().ExitWith,
		children: map[string]*entry{},
		watchers: map[*watcher]struct{}{},
		ready:    make(chan struct{}),
		hooks:    map[string]context.CancelFunc{},
		ended:    make(chan struct{}),
		debts:    newDebts(),
		refusals: newRefusals(),

		remembered: newRemembered(),
	}
}

// Stop ends the loop, the hooks in flight and the sources, and waits for them.
// The children go on.
func (r *Reconciler) Stop() {
	r.cancel()
	r.queue.Close()
	r.running.Wait()
}

// Ended is closed when everything that can be has been stopped after Kill.
func (r *Reconciler) Ended() <-chan struct{} { return r.ended }

// Ready is nil once the startup mode has been carried out.
func (r *Reconciler) Ready() error {
	select {
	case <-r.ready:
		return nil
	default:
		return errStarting
	}
}

// CarriedOut is closed when Ready turns nil.
func (r *Reconciler) CarriedOut() <-chan struct{} { return r.ready }

// QueueDepth is the number of children that wait for a pass.
func (r *Reconciler) QueueDepth() int { return r.queue.Len() }

// work runs passes until the queue is closed.
func (r *Reconciler) work() {
	for {
		name, ok := r.queue.Get()
		if !ok {
			return
		}
		begin := time.Now()
		r.pass(name)
		if r.queue.Done(name) {
			r.Store.Rest()
		}
		r.Observer.PassDone(time.Since(begin))
	}
}

// entry returns the entry of a name, and makes it if need be. mu is held.
func (r *Reconciler) entry(name string) *entry {
	e := r.children[name]
	if e == nil {
		e = &entry{name: name, gone: true}
		e.status = plan.For(nil, false, e.desired, &e.obs, time.Now()).Status
		r.children[name] = e
		r.byName = nil
	}
	return e
}

// save writes what is known of a child, for the server after this one. What
// could not be written is tried again: that server would have to find the process
// by its tokens.
func (r *Reconciler) save(e *entry, o *plan.Observed) {
	failpoint.Hit(failpoint.Save)
	err := r.Store.SaveState(e.name, o)
	was := e.unsaved
	e.unsaved, o.Unsaved = err != nil, ""
	if err != nil {
		o.Unsaved = err.Error()
		r.queue.AddAt(e.name, time.Now().Add(saveAgain))
	}
	if was == e.unsaved {
		return
	}
	r.queue.Add(e.name) // its status tells it
	if err != nil {
		r.Logger.Error("cannot save the state of a child", "child", e.name, "err", err)
	}
}

func jitter() float64 { return rand.Float64() }
