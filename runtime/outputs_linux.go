package runtime

import (
	"errors"
	"log/slog"
	"os"
	"slices"
	"sync"

	"kita/runtime/output"
	"kita/runtime/pump"
	"kita/spec"
)

var errNoPump = errors.New("format, timestamps and prefix need a server with a run directory")

// outputs looks after what the runs write: the files, and the pump where there
// is one.
type outputs struct {
	sink Sink
	log  *slog.Logger
	// files is nil where nothing is kept: files are opened, and that is all.
	files *output.Manager
	// pump is nil where there is no run directory.
	pump *pump.Client
	// news tells the goroutine that follows the pump, until closing is closed.
	news    chan struct{}
	closing chan struct{}
	ending  sync.Once
	running sync.WaitGroup

	// telling is held while the sink is told, so that it is told in order. It is
	// taken before mu.
	telling sync.Mutex
	mu      sync.Mutex
	// live, guarded by mu, are the runs that are looked after; none are once closed.
	live map[run]*written
	// pumped, guarded by mu, are the streams that the pump has, by child: also those
	// of runs that have ended, until all is written.
	pumped map[string][]pump.Key
	// dropped, guarded by mu, are the lines that were left out of the streams
	// that are in pumped no more, by child and stream.
	dropped map[droppedFrom]uint64
}

type droppedFrom struct {
	child  string
	stream spec.StreamName
}

// written is what is known of the output of a run. It is guarded by outputs.mu.
type written struct {
	outs []spec.Output
	// child says how it is written; nil where that is not known yet.
	child *spec.Child
	// configured: the pump knows its streams from this server.
	configured bool
	// files and pumps are what is wrong, in words, told what the sink knows.
	files, pumps, told []string
}

func newOutputs(h *Host, o Options) *outputs {
	s := &outputs{
		sink: h.sink, log: h.log, live: map[run]*written{}, pumped: map[string][]pump.Key{}, dropped: map[droppedFrom]uint64{},
		news: make(chan struct{}, 1), closing: make(chan struct{}),
	}
	if o.RunDir != "" {
		s.pump = pump.New(pump.Options{RunDir: o.RunDir, Logger: h.log, Changed: s.pumpChanged, Ended: s.pumpEnded})
		if err := s.pump.Resume(); err != nil {
			h.log.Warn("the pump of the former server is not there for this one", "err", err)
		}
		s.running.Go(s.followPump)
	}
	if o.StateDir == "" {
		return s
	}
	var err error
	s.files, err = output.New(output.Options{
		StateDir: o.StateDir, Logger: h.log, Budget: o.Budget,
		Fault: s.filesFault, Owner: ownerFor, Reopened: s.reopened,
		Holders: func(child string, incarnation uint64) []int { return h.holders(run{child, incarnation}) },
	})
	if err != nil {
		h.log.Error("output files are not rotated", "err", err)
	}
	return s
}

// ownerFor is whose the output files of a child become; nil is the server's own.
func ownerFor(c *spec.Child) (*output.Owner, error) {
	as, err := resolveAccount(c)
	return ownerAs(as), err
}

func ownerAs(as *account) *output.Owner {
	cred := as.credential()
	if cred == nil || int(cred.Uid) == os.Geteuid() {
		return nil
	}
	return &output.Owner{UID: cred.Uid, GID: cred.Gid}
}

// prepare opens the files of a launch.
func (s *outputs) prepare(c *spec.Child, as *account) (*output.Prepared, error) {
	if s.files == nil {
		return output.Open(c, ownerAs(as))
	}
	return s.files.Prepare(c, ownerAs(as))
}

// attach looks after the output of a run from now on; c may be nil, until
// configure has it.
func (s *outputs) attach(child string, l spec.Launch, c *spec.Child) {
	if len(l.Outputs) == 0 {
		return
	}
	r := run{child, l.Identity.Incarnation}
	s.forgetEnded(child)
	s.mu.Lock()
	for _, o := range l.Outputs {
		for name := range o.FIFOs {
			s.pumped[child] = append(s.pumped[child], r.key(name))
		}
	}
	s.live[r] = &written{outs: l.Outputs, child: c, configured: c != nil}
	s.mu.Unlock()
	if s.files != nil {
		s.files.Attach(child, l.Identity, c, l.Outputs)
	}
}

