package chaos

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kita/spec"
)

// The children of most faults, told apart by the beginning of their names.
const (
	briefly  = "brief" // ends by itself again and again
	forever  = "ever"  // never ends
	ordered  = "cmd"   // lives until a command stops it
	repeated = "rep"   // is restarted by its repeat action
)

// backOff keeps the children starting.
const backOff = "restart: {policy: always, backoff: {initial: 10ms, max: 20ms}}\n"

// quickly bounds what an answer may take, on a machine that is not overloaded.
const quickly = time.Second

// watch asks, orders and measures beside a fault, and judges it.
type watch struct {
	in         *instance
	c          *trial
	mayUnknown bool
	mayCrash   bool

	cancel  context.CancelFunc
	stopped sync.WaitGroup

	// turn is held by whoever asks for the children and judges.
	turn    sync.Mutex
	ledger  *ledgerFile // turn
	history *history    // turn
	// final are the runs that were the latest when everything was stopped; nil
	// before that.
	final  map[string]uint64 // turn
	forgot []string          // turn: orders that did not hold

	orders *orders
	probe  *probe
	before [2]cost // the keeper's and the server's
	// resumed is the longest that the children took to start again; it belongs
	// to the goroutine of the test.
	resumed time.Duration
}

// watch begins. The instance must be ready.
func (in *instance) watch(t *testing.T, c *trial) *watch {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &watch{
		in: in, c: c, cancel: cancel,
		ledger: openLedger(in.path("work/ledger")), history: newHistory(),
		orders: newOrders(), probe: &probe{in: in},
	}
	w.observe()
	w.before = [2]cost{costOf(in.keeper()), costOf(in.server())}
	w.stopped.Go(func() { w.repeat(ctx, 150*time.Millisecond, w.observe) })
	w.stopped.Go(func() { w.repeat(ctx, 40*time.Millisecond, func() { w.orders.give(ctx, in) }) })
	w.stopped.Go(func() { w.probe.run(ctx) })
	t.Cleanup(w.stop)
	return w
}

// stop ends what runs beside the test.
func (w *watch) stop() {
	w.cancel()
	w.stopped.Wait()
}

func (w *watch) repeat(ctx context.Context, pause time.Duration, do func()) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do()
		}
	}
}

// observe asks for the children once. No answer is no fault here: the probe
// measures how long that lasts.
func (w *watch) observe() {
	w.turn.Lock()
	defer w.turn.Unlock()
	w.observeLocked()
}

func (w *watch) observeLocked() (answered bool) {
	given := w.orders.now()
	views, err := w.in.children(10 * time.Second)
	if err != nil {
		return false
	}
	w.history.add(views)
	// After the answer: what it tells of an end was written before.
	if err := w.ledger.catchUp(); err != nil {
		w.history.complain("%v", err)
	}
	for _, text := range w.orders.broken(given, views) {
		if len(w.forgot) < 20 {
			w.forgot = append(w.forgot, text)
		}
	}
	for _, v := range views {
		w.orders.know(v.Name)
	}
	return true
}

func (w *watch) rules() rules {
	return rules{
		final: w.final != nil, mayUnknown: w.mayUnknown, mayCrash: w.mayCrash,
		signalled: func(r run) bool {
			last, ending := w.final[r.child]
			return strings.HasPrefix(r.child, ordered) || strings.HasPrefix(r.child, repeated) || ending && r.incarnation >= last
		},
		lives: func(child string) bool { return strings.HasPrefix(child, forever) },
	}
}

// check judges what is known by now. It fails the test and says so.
func (w *watch) check(t *testing.T) (well bool) {
	t.Helper()
	w.turn.Lock()
	defer w.turn.Unlock()
	w.observeLocked()
	f := judge(w.ledger.ledger, w.history, w.rules())
	if !f.bad(w.rules()) && len(w.forgot) == 0 {
		return true
	}
	w.complain(t, f)
	return false
}

// checkAfter judges after fault i. Where there are very many, it does so after
// every tenth: records only accumulate, so that nothing passes unseen.
func (w *watch) checkAfter(t *testing.T, i int) (well bool) {
	t.Helper()
	return w.c.count > 200 && i%10 != 9 || w.check(t)
}

func (w *watch) complain(t *testing.T, f *findings) {
	t.Helper()
	t.Errorf("%d starts: %d doubles, %d lost, %d wrong, %d unknown, %d deaths, %d not asked for, %d orders not held:\n%s",
		f.starts, f.doubles, f.lost, f.wrong, f.unknown, f.deaths, f.unseen, len(w.forgot), strings.Join(append(f.details, w.forgot...), "\n"))
}

