package reconciler

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kita/reconciler/store"
	"kita/spec"
)

// fakeRuntime is a Runtime whose processes are entries of a map.
type fakeRuntime struct {
	sink interface {
		Exited(child string, incarnation uint64, exit spec.Exit, empty bool)
		Emptied(child string, incarnation uint64)
	}

	mu       sync.Mutex
	live     map[string]spec.Identity // by child
	starts   []string
	ignores  map[string]bool  // children that ignore SIGTERM
	frozen   map[string]bool  // children that no signal reaches
	failures map[string]error // what Start answers
	warnings []string         // of every launch
	nextPID  int
	// What a former server left: the first refused adoptions fail, rest has the
	// children of which something is left after the leader.
	refused, adoptions int
	rest               map[string]bool
	ended, found       []spec.Found
	tidied, witnessed  bool
	doubles            int // starts of a child that had a live process
	configured         map[string]*spec.Child
	begun              func() // called after each start, if it is set
}

func newFakeRuntime() *fakeRuntime {
	return &fakeRuntime{configured: map[string]*spec.Child{}, live: map[string]spec.Identity{}, ignores: map[string]bool{}, frozen: map[string]bool{}, failures: map[string]error{}, nextPID: 100}
}

func (f *fakeRuntime) Start(c *spec.Child, incarnation uint64) (spec.Launch, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.begun != nil {
		defer f.begun()
	}
	f.starts = append(f.starts, c.Name)
	if err := f.failures[c.Name]; err != nil {
		return spec.Launch{}, err
	}
	if _, double := f.live[c.Name]; double {
		f.doubles++
	}
	f.nextPID++
	id := spec.Identity{PID: f.nextPID, Incarnation: incarnation, BootID: "boot"}
	f.live[c.Name] = id
	return spec.Launch{Identity: id, Warnings: f.warnings}, nil
}

func (f *fakeRuntime) Adopt(child string, l spec.Launch) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.adoptions++
	if f.adoptions <= f.refused {
		return unix.EMFILE
	}
	if f.live[child].PID != l.Identity.PID {
		return spec.ErrGone
	}
	return nil
}

func (f *fakeRuntime) AdoptRest(child string, l spec.Launch) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.rest[child] {
		return spec.ErrGone
	}
	return nil
}

func (f *fakeRuntime) ExitOf(l spec.Launch) spec.Exit {
	for _, e := range f.ended {
		id := e.Launch.Identity
		if id.PID == l.Identity.PID && id.StartTicks == l.Identity.StartTicks {
			return *e.Exit
		}
	}
	return spec.Exit{At: time.Now()}
}

func (f *fakeRuntime) Ended() ([]spec.Found, error) { return f.ended, nil }

func (f *fakeRuntime) Found() ([]spec.Found, error) { return f.found, nil }

func (f *fakeRuntime) Witnessed() bool { return f.witnessed }

func (f *fakeRuntime) Tidy() { f.tidied = true }

func (f *fakeRuntime) Signal(child string, incarnation uint64, sigs ...spec.Signal) error {
	for _, sig := range sigs {
		f.signal(child, incarnation, sig)
	}
	return nil
}

func (f *fakeRuntime) signal(child string, incarnation uint64, sig spec.Signal) {
	f.mu.Lock()
	id, ok := f.live[child]
	deadly := sig == spec.Signal(unix.SIGKILL) || sig == spec.Signal(unix.SIGTERM) && !f.ignores[child]
	if !ok || id.Incarnation != incarnation || !deadly || f.frozen[child] {
		f.mu.Unlock()
		return
	}
	delete(f.live, child)
	f.mu.Unlock()
	f.sink.Exited(child, incarnation, spec.Exit{Known: true, Signal: sig, At: time.Now()}, true)
}

func (f *fakeRuntime) Survivors(child string, _ uint64) []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if id, ok := f.live[child]; ok {
		return []int{id.PID}
	}
	return nil
}

func (f *fakeRuntime) Configure(c *spec.Child) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.configured[c.Name] = c
}

// configuredAs is the child that the runtime was last told of.
func (f *fakeRuntime) configuredAs(child string) *spec.Child {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.configured[child]
}

// exit ends a child by itself.
func (f *fakeRuntime) exit(child string, code int) {
	f.mu.Lock()
	id := f.live[child]
	delete(f.live, child)
	f.mu.Unlock()
	f.sink.Exited(child, id.Incarnation, spec.Exit{Known: true, Code: code, At: time.Now()}, true)
}

func (f *fakeRuntime) started() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.starts)
}

func (f *fakeRuntime) pid(child string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.live[child].PID
}