// forgetEnded forgets streams of former runs of a child whose end the pump could
// not tell.
func (s *outputs) forgetEnded(child string) {
	for _, k := range s.pumpedStreams(child) {
		if _, known := s.pump.StatsOf(k); !known {
			s.pumpEnded(k, pump.Stats{})
		}
	}
}

// key is how the pump calls a stream of a run.
func (r run) key(name spec.StreamName) pump.Key {
	return pump.Key{Child: r.child, Incarnation: r.incarnation, Stream: name}
}

// holders are the processes that may have the output of a run open, but for its
// leader.
func (h *Host) holders(r run) []int {
	pids := h.Survivors(r.child, r.incarnation)
	if h.outputs.pump != nil {
		if pid := h.outputs.pump.PID(); pid != 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// attached tells whether a run has output that is looked after.
func (s *outputs) attached(r run) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.live[r]
	return known
}

// detach ends it: nothing of the run is left.
func (s *outputs) detach(r run) {
	s.mu.Lock()
	_, known := s.live[r]
	delete(s.live, r)
	s.mu.Unlock()
	if known && s.files != nil {
		s.files.Detach(r.child, r.incarnation)
	}
}

// configure applies what a child's file says now to its live runs. How those are
// pumped that were adopted is known only now.
func (s *outputs) configure(c *spec.Child) {
	if s.files == nil {
		return
	}
	s.files.Configure(c)
	for r, w := range s.adopted(c) {
		for _, o := range w.outs {
			s.pumpAgain(r, c, o)
		}
	}
}

// adopted returns the pumped runs of a child of which it was not known how they
// are pumped, once.
func (s *outputs) adopted(c *spec.Child) map[run]*written {
	s.mu.Lock()
	defer s.mu.Unlock()
	runs := map[run]*written{}
	for _, k := range s.pumped[c.Name] {
		r := run{k.Child, k.Incarnation}
		if w := s.live[r]; w != nil && !w.configured {
			w.configured, w.child = true, c
			runs[r] = w
		}
	}
	return runs
}

// pumpAgain has the streams of an adopted run's file pumped, if the pump died
// together with the former server.
func (s *outputs) pumpAgain(r run, c *spec.Child, o spec.Output) {
	missing := s.pump != nil && slices.ContainsFunc(o.Streams, func(name spec.StreamName) bool {
		_, known := s.pump.StatsOf(r.key(name))
		return o.FIFOs[name] != "" && !known
	})
	if !missing {
		return
	}
	fd, err := output.Reopen(o)
	if err == nil {
		err = s.attachPump(r, c, o, os.NewFile(uintptr(fd), o.Path))
	}
	if err != nil && !errors.Is(err, pump.ErrEnded) {
		s.log.Error("what a child writes is not taken", "child", r.child, "incarnation", r.incarnation, "path", o.Path, "err", err)
	}
}

// attachPump has the pump write the streams of an output to file, which it
// closes.
func (s *outputs) attachPump(r run, c *spec.Child, o spec.Output, file *os.File) error {
	defer file.Close()
	for name, fifo := range o.FIFOs {
		stream := spec.Stream{Format: spec.Text}
		if now := c.Stream(name); now != nil && now.Format != "" {
			stream = *now
		}
		if err := s.pump.Attach(r.key(name), pumped(&stream, fifo, file)); err != nil {
			return err
		}
	}
	return nil
}

// reopened gives the pump the file at an output's path, fd, in the place of one
// that is not there any more.
func (s *outputs) reopened(child string, incarnation uint64, o spec.Output, fd int) bool {
	if s.pump == nil {
		return false
	}
	file, err := duplicate(fd, o.Path)
	if err != nil {
		return false
	}
	defer file.Close()
	for name := range o.FIFOs {
		err = errors.Join(err, s.pump.Redirect(run{child, incarnation}.key(name), file))
	}
	if err != nil {
		s.log.Warn("the pump did not take the new file", "child", child, "incarnation", incarnation, "path", o.Path, "err", err)
	}
	return err == nil
}

// filesFault is told by the Manager what is wrong with the files of a run.
func (s *outputs) filesFault(child string, incarnation uint64, lines []string) {
	s.tell(run{child, incarnation}, func(w *written) { w.files = lines })
}

// pumpChanged is told by the pump's client that there is news of a stream.
func (s *outputs) pumpChanged(pump.Key) {
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// followPump tells what is wrong with the pumped streams. It is a goroutine.
func (s *outputs) followPump() {
	for {
		select {
		case <-s.closing:
			return
		case <-s.news:
		}
		faults := map[run][]string{}
		for k, stats := range s.pump.Stats() {
			if stats.Fault == "" {
				continue
			}
			r := run{k.Child, k.Incarnation}
			if fault := s.pumpFault(r, k.Stream, stats.Fault); !slices.Contains(faults[r], fault) {
				faults[r] = append(faults[r], fault)
			}
		}
		for r := range s.pumpedRuns() {
			lines := faults[r]
			slices.Sort(lines)
			s.tell(r, func(w *written) { w.pumps = lines })
		}
	}
}

// pumpFault is what is wrong with a pumped stream, with the file it goes to.
func (s *outputs) pumpFault(r run, name spec.StreamName, fault string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.live[r]
	if w == nil {
		return fault
	}
	for _, o := range w.outs {
		if slices.Contains(o.Streams, name) {
			return "write " + o.Path + ": " + fault
		}
	}
	return fault
}

// pumpedRuns are the runs that have a pumped stream.
func (s *outputs) pumpedRuns() map[run]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	runs := map[run]bool{}
	for _, keys := range s.pumped {
		for _, k := range keys {
			runs[run{k.Child, k.Incarnation}] = true
		}
	}
	return runs
}

// pumpedStreams are the streams of a child that the pump has.
func (s *outputs) pumpedStreams(child string) []pump.Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.pumped[child])
}