// finish stops everything, judges all that happened, and ends the instance.
func (w *watch) finish(t *testing.T) {
	t.Helper()
	w.stop()
	w.turn.Lock()
	defer w.turn.Unlock()
	if !w.in.eventually(patience, w.observeLocked) {
		t.Errorf("no answer at the end\n%s", w.in.logTail())
		return
	}
	after := w.settledCost()
	w.final = map[string]uint64{}
	for name, v := range w.history.views {
		w.final[name] = v.latest()
	}
	if !w.in.eventually(patience, func() bool {
		status, _, err := w.in.do("stop", "", 10*time.Second)
		return err == nil && status == 200
	}) {
		t.Errorf("the children cannot be stopped\n%s", w.in.logTail())
		return
	}
	w.orders.forget()
	if !w.in.eventually(patience, func() bool { return w.observeLocked() && w.allStopped() }) {
		t.Errorf("not all are stopped")
	}
	f := judge(w.ledger.ledger, w.history, w.rules())
	w.c.measure("%d starts, %d doubles, %d lost, %d wrong, %d unknown, %d deaths", f.starts, f.doubles, f.lost, f.wrong, f.unknown, f.deaths)
	if f.unseen > 0 {
		w.c.measure("%d exits not asked for in time", f.unseen)
	}
	if f.bad(w.rules()) || len(w.forgot) > 0 {
		w.complain(t, f)
	}
	w.c.measure("%d orders, %d not held", w.orders.acknowledged(), len(w.forgot))
	if w.resumed > 0 {
		w.c.measure("work resumed after %.1f s", w.resumed.Seconds())
		if w.resumed > 10*time.Second {
			t.Errorf("work resumed after %v only", w.resumed)
		}
	}
	w.judgeCost(t, after)
	w.probe.judge(t, w.c)
	w.in.end(t, w.c)
}

func (w *watch) allStopped() bool {
	for v := range maps.Values(w.history.views) {
		if v.alive() || v.Status.Phase == spec.PhaseStopping {
			return false
		}
	}
	return true
}

// settledCost is what keeper and server hold once the last answers are given,
// and after some time whatever they hold.
func (w *watch) settledCost() (after [2]cost) {
	w.in.eventually(3*time.Second, func() bool {
		after = [2]cost{costOf(w.in.keeper()), costOf(w.in.server())}
		return !after[0].above(w.before[0]) && !after[1].above(w.before[1])
	})
	return after
}

func (w *watch) judgeCost(t *testing.T, after [2]cost) {
	t.Helper()
	for i, who := range []string{"keeper", "server"} {
		was, is := w.before[i], after[i]
		if is.above(was) {
			t.Errorf("the %s had %v, and has %v", who, was, is)
		}
		w.c.measure("%s %v→%v", who, was, is)
	}
}

// end tells the instance to end and looks for what it leaves behind.
func (in *instance) end(t *testing.T, c *trial) {
	t.Helper()
	var zombies []int
	if !in.eventually(2*time.Second, func() bool {
		zombies = slices.Concat(zombiesOf(in.keeper()), zombiesOf(in.server()))
		return len(zombies) == 0
	}) {
		t.Errorf("zombies are left: %v", zombies)
	}
	c.measure("%d zombies", len(zombies))
	if status, no, err := in.do("kill", "", patience); err != nil || status/100 != 2 {
		t.Errorf("kill: %d %s %v", status, no.Detail, err)
		return
	}
	in.awaitEnd(t)
	if code := in.cmd.ProcessState.ExitCode(); code != 0 && !(in.admits && code == 1) {
		t.Errorf("the instance ended with %v", in.cmd.ProcessState)
	}
	in.judgeRest(t, c)
}

// judgeRest looks for processes and groups that an ended instance left.
func (in *instance) judgeRest(t *testing.T, c *trial) {
	t.Helper()
	left, err := endMarked(in.mark)
	if err != nil {
		t.Error(err)
	}
	groups := 0
	if in.pen != nil {
		for _, pid := range in.pen.pids() {
			left = append(left, cmdline(pid))
		}
		for _, dir := range in.pen.groups() {
			if dir != in.pen.dir {
				groups++
				t.Errorf("the control group %s is left", dir)
			}
		}
	}
	if len(left) > 0 {
		t.Errorf("%d processes are left: %s", len(left), strings.Join(left[:min(len(left), 10)], "; "))
	}
	c.measure("%d processes and %d groups left", len(left), groups)
}
