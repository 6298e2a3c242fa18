package runtime

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kita/spec"
)

func alive(name string, incarnation uint64) spec.View {
	return spec.View{Name: name, Status: spec.Status{Process: &spec.Process{Incarnation: incarnation}}}
}

// What a child uses is what all of its processes use, wherever they have gone.
func TestChildUsageIsOfTheWholeChild(t *testing.T) {
	variants(t, func(t *testing.T, o Options) {
		h, f := hostWith(t, o)
		// The one that works has left the group; the leader waits for nobody.
		c := shell(t, `setsid sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo $$; exec sleep 600' & exec sleep 600`)
		launched(t, h, c, 1)
		escapee(t, c)
		before := time.Now()
		got := h.ChildUsage([]spec.View{alive("web", 1), alive("web", 2), alive("db", 1), {Name: "idle"}})
		if len(got) != 1 {
			t.Fatalf("got %+v", got)
		}
		u := got[0]
		if u.Name != "web" || u.Incarnation != 1 || u.Processes != 2 || u.SampledAt.Before(before.Add(-time.Second)) {
			t.Errorf("got %+v", u)
		}
		if u.CPUSeconds <= 0.01 || u.CPUSeconds > 600 || u.MemoryBytes < 64<<10 || u.MemoryBytes > 64<<20 {
			t.Errorf("%v s and %d bytes", u.CPUSeconds, u.MemoryBytes)
		}
		killed(t, h, f)
		if got := h.ChildUsage([]spec.View{alive("web", 1)}); len(got) != 0 {
			t.Errorf("it ended, and uses %+v", got)
		}
	})
}

// killed ends web's first run and returns when nothing of it is left, so that its
// cgroup can be removed.
func killed(t *testing.T, h *Host, f facts) {
	t.Helper()
	h.Signal("web", 1, spec.Signal(unix.SIGKILL))
	for fact := f.next(t); !fact.empty && !fact.emptied; fact = f.next(t) {
		continue
	}
}

// With a limit of memory, the kernel counts that for the group.
func TestChildUsageOfALimitedChild(t *testing.T) {
	id := newID(t)
	h, f := hostWith(t, Options{ID: id, Cgroups: newTree(t, id)})
	c := shell(t, `python3 -c "x = b'x' * (32 << 20); print(len(x), flush=True); import time; time.sleep(600)"`)
	c.Resources = spec.Resources{Memory: 256 << 20}
	l := launched(t, h, c, 1)
	defer killed(t, h, f)
	needLimits(t, l)
	awaitText(t, outPath(c), "\n")
	got := h.ChildUsage([]spec.View{alive("web", 1)})
	if len(got) != 1 || got[0].MemoryBytes < 32<<20 || got[0].MemoryBytes > 256<<20 {
		t.Errorf("got %+v", got)
	}
}

func TestParseSpent(t *testing.T) {
	const head, tail = "7 (a) b) ", " 1 7 7 0 -1 4194304 1 2 3 4 10 20 30 40 20 0 1 0 555 8192 25 18446744073709551615 1"
	tests := []struct {
		name, text string
		want       spent
		fails      bool
	}{
		{"alive", head + "S" + tail, spent{ticks: 100, startTicks: 555, pages: 25}, false},
		{"zombie", head + "Z" + tail, spent{dead: true, ticks: 100, startTicks: 555, pages: 25}, false},
		{"short", head + "S 1 7 7", spent{}, true},
		{"no command", "7 S 1", spent{}, true},
		{"no number", strings.Replace(head+"S"+tail, " 10 20 ", " x 20 ", 1), spent{}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseSpent([]byte(tt.text))
			if got != tt.want || (err != nil) != tt.fails {
				t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}
