package controltest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"kita/spec"
)

// Service is a control.Service in memory. Its children start and stop at once,
// and what a test sets in the exported fields, before it is used, comes first.
type Service struct {
	// InfoValue is what Info returns; Running is filled in.
	InfoValue spec.Info
	// DoFunc, when set, answers Do instead.
	DoFunc func(context.Context, spec.Command) (spec.Outcome, error)
	// ResumeFunc answers Resume; without it what is pending is done.
	ResumeFunc func(context.Context, spec.Pending) (spec.Outcome, error)
	// WatchFunc, when set, answers Watch instead.
	WatchFunc func(context.Context) <-chan spec.Change
	// LogsFunc, when set, answers Logs instead.
	LogsFunc func(context.Context, spec.LogRequest, func(child string) bool, func(spec.LogChunk) error) error
	// EventsFunc, when set, answers Events instead.
	EventsFunc func(context.Context, spec.EventRequest, func(child string) bool, func([]spec.Event) error) error
	// MaxChunk is the most bytes that Logs sends at once; 0 means 64 KiB.
	MaxChunk int
	// OutputFiles is what Output returns of each child that is in it, besides the
	// files that Write has made.
	OutputFiles map[string][]spec.OutputFile
	// RotateFunc, when set, answers Rotate instead.
	RotateFunc func(ctx context.Context, name string) ([]spec.Archive, error)
	// UsageFunc answers Usage of a child that runs; nil is a usage of its PID's
	// seconds and mebibytes.
	UsageFunc func(spec.View) spec.ChildUsage
	// EndedChan is what Ended returns; nil is never closed.
	EndedChan chan struct{}
	// ReadyErr, Checked and Problems are what Ready and Validate return.
	ReadyErr error
	Checked  int
	Problems []string

	mu       sync.Mutex
	children map[string]*spec.View // owned by mu
	commands []spec.Command        // owned by mu
	kills    []string              // owned by mu
	killed   chan struct{}         // closed by the first Kill
	files    []*file               // owned by mu
	wrote    chan struct{}         // owned by mu: closed, and made anew, by each Write
	asked    []spec.LogRequest     // owned by mu
	rotated  []string              // owned by mu
	history  []spec.Event          // owned by mu
	// wants are the requests that Events was called with. Owned by mu.
	wants []spec.EventRequest
}

// New returns a service with these children, none of which runs.
func New(children ...*spec.Child) *Service {
	s := &Service{children: map[string]*spec.View{}, killed: make(chan struct{}), wrote: make(chan struct{})}
	for _, c := range children {
		s.children[c.Name] = &spec.View{
			Name: c.Name, Spec: c,
			Desired: spec.Desired{Run: spec.Stopped},
			Status:  spec.Status{Phase: spec.PhaseStopped, Since: Started},
		}
	}
	return s
}

// Started is the time everything in the fake happens at.
var Started = time.Date(2026, 1, 31, 2, 11, 11, 0, time.UTC)

// Child makes a child with a command and nothing else.
func Child(name string) *spec.Child {
	return &spec.Child{
		Name: name, File: "/srv/children/" + name + ".yml", LoadPath: "/srv/children",
		CommandLine: "/bin/sleep 1000", Command: []string{"/bin/sleep", "1000"}, Dir: "/srv/children",
		Stop:    spec.Stop{Signal: 15, Grace: spec.Duration(10 * time.Second)},
		Restart: spec.Restart{Policy: spec.Never, Backoff: spec.Backoff{Initial: spec.Duration(time.Second), Max: spec.Duration(time.Minute), Factor: 2}},
		Hash:    "h-" + name,
	}
}

// Commands are the commands Do was called with, in order.
func (s *Service) Commands() []spec.Command {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.commands)
}

// Kills are the askers of each Kill.
func (s *Service) Kills() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.kills)
}

// Killed is closed by the first Kill.
func (s *Service) Killed() <-chan struct{} { return s.killed }

// SetRunning makes the child's process pid live.
func (s *Service) SetRunning(name string, pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	run(s.children[name], pid)
}

func run(v *spec.View, pid int) {
	v.Desired.Run = spec.Running
	v.Status.Phase = spec.PhaseRunning
	v.Status.Starts++
	v.Status.Process = &spec.Process{PID: pid, Incarnation: v.Status.Starts, StartedAt: Started, Config: v.Spec}
}