// quietObserver is an Observer that only counts what is stale.
type quietObserver struct{}

func (quietObserver) PassDone(time.Duration)         {}
func (quietObserver) StaleFact()                     {}
func (quietObserver) Started(string, string)         {}
func (quietObserver) Exited(string, spec.Exit, bool) {}
func (quietObserver) HookDone(string, bool)          {}
func (quietObserver) Forgotten(string)               {}

// fakeHistory is a History in memory. It knows what servers before have added.
type fakeHistory struct {
	mu     sync.Mutex
	events []spec.Event // guarded by mu
}

func (h *fakeHistory) Add(events ...spec.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, events...)
}

func (h *fakeHistory) AddOnce(e spec.Event) {
	known := slices.ContainsFunc(h.of(e.Child), func(k spec.Event) bool { return k.Type == e.Type && k.Incarnation == e.Incarnation })
	if !known {
		h.Add(e)
	}
}

// of are the events of a child, "" for those of the server.
func (h *fakeHistory) of(child string) []spec.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(h.events), func(e spec.Event) bool { return e.Child != child })
}

// world is one load path, one state directory, and the servers over them.
type world struct {
	t      testing.TB
	dir    string
	boot   string
	server string // server.yml without its loadpaths
	// loadpath is the one of server.yml; empty is that of dir in full.
	loadpath string
	runtime  *fakeRuntime
	past     *fakeHistory
	*Reconciler
	store *store.Store
	files *store.FilesSeen // what the version before could not save
}

func newWorld(t testing.TB, server string, files map[string]string) *world {
	w := &world{t: t, dir: t.TempDir(), boot: "boot", server: server, runtime: newFakeRuntime(), past: &fakeHistory{}}
	if err := os.Mkdir(filepath.Join(w.dir, "children"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		w.write(name, text)
	}
	return w
}

func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, "children", name+".yml"), []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// serve begins a server; the former one must have been left or killed.
func (w *world) serve() error {
	w.t.Helper()
	file := filepath.Join(w.dir, "server.yml")
	text := fmt.Sprintf("loadpaths: [%q]\n%s", cmp.Or(w.loadpath, filepath.Join(w.dir, "children")), w.server)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	server, err := spec.LoadServer(file)
	if err != nil {
		w.t.Fatal(err)
	}
	logger := slog.New(slog.DiscardHandler)
	w.store, err = store.Open(store.Options{StateDir: filepath.Join(w.dir, "state"), RunDir: filepath.Join(w.dir, "run"),
		BootID: w.boot, Files: w.files, Logger: logger})
	if err != nil {
		w.t.Fatal(err)
	}
	w.Reconciler = New(Options{Settings: NewSettings(server), Catalogue: spec.NewCatalogue(), Store: w.store,
		Observer: quietObserver{}, History: w.past, Logger: logger})
	w.runtime.sink = w.Reconciler
	w.t.Cleanup(w.leave)
	return w.Reconciler.Start(w.runtime)
}

func (w *world) mustServe() {
	w.t.Helper()
	if err := w.serve(); err != nil {
		w.t.Fatal(err)
	}
	w.until("ready", func() bool { return w.Ready() == nil })
}

// leave ends the server and lets the processes live.
func (w *world) leave() {
	if w.Reconciler == nil {
		return
	}
	w.Reconciler.Stop()
	_ = w.store.Close()
	w.Reconciler = nil
}

// upgrade ends the server for one that goes on in its place.
func (w *world) upgrade() {
	w.t.Helper()
	st := w.store
	w.leave()
	w.files = st.UnsavedFiles()
	w.mustServe()
	w.files = nil
}

// do carries out a command and returns its refusal's code, "" for success.
func (w *world) do(verb spec.Verb, child string) spec.Code {
	w.t.Helper()
	_, err := w.Do(w.t.Context(), spec.Command{Verb: verb, Child: child, By: "test"})
	var refusal *spec.Refusal
	if errors.As(err, &refusal) {
		return refusal.Code
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return ""
}

func (w *world) want(verb spec.Verb, child string, code spec.Code) {
	w.t.Helper()
	if got := w.do(verb, child); got != code {
		w.t.Fatalf("%s %s: got %q, want %q", verb, child, got, code)
	}
}

func (w *world) phase(child string) spec.Phase {
	v, _ := w.Get(child)
	return v.Status.Phase
}

// until waits for a condition, looking again at every change of any child.
func (w *world) until(what string, done func() bool) {
	w.t.Helper()
	deadline := time.After(60 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			w.t.Fatalf("never came: %s; children: %+v", what, w.List())
		}
	}
}
