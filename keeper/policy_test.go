package keeper

import (
	"reflect"
	"testing"
	"time"
)

var (
	killed = end{code: -1, signal: 9}
	failed = end{code: 1}
)

// clock is a policy with the time of a test.
type clock struct {
	policy
	now time.Time
}

func newClock() *clock {
	c := &clock{policy: policy{timing: DefaultTiming()}, now: time.Unix(1_700_000_000, 0)}
	c.started(c.now)
	return c
}

func (c *clock) after(d time.Duration) *clock {
	c.now = c.now.Add(d)
	return c
}

// dies ends the server and starts the next one when the verdict says.
func (c *clock) dies(e end) verdict {
	v := c.ended(c.now, e)
	if !v.exit {
		c.started(c.after(v.pause).now)
	}
	return v
}

func (c *clock) getsReady() *clock {
	c.serves(c.now)
	return c
}

func pauses(n int, round func() verdict) (got []time.Duration) {
	for range n {
		got = append(got, round().pause)
	}
	return got
}

func ms(values ...int) (out []time.Duration) {
	for _, v := range values {
		out = append(out, time.Duration(v)*time.Millisecond)
	}
	return out
}

func TestBackOff(t *testing.T) {
	tests := []struct {
		name  string
		round func(*clock) verdict
		want  []time.Duration
	}{
		{"lives a second each time", func(c *clock) verdict { return c.getsReady().after(time.Second).dies(killed) },
			ms(0, 0, 0, 0, 0, 0)},
		{"ready, then dead at once", func(c *clock) verdict { return c.getsReady().after(time.Millisecond).dies(killed) },
			ms(0, 50, 100, 250, 250, 250, 250)},
		{"never ready", func(c *clock) verdict { return c.after(time.Millisecond).dies(failed) },
			ms(0, 50, 100, 250, 500, 1000, 2000, 4000, 5000, 5000)},
		{"never ready, however long it lives", func(c *clock) verdict { return c.after(2 * time.Second).dies(failed) },
			ms(0, 50, 100, 250, 500, 1000)},
		{"good for ten seconds", func(c *clock) verdict {
			c.getsReady().after(time.Millisecond).dies(killed)
			c.getsReady().after(time.Millisecond).dies(killed)
			c.getsReady().after(10 * time.Second).dies(killed)
			return c.getsReady().after(time.Millisecond).dies(killed)
		}, ms(0, 0, 0)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newClock()
			c.getsReady().dies(killed)
			c.quick = 0
			if got := pauses(len(tt.want), func() verdict { return tt.round(c) }); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestReadyOnesForgetTheUnready(t *testing.T) {
	c := newClock()
	c.getsReady().after(time.Second).dies(killed)
	pauses(8, func() verdict { return c.dies(failed) })
	if v := c.getsReady().dies(killed); v.pause != 0 {
		t.Errorf("pause %v", v.pause)
	}
	if v := c.dies(failed); v.pause != 0 {
		t.Errorf("pause %v after a server that was ready", v.pause)
	}
}

func TestWhatFollowsAnEnd(t *testing.T) {
	tests := []struct {
		name   string
		before func(*clock)
		end    end
		want   verdict
	}{
		{"the first one fails", func(*clock) {}, failed, verdict{exit: true, code: 1}},
		{"the first one is killed", func(*clock) {}, killed, verdict{}},
		{"killed", func(c *clock) { c.getsReady() }, killed, verdict{}},
		{"status 0", func(c *clock) { c.getsReady() }, end{}, verdict{exit: true}},
		{"meant", func(c *clock) { c.getsReady(); c.meant, c.code = true, 7 }, end{code: 7}, verdict{exit: true, code: 7}},
		{"meant, and killed on its way", func(c *clock) { c.meant, c.code = true, 7 }, killed, verdict{exit: true, code: 7}},
		{"crashes while it ends", func(c *clock) { c.getsReady(); c.told() }, killed, verdict{}},
		{"told twice", func(c *clock) { c.getsReady(); c.told(); c.told() }, end{code: -1, signal: 15}, verdict{exit: true, code: 143}},
		{"crashes and crashes while it ends", func(c *clock) { c.getsReady(); c.told(); c.dies(killed); c.dies(killed) }, killed, verdict{exit: true, code: 137}},
		{"a new version ends with status 0 before it serves", func(c *clock) { c.getsReady(); c.upgrade(c.now, "/new") }, end{}, verdict{}},
		{"a new version ends with status 0", func(c *clock) { c.getsReady(); c.upgrade(c.now, "/new"); c.getsReady() }, end{}, verdict{exit: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newClock()
			tt.before(c)
			if got := c.ended(c.now, tt.end); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestUpgrade(t *testing.T) {
	second := time.Second
	type step struct {
		do           func(*clock)
		binary       string
		overdue, fit bool
	}
	begin := func(c *clock) { c.getsReady().after(time.Minute); c.upgrade(c.now, "/new") }
	crash := func(c *clock) { c.after(time.Millisecond).dies(killed) }
	ready := func(c *clock) { c.getsReady() }
	wait := func(d time.Duration) func(*clock) { return func(c *clock) { c.after(d) } }
	tests := []struct {
		name  string
		steps []step
	}{
		{"good", []step{
			{begin, "/new", false, false}, {ready, "/new", false, false}, {wait(9 * second), "/new", false, false},
			{wait(second), "/new", false, true}, {wait(second), "/new", false, false},
		}},
		{"three crashes", []step{
			{begin, "/new", false, false}, {crash, "/new", false, false}, {crash, "/new", false, false}, {crash, "", false, false},
			{crash, "", false, false}, {wait(20 * second), "", false, false},
		}},
		{"three crashes of which some had served", []step{
			{begin, "/new", false, false}, {ready, "/new", false, false}, {crash, "/new", false, false}, {ready, "/new", false, false},
			{crash, "/new", false, false}, {ready, "/new", false, false}, {crash, "", false, false},
		}},
		{"two crashes, then good", []step{
			{begin, "/new", false, false}, {crash, "/new", false, false}, {crash, "/new", false, false}, {ready, "/new", false, false},
			{wait(9 * second), "/new", false, false}, {wait(second), "/new", false, true}, {crash, "/new", false, false}, {crash, "/new", false, false},
			{crash, "/new", false, false},
		}},
		{"not ready in time", []step{
			{begin, "/new", false, false}, {wait(2900 * time.Millisecond), "/new", false, false}, {wait(second), "/new", true, false},
			{crash, "", false, false},
		}},
		{"not ready in time after a crash", []step{
			{begin, "/new", false, false}, {wait(2 * second), "/new", false, false}, {crash, "/new", false, false},
			{wait(second), "/new", true, false}, {crash, "", false, false},
		}},
		{"not executed after all", []step{
			{begin, "/new", false, false}, {(*clock).noUpgradeAfterAll, "", false, false}, {wait(20 * second), "", false, false},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newClock()
			for i, s := range tt.steps {
				s.do(c)
				if c.binary != s.binary {
					t.Fatalf("step %d: binary %q, want %q", i, c.binary, s.binary)
				}
				if got := c.overdue(c.now); got != s.overdue {
					t.Fatalf("step %d: overdue %v", i, got)
				}
				if got := c.proven(c.now); got != s.fit {
					t.Fatalf("step %d: proven %v", i, got)
				}
			}
		})
	}
}

func (c *clock) noUpgradeAfterAll() { c.noUpgrade() }

func TestEndThatIsAskedForDuringAnUpgradeHolds(t *testing.T) {
	c := newClock()
	c.getsReady()
	c.upgrade(c.now, "/new")
	c.told()
	c.noUpgrade()
	if !c.ending {
		t.Error("it is forgotten once there is no upgrade after all")
	}
}

func TestFallBackIsTold(t *testing.T) {
	c := newClock()
	c.getsReady()
	c.upgrade(c.now, "/new")
	c.dies(killed)
	c.dies(killed)
	if v := c.dies(killed); v != (verdict{fellBack: "/new"}) {
		t.Errorf("%+v", v)
	}
}

func TestParseMessage(t *testing.T) {
	tests := []struct {
		text string
		want message
		bad  bool
	}{
		{"ready", message{word: "ready"}, false},
		{"run 0a1b /run/kita", message{word: "run", id: "0a1b", dir: "/run/kita"}, false},
		{"run 0a1b /run/with a blank", message{word: "run", id: "0a1b", dir: "/run/with a blank"}, false},
		{"run 0a1b run", message{}, true},
		{"run", message{}, true},
		{"state /var/lib/kita", message{word: "state", dir: "/var/lib/kita"}, false},
		{"state lib", message{}, true},
		{"state", message{}, true},
		{"upgrade /usr/bin/kita", message{word: "upgrade", path: "/usr/bin/kita"}, false},
		{"upgrade", message{word: "upgrade"}, false},
		{"upgrade kita", message{}, true},
		{"exit 0", message{word: "exit"}, false},
		{"exit 255", message{word: "exit", code: 255}, false},
		{"exit 256", message{}, true},
		{"exit -1", message{}, true},
		{"exit", message{}, true},
		{"", message{}, true},
		{"dance", message{}, true},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			got, err := parseMessage(tt.text)
			if (err != nil) != tt.bad || !tt.bad && got != tt.want {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func FuzzParseMessage(f *testing.F) {
	for _, text := range []string{"ready", "state /var/lib/kita", "run 0a1b /run/kita", "upgrade /usr/bin/kita", "exit 3"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := parseMessage(text)
		if err == nil && (m.code < 0 || m.code > 255 || m.word == wordRun && (m.id == "" || m.dir == "")) {
			t.Errorf("%q is %+v", text, m)
		}
	})
}