// pumpEnded is told what became of a stream in the end.
func (s *outputs) pumpEnded(k pump.Key, stats pump.Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pumped[k.Child] = slices.DeleteFunc(s.pumped[k.Child], func(other pump.Key) bool { return other == k })
	if len(s.pumped[k.Child]) == 0 {
		delete(s.pumped, k.Child)
	}
	if stats.Dropped > 0 {
		s.dropped[droppedFrom{k.Child, k.Stream}] += stats.Dropped
	}
}

// tell changes what is known to be wrong with a run's output, and tells the sink
// what that makes.
func (s *outputs) tell(r run, change func(*written)) {
	s.telling.Lock()
	defer s.telling.Unlock()
	s.mu.Lock()
	w := s.live[r]
	if w == nil {
		s.mu.Unlock()
		return
	}
	change(w)
	lines := append(slices.Clone(w.files), w.pumps...)
	news := !slices.Equal(lines, w.told)
	w.told = lines
	s.mu.Unlock()
	if news {
		s.sink.OutputFault(r.child, r.incarnation, lines)
	}
}

// close ends it all; the pump goes on. The sink is told nothing after it. The
// second time it does nothing.
func (s *outputs) close() {
	s.ending.Do(func() {
		close(s.closing)
		s.running.Wait()
		if s.files != nil {
			s.files.Close()
		}
		if s.pump != nil {
			s.pump.Close()
		}
		s.telling.Lock()
		defer s.telling.Unlock()
		s.mu.Lock()
		defer s.mu.Unlock()
		clear(s.live)
		clear(s.pumped)
	})
}

// RenewPump has another pump take over where somebody has removed the files by which
// a later server would find this one.
func (h *Host) RenewPump() {
	if h.outputs.pump != nil {
		h.outputs.pump.Renew()
	}
}