func (s *Service) Do(ctx context.Context, c spec.Command) (spec.Outcome, error) {
	s.mu.Lock()
	s.commands = append(s.commands, c)
	s.mu.Unlock()
	if s.DoFunc != nil {
		return s.DoFunc(ctx, c)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Child == spec.All {
		return s.doAll(c), nil
	}
	v := s.children[c.Child]
	if v == nil && c.Verb != spec.VerbStop {
		return spec.Outcome{}, spec.Refuse(spec.NotFound, c.Verb, c.Child, "%s %s: no file of that name in the load paths", c.Verb, c.Child)
	}
	if v == nil || !v.Status.Alive() && (c.Verb == spec.VerbStop || c.Verb == spec.VerbRestart) {
		return spec.Outcome{}, spec.Refuse(spec.NotRunning, c.Verb, c.Child, "%s %s: it does not run", c.Verb, c.Child)
	}
	if v.Status.Alive() && c.IfChanged {
		return spec.Outcome{Verb: c.Verb, Child: c.Child, Generation: v.Desired.Generation, WasRunning: true, Unchanged: true, Status: v.Status}, nil
	}
	if v.Status.Alive() && c.Verb == spec.VerbStart {
		return spec.Outcome{}, spec.Refuse(spec.AlreadyRunning, c.Verb, c.Child, "start %s: it runs already", c.Child)
	}
	return apply(v, c), nil
}

// doAll carries out a command on those that it is for. mu is held.
func (s *Service) doAll(c spec.Command) spec.Outcome {
	out := spec.Outcome{Verb: c.Verb, Child: c.Child}
	for _, name := range slices.Sorted(maps.Keys(s.children)) {
		v := s.children[name]
		part := spec.Part{Child: name, Generation: v.Desired.Generation}
		switch alive := v.Status.Alive(); {
		case alive && c.IfChanged:
			part.Unchanged, part.Incarnation = true, v.Status.Process.Incarnation
		case !alive && c.IfChanged && v.Desired.Run == spec.Stopped:
			out.LeftStopped = append(out.LeftStopped, name)
			continue
		case alive == (c.Verb == spec.VerbStart) && c.Verb != spec.VerbTrystart:
			continue
		default:
			part.Generation = apply(v, c).Generation
		}
		out.Children = append(out.Children, part)
	}
	return out
}

// Resume answers at once, unless there is a ResumeFunc.
func (s *Service) Resume(ctx context.Context, p spec.Pending) (spec.Outcome, error) {
	if s.ResumeFunc != nil {
		return s.ResumeFunc(ctx, p)
	}
	c := p.Command
	return spec.Outcome{Verb: c.Verb, Child: c.Child, Generation: p.Generation, WasRunning: p.WasRunning, Note: p.Note}, nil
}

// apply carries out a command that is not refused.
func apply(v *spec.View, c spec.Command) spec.Outcome {
	out := spec.Outcome{Verb: c.Verb, Child: c.Child, WasRunning: v.Status.Alive()}
	v.Desired.Generation++
	if c.Verb == spec.VerbStop {
		halt(v)
	} else {
		run(v, 100+int(v.Desired.Generation))
		out.Prehook, out.Repeat = v.Spec.Prehook, v.Spec.Repeat
	}
	if out.WasRunning && c.Verb != spec.VerbRestart {
		out.Posthook = v.Spec.Posthook
	}
	v.Status.ObservedGeneration = v.Desired.Generation
	out.Generation, out.Status = v.Desired.Generation, v.Status
	return out
}

func halt(v *spec.View) {
	v.Desired.Run = spec.Stopped
	v.Status.Phase = spec.PhaseStopped
	v.Status.Process = nil
}

func (s *Service) List() []spec.View {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []spec.View
	for _, v := range s.children {
		list = append(list, *v)
	}
	slices.SortFunc(list, func(a, b spec.View) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func (s *Service) Get(name string) (spec.View, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.children[name]
	if v == nil {
		return spec.View{}, false
	}
	return *v, true
}

func (s *Service) Info() spec.Info {
	i := s.InfoValue
	i.Running = nil
	for _, v := range s.List() {
		if v.Status.Alive() {
			i.Running = append(i.Running, v.Name)
		}
	}
	return i
}

func (s *Service) Usage(names []string) []spec.ChildUsage {
	var usages []spec.ChildUsage
	for _, v := range s.List() {
		if !v.Status.Alive() || names != nil && !slices.Contains(names, v.Name) {
			continue
		}
		pid := v.Status.Process.PID
		u := spec.ChildUsage{Name: v.Name, CPUSeconds: float64(pid), MemoryBytes: uint64(pid) << 20, Processes: 1, SampledAt: Started}
		if s.UsageFunc != nil {
			u = s.UsageFunc(v)
		}
		u.Name, u.Incarnation = v.Name, v.Status.Process.Incarnation
		usages = append(usages, u)
	}
	return usages
}

// Watch sends what there is, a Synced, and nothing more.
func (s *Service) Watch(ctx context.Context) <-chan spec.Change {
	if s.WatchFunc != nil {
		return s.WatchFunc(ctx)
	}
	changes := make(chan spec.Change)
	go func() {
		defer close(changes)
		list := []spec.Change{}
		for _, v := range s.List() {
			list = append(list, spec.Change{Type: spec.Present, View: v})
		}
		for _, c := range append(list, spec.Change{Type: spec.Synced}) {
			select {
			case changes <- c:
			case <-ctx.Done():
				return
			}
		}
		<-ctx.Done()
	}()
	return changes
}

func (s *Service) Validate() (checked int, problems []string) { return s.Checked, s.Problems }

func (s *Service) Ready() error { return s.ReadyErr }

func (s *Service) Ended() <-chan struct{} { return s.EndedChan }

func (s *Service) Kill(by string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kills = append(s.kills, by); len(s.kills) == 1 {
		close(s.killed)
	}
}
