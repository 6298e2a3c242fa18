package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// faulty is a table's output that fails, or whose writer is killed, in the midst
// of a write.
type faulty struct {
	output
	plan *faults
}

// faults are what a faulty output does.
type faults struct {
	// fail is how many writes pass before one fails; negative: none fails.
	fail int
	// kill is how many bytes are written before the writer is killed; negative:
	// it is not.
	kill int
	// part is how much of the write that fails is done.
	part int
}

var (
	errFaulty = errors.New("no space left")
	errKilled = errors.New("killed")
)

func (f faulty) WriteAt(b []byte, at int64) (int, error) {
	p := f.plan
	if p.kill >= 0 {
		if len(b) > p.kill {
			_, _ = f.output.WriteAt(b[:p.kill], at)
			p.kill = 0
			panic(errKilled)
		}
		p.kill -= len(b)
	}
	if p.fail--; p.fail == -1 {
		n := min(p.part, len(b)-1)
		_, _ = f.output.WriteAt(b[:n], at)
		return n, errFaulty
	}
	return f.output.WriteAt(b, at)
}

func (f faulty) Truncate(size int64) error {
	if f.plan.kill == 0 {
		panic(errKilled)
	}
	return f.output.Truncate(size)
}

// model is what a store must have in force.
type model struct {
	random *rand.Rand
	// sure is what was saved last. maybe has what failed since, which may be in
	// force too; "" is a removal.
	sure  map[string]string
	maybe map[string][]string
}

// step saves or removes something. killed: the writer was.
func (m *model) step(s *Store, longest int) (killed bool) {
	defer func() {
		if p := recover(); p != nil {
			if p != errKilled {
				panic(p)
			}
			killed = true
			s.factsMu.TryLock() // whether the panic left it locked or not
			s.factsMu.Unlock()
		}
	}()
	name := fmt.Sprintf("child %d", m.random.IntN(10))
	value, do := "", func() error { return s.RemoveFacts(name) }
	if m.random.IntN(5) > 0 {
		value = fmt.Sprintf(`"%d%s"`, m.random.Uint32(), strings.Repeat("x", m.random.IntN(longest)))
		do = func() error { return s.SaveState(name, appended(value)) }
	}
	m.maybe[name] = append(m.maybe[name], value)
	if do() == nil {
		m.sure[name] = value
		delete(m.maybe, name)
	}
	if m.random.IntN(4) == 0 {
		s.Rest()
	}
	return false
}

// check compares what a new server reads.
func (m *model) check(facts map[string]Facts) error {
	for i := range 10 {
		name := fmt.Sprintf("child %d", i)
		got := string(facts[name].Data)
		ok := got == m.sure[name]
		for _, value := range m.maybe[name] {
			ok = ok || got == value
		}
		if !ok {
			return fmt.Errorf("%s has %.30q, want %.30q, or one of %d that failed", name, got, m.sure[name], len(m.maybe[name]))
		}
		m.sure[name] = got
	}
	m.maybe = map[string][]string{}
	return nil
}

// TestFaultsLeaveWhatWasInForce has writes fail, and writers killed, at any byte.
func TestFaultsLeaveWhatWasInForce(t *testing.T) {
	for seed := range uint64(60) {
		d := newDirs(t)
		random := rand.New(rand.NewPCG(seed, 77))
		m := &model{random: random, sure: map[string]string{}, maybe: map[string][]string{}}
		longest := []int{100, 1200, 3000, 9000}[random.IntN(4)]
		for life := range 12 {
			plan := &faults{fail: -1, kill: -1}
			s := d.open(t, "1")
			s.table.wrap = func(o output) output { return faulty{o, plan} }
			facts, errs := s.Facts()
			for _, err := range errs {
				if !strings.Contains(err.Error(), "not written to the end") {
					t.Fatalf("seed %d, life %d: %v", seed, life, err)
				}
			}
			if err := m.check(facts); err != nil {
				t.Fatalf("seed %d, life %d: %v", seed, life, err)
			}
			steps, ends := 1+random.IntN(60), random.IntN(3) > 0
			for step, killed := 0, false; step < steps && !killed; step++ {
				*plan = faults{fail: -1, kill: -1, part: random.IntN(2000)}
				if ends && step == steps-1 {
					plan.kill = random.IntN(4000)
				} else if random.IntN(6) == 0 {
					plan.fail = random.IntN(3)
				}
				killed = m.step(s, longest)
			}
			*plan = faults{fail: -1, kill: -1}
			mustClose(t, s)
		}
	}
}

// A removal that fails half-way must not bring back what was so before.
func TestFailedRemovalLeavesWhatWasInForce(t *testing.T) {
	for passed := range 2 {
		d := newDirs(t)
		s := d.open(t, "1")
		plan := &faults{fail: -1, kill: -1}
		s.table.wrap = func(o output) output { return faulty{o, plan} }
		mustSave(t, s, "web", `"older"`)
		mustSave(t, s, "web", `"newer"`)
		plan.fail = passed
		if err := s.RemoveFacts("web"); !errors.Is(err, errFaulty) {
			t.Fatalf("removed: %v", err)
		}
		next := table{dir: s.table.dir, boot: "1"}
		facts, _, err := next.load()
		next.close()
		if !bytes.Equal(facts["web"], []byte(`"newer"`)) || err != nil {
			t.Errorf("after %d writes the next server reads %q, %v", passed, facts, err)
		}
		if err := s.RemoveFacts("web"); err != nil {
			t.Fatal(err)
		}
		mustClose(t, s)
		if got, errs := d.read(t, "1"); len(got) != 0 || errs != nil {
			t.Errorf("read %v, %v after the removal", got, errs)
		}
	}
}
