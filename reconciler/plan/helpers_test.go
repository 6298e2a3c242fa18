package plan

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	"kita/spec"
)

// epoch is where the tests' clock begins. It has no monotonic reading, as any
// time that was saved and read back.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return epoch.Add(d) }

func ref[T any](v T) *T { return &v }

const (
	ms     = time.Millisecond
	second = time.Second
	hour   = time.Hour
	year   = 365 * 24 * time.Hour
)

// newChild is a child with the defaults of its file, changed by edits.
func newChild(edits ...func(*spec.Child)) *spec.Child {
	c := &spec.Child{
		Name:    "web",
		Command: []string{"/bin/web"},
		Stop:    spec.Stop{Signal: sigterm, Grace: spec.Duration(10 * second)},
		Restart: spec.Restart{
			Policy:  spec.Never,
			Backoff: spec.Backoff{Initial: spec.Duration(500 * ms), Max: spec.Duration(30 * second), Factor: 2},
		},
	}
	for _, edit := range edits {
		edit(c)
	}
	return c
}

const (
	sigterm = spec.Signal(15)
	sigkill = spec.Signal(9)
)

func policy(p spec.Policy) func(*spec.Child) { return func(c *spec.Child) { c.Restart.Policy = p } }

func limit(starts int, within time.Duration) func(*spec.Child) {
	return func(c *spec.Child) {
		c.Restart.Limit = spec.StartLimit{Starts: starts, Within: spec.Duration(within)}
	}
}

func success(classes ...spec.ExitClass) func(*spec.Child) {
	return func(c *spec.Child) { c.Restart.Success = classes }
}

func grace(d time.Duration) func(*spec.Child) {
	return func(c *spec.Child) { c.Stop.Grace = spec.Duration(d) }
}

func prehooked(c *spec.Child)  { c.Prehook = &startDB }
func posthooked(c *spec.Child) { c.Posthook = &stopProxy }

var (
	startDB   = spec.Hook{Verb: spec.VerbStart, Child: "db"}
	stopProxy = spec.Hook{Verb: spec.VerbStop, Child: "proxy"}
)

func repeats(verb spec.Verb, every time.Duration) func(*spec.Child) {
	return func(c *spec.Child) { c.Repeat = &spec.Repeat{Action: verb, Every: spec.Duration(every)} }
}

// running and stoppedAt are desired states of a generation.
func running(generation, restart uint64) spec.Desired {
	return spec.Desired{Run: spec.Running, Generation: generation, RestartGeneration: restart}
}

func unwanted(generation, restart uint64) spec.Desired {
	return spec.Desired{Run: spec.Stopped, Generation: generation, RestartGeneration: restart}
}

func launch(incarnation uint64) spec.Launch {
	return spec.Launch{Identity: spec.Identity{
		PID: 1000 + int(incarnation), StartTicks: incarnation, BootID: "boot", Incarnation: incarnation}}
}

func exitOf(incarnation uint64, code int, when time.Time) spec.Exit {
	return spec.Exit{Incarnation: incarnation, Known: true, Code: code, At: when}
}

// live is a child whose first process was launched at epoch for generation 1.
func live(c *spec.Child, edits ...func(*Observed)) *Observed {
	var o Observed
	o.Launched(launch(1), c, running(1, 1), epoch)
	o.Phase, o.Since = spec.PhaseStarting, epoch
	for _, edit := range edits {
		edit(&o)
	}
	return &o
}

// over is live once its process has ended with code, and its group with it.
func over(c *spec.Child, code int, when time.Time, edits ...func(*Observed)) *Observed {
	return live(c, append([]func(*Observed){func(o *Observed) {
		o.Settled, o.Phase = 1, spec.PhaseRunning
		o.Exited(exitOf(1, code, when), true, 0)
	}}, edits...)...)
}

func settled(generation uint64) func(*Observed) {
	return func(o *Observed) { o.Settled = generation }
}

// decide is For, and checks on the way that it leaves its input alone.
func decide(t testing.TB, c *spec.Child, gone bool, d spec.Desired, o *Observed, now time.Time) Plan {
	t.Helper()
	before := snapshot(t, c, d, o)
	p := For(c, gone, d, o, now)
	if after := snapshot(t, c, d, o); after != before {
		t.Fatalf("For changed its input\nfrom %s\nto   %s", before, after)
	}
	return p
}

// snapshot is everything For gets, as text.
func snapshot(t testing.TB, c *spec.Child, d spec.Desired, o *Observed) string {
	t.Helper()
	text, err := json.Marshal(struct {
		Child    *spec.Child
		Desired  spec.Desired
		Observed *Observed
		Hook     *HookRun
	}{c, d, o, o.Hook})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func checkAction(t testing.TB, got Plan, want Action) {
	t.Helper()
	if got.Action != want {
		t.Fatalf("action is %v, want %v (%+v)", got.Action, want, got)
	}
}

func checkPlan(t testing.TB, got, want Plan) {
	t.Helper()
	// No case has had more than one exit, so that is the whole history.
	if last := want.Status.LastExit; last != nil {
		want.Status.History = []spec.Exit{*last}
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("plan is\n%s\nwant\n%s", show(t, got), show(t, want))
	}
}

func show(t testing.TB, p Plan) string {
	t.Helper()
	text, err := json.MarshalIndent(struct {
		Action string
		WakeAt time.Time
		Status spec.Status
	}{actionText(p.Action), p.WakeAt, p.Status}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func actionText(a Action) string {
	if a == nil {
		return "nothing"
	}
	return a.String()
}

// reload is what the next server reads back: o without what is only in memory.
func reload(t testing.TB, o Observed) Observed {
	t.Helper()
	text, err := json.Marshal(&o)
	if err != nil {
		t.Fatal(err)
	}
	var read Observed
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	if again, _ := json.Marshal(&read); string(again) != string(text) {
		t.Fatalf("observed does not survive JSON:\n%s\n%s", text, again)
	}
	return read
}

// deepCopy shares nothing with o but the configuration of its process, which is
// compared on its own.
func deepCopy(o *Observed) Observed {
	c := *o
	if c.Process = clone(o.Process); c.Process != nil {
		c.Process.Exit, c.Process.Stop = clone(o.Process.Exit), clone(o.Process.Stop)
	}
	c.LastExit, c.End, c.Failure = clone(o.LastExit), clone(o.End), clone(o.Failure)
	c.Repeat, c.Hook = clone(o.Repeat), clone(o.Hook)
	c.Window = slices.Clone(o.Window)
	if c.Killed, c.Strays = clone(o.Killed), clone(o.Strays); c.Killed != nil {
		c.Killed.PIDs = slices.Clone(o.Killed.PIDs)
	}
	return c
}
