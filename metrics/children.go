package metrics

import (
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kita/spec"
)

// Children gives what is known of every child now.
type Children interface {
	List() []spec.View
}

// Processes gives what a live process has used so far. An error means that
// there is no such process any more.
type Processes interface {
	Usage(pid int) (spec.Usage, error)
}

// usageReaders bounds the reads of /proc that go on at once, over all scrapes:
// enough to hide what a read waits for, too few to be felt by the children.
const usageReaders = 4

// reading is what one scrape has read.
type reading struct {
	children   []child // by name
	counts     []labelled
	staleFacts uint64
	// mem and stat are read when the first family asks for them.
	mem  *runtime.MemStats
	stat []string
}

// child is one of a scrape.
type child struct {
	name, label string
	view        *spec.View
	usage       *spec.Usage // nil where no process is alive
	streams     []stream
}

// read looks at everything that a page is about.
func (m *Metrics) read() *reading {
	s := &reading{}
	s.counts, s.staleFacts = m.counts.all()
	if m.o.Children == nil {
		return s
	}
	views := m.o.Children.List()
	s.children = make([]child, len(views))
	for i := range views {
		s.children[i] = child{name: spec.LabelValue(views[i].Name), view: &views[i]}
	}
	byName := func(a, b child) int { return strings.Compare(a.name, b.name) }
	if !slices.IsSortedFunc(s.children, byName) {
		slices.SortStableFunc(s.children, byName)
	}
	// Two names that are not text can look alike: the second would be another
	// value of the same series.
	s.children = slices.CompactFunc(s.children, func(a, b child) bool { return a.name == b.name })
	for i := range s.children {
		s.children[i].label = label("child", s.children[i].name)
	}
	m.readUsage(s.children)
	if m.o.Outputs != nil {
		for i := range s.children {
			s.children[i].streams = streamsOf(m.o.Outputs.Output(*s.children[i].view))
		}
	}
	return s
}

// readUsage reads the usage of each child's process.
func (m *Metrics) readUsage(children []child) {
	if m.o.Processes == nil {
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(usageReaders, len(children)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(children); i = int(next.Add(1)) - 1 {
				children[i].usage = m.usageOf(children[i].view.Status.Process)
			}
		})
	}
	wg.Wait()
}

func (m *Metrics) usageOf(p *spec.Process) *spec.Usage {
	if p == nil || p.PID <= 0 {
		return nil
	}
	m.readers <- struct{}{}
	defer func() { <-m.readers }()
	u, err := m.o.Processes.Usage(p.PID)
	if err != nil {
		return nil // it ended since the view was taken
	}
	return &u
}

// childFamilies are those of the children.
func childFamilies(o Options) []*family {
	if o.Children == nil {
		return nil
	}
	families := []*family{
		ofViews("up", gauge, "1 when a process of the child is alive, 0 otherwise.", func(v *spec.View) float64 { return boolean(v.Status.Alive()) }),
		ofViews("wanted", gauge, "1 when the child is wanted to run, 0 otherwise.", func(v *spec.View) float64 { return boolean(v.Desired.Run == spec.Running) }),
		ofViews("start_limit_reached", gauge, "1 when the child is not started again because it was started too often, 0 otherwise.", func(v *spec.View) float64 { return boolean(startLimitReached(v)) }),
		{"kita_child_phase", gauge, "1 for the phase the child is in, 0 for the others.", writePhases},
		ofViews("starts_total", counter, "Processes of the child that were launched, as its status counts them.", func(v *spec.View) float64 { return float64(v.Status.Starts) }),
		{"kita_child_last_start_timestamp_seconds", gauge, "When the live process of the child was started, since the epoch.", writeLastStarts},
		ofViews("config_stale", gauge, "1 when the file has by now what only a new start of the live process puts in force.", func(v *spec.View) float64 { return boolean(v.Stale) }),
		ofViews("file_invalid", gauge, "1 when the file of the child is not valid now, 0 otherwise.", func(v *spec.View) float64 { return boolean(v.FileError != "") }),
		ofViews("stop_failed", gauge, "1 when processes of the child are left although they were killed, 0 otherwise.", func(v *spec.View) float64 {
			return boolean(v.Status.Failure != nil && v.Status.Failure.Code == spec.NotStopped)
		}),
		ofViews("warnings", gauge, "Warnings in the status of the child: what it asked for and the machine cannot give, what is wrong with its output files, and what could not be saved.", func(v *spec.View) float64 { return float64(len(v.Status.Warnings)) }),
		ofUsage("cpu_seconds_total", counter, "User and system time of the live process.", func(u *spec.Usage) float64 { return u.CPUSeconds }),
		ofUsage("resident_memory_bytes", gauge, "Resident memory of the live process.", func(u *spec.Usage) float64 { return float64(u.ResidentBytes) }),
		ofUsage("open_fds", gauge, "Open file descriptors of the live process.", func(u *spec.Usage) float64 { return float64(u.OpenFiles) }),
	}
	if o.Outputs != nil {
		families = append(families, outputFamilies()...)
	}
	return families
}

// ofViews is a family with a series for each child.
func ofViews(name string, kind kind, help string, value func(*spec.View) float64) *family {
	return &family{"kita_child_" + name, kind, help, func(p *page, s *reading) {
		for i := range s.children {
			p.value(value(s.children[i].view), s.children[i].label)
		}
	}}
}

// ofUsage is a family with a series for each child that has a live process.
func ofUsage(name string, kind kind, help string, value func(*spec.Usage) float64) *family {
	return &family{"kita_child_" + name, kind, help, func(p *page, s *reading) {
		for i := range s.children {
			if u := s.children[i].usage; u != nil {
				p.value(value(u), s.children[i].label)
			}
		}
	}}
}

// startLimitReached: nothing else makes a child fail that its policy starts again.
func startLimitReached(v *spec.View) bool {
	return v.Status.Phase == spec.PhaseFailed && v.Spec != nil && v.Spec.Restart.Policy != spec.Never && v.Spec.Restart.Limit.Starts > 0
}

func writePhases(p *page, s *reading) {
	phases := spec.Phases()
	slices.Sort(phases)
	for i := range s.children {
		c := &s.children[i]
		for _, phase := range phases {
			p.value(boolean(c.view.Status.Phase == phase), c.label, `,phase="`, string(phase), `"`)
		}
	}
}

func writeLastStarts(p *page, s *reading) {
	for i := range s.children {
		c := &s.children[i]
		if live := c.view.Status.Process; live != nil && !live.StartedAt.IsZero() {
			p.value(seconds(live.StartedAt), c.label)
		}
	}
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
