package console

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"kita/spec"
)

// noon is when the tests are.
var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// testWords are plain, and escape what is not printed by %q.
func testWords(colour bool) Words {
	ago := func(d time.Duration) string { return fmt.Sprintf("%ds", int(d.Seconds())) }
	printable := func(s string) string { q := fmt.Sprintf("%q", s); return q[1 : len(q)-1] }
	return Words{
		Heading: []string{"NAME", "PHASE", "PID", "UPTIME", "REASON"},
		Row: func(v *spec.View, now time.Time) []Cell {
			pid, up := "-", "-"
			if p := v.Status.Process; p != nil {
				pid, up = fmt.Sprint(p.PID), ago(now.Sub(p.StartedAt))
			}
			return []Cell{{Text: v.Name}, {Text: string(v.Status.Phase), Colour: green}, {Text: pid}, {Text: up, Key: "age"}, {Text: v.Status.Reason}}
		},
		Phase:   func(spec.Phase) string { return green },
		Remarks: func(v *spec.View) string { return v.Status.Reason },
		Ago:     ago, Size: func(n uint64) string { return fmt.Sprintf("%d MB", n>>20) },
		Printable: printable, Line: printable,
		Outcome: func(o spec.Outcome) string { return o.Child + " " + string(o.Verb) + " done" },
		Error:   func(err error) string { return err.Error() },
		Colour:  colour, UTF8: true,
	}
}

func runs(name string, pid int) spec.View {
	return spec.View{Name: name, Status: spec.Status{Phase: spec.PhaseRunning, Process: &spec.Process{PID: pid, Incarnation: 1, StartedAt: noon.Add(-time.Minute)}}}
}

func stops(name string) spec.View {
	return spec.View{Name: name, Status: spec.Status{Phase: spec.PhaseStopped}}
}

func present(host int, v spec.View) News {
	return News{Host: host, Change: spec.Change{Type: spec.Present, View: v}}
}
func removed(host int, name string) News {
	return News{Host: host, Change: spec.Change{Type: spec.Removed, View: spec.View{Name: name}}}
}
func synced(host int) News { return News{Host: host, Change: spec.Change{Type: spec.Synced}} }
func up(host int) News     { return News{Host: host, Up: true} }
func down(host int, why string) News {
	return News{Host: host, Err: errors.New(why)}
}

// after is the time so many seconds after noon.
func after(seconds int) tick { return tick(noon.Add(time.Duration(seconds) * time.Second)) }

func twoHosts() []Host { return []Host{{Name: "h1"}, {Name: "h2"}} }

// screenOf gives a model the messages and returns the lines of its screen, and
// whether it wants to end.
func screenOf(m tea.Model, msgs ...tea.Msg) (text string, quits bool) {
	for _, msg := range msgs {
		_, cmd := m.Update(msg)
		quits = quits || isQuit(cmd)
	}
	return m.(interface{ View() tea.View }).View().Content, quits
}

// isQuit tells tea.Quit from commands that may wait.
func isQuit(cmd tea.Cmd) bool {
	return cmd != nil && fmt.Sprintf("%p", cmd) == fmt.Sprintf("%p", tea.Cmd(tea.Quit))
}

func TestWatchDrawsWhatIsThere(t *testing.T) {
	tests := []struct {
		name   string
		many   bool
		child  string
		colour bool
		msgs   []tea.Msg
		want   string
	}{
		{name: "nothing yet", want: "waiting for the children"},
		{name: "no children", msgs: []tea.Msg{[]News{up(0), synced(0)}}, want: "no children"},
		{name: "some", msgs: []tea.Msg{[]News{up(0), present(0, runs("web", 7)), present(0, stops("db")), synced(0)}},
			want: "  NAME  PHASE    PID  UPTIME\n  db    stopped  -    -\n  web   running  7    60s"},
		{name: "ages tick, and are no change", msgs: []tea.Msg{[]News{up(0), present(0, runs("web", 7)), synced(0)}, after(3)},
			want: "  NAME  PHASE    PID  UPTIME\n  web   running  7    63s"},
		{name: "a change is marked", msgs: []tea.Msg{[]News{up(0), present(0, runs("web", 7)), present(0, stops("db")), synced(0)}, []News{present(0, runs("web", 8))}},
			want: "  NAME  PHASE    PID  UPTIME\n  db    stopped  -    -\n* web   running  8    60s"},
		{name: "for a while", msgs: []tea.Msg{[]News{up(0), present(0, runs("web", 7)), synced(0)}, []News{present(0, runs("web", 8))}, after(4)},
			want: "  NAME  PHASE    PID  UPTIME\n  web   running  8    64s"},
		{name: "what is told again is no change", msgs: []tea.Msg{[]News{up(0), present(0, runs("web", 7)), synced(0)}, []News{up(0), present(0, runs("web", 7)), synced(0)}},
			want: "  NAME  PHASE    PID  UPTIME\n  web   running  7    60s"},
		{name: "a new row", msgs: []tea.Msg{[]News{up(0), synced(0)}, []News{present(0, stops("web"))}},
			want: "  NAME  PHASE    PID  UPTIME\n* web   stopped  -    -"},
		{name: "a removed row", msgs: []tea.Msg{[]News{up(0), present(0, stops("web")), synced(0)}, []News{removed(0, "web")}, after(3)},
			want: "  NAME  PHASE\n* web   removed"},
		{name: "goes", msgs: []tea.Msg{[]News{up(0), present(0, stops("web")), synced(0)}, []News{removed(0, "web")}, after(4)},
			want: "no children"},
		{name: "and may come back", msgs: []tea.Msg{[]News{up(0), present(0, stops("web")), synced(0)}, []News{removed(0, "web"), present(0, stops("web"))}, after(9)},
			want: "  NAME  PHASE    PID  UPTIME\n  web   stopped  -    -"},
		{name: "one child", child: "web", msgs: []tea.Msg{[]News{up(0), present(0, runs("web", 7)), present(0, stops("db")), synced(0)}},
			want: "  NAME  PHASE    PID  UPTIME\n  web   running  7    60s"},
		{name: "a reason", msgs: []tea.Msg{[]News{up(0), present(0, spec.View{Name: "web", Status: spec.Status{Phase: spec.PhaseFailed, Reason: "exit 1"}}), synced(0)}},
			want: "  NAME  PHASE   PID  UPTIME  REASON\n  web   failed  -    -       exit 1"},
		{name: "no character acts", msgs: []tea.Msg{[]News{up(0), present(0, spec.View{Name: "a\x1b[2J", Status: spec.Status{Phase: "x"}}), synced(0)}},
			want: "  NAME      PHASE  PID  UPTIME\n  a\\x1b[2J  x      -    -"},
		{name: "it restarts", msgs: []tea.Msg{[]News{up(0), present(0, stops("web")), synced(0)}, []News{down(0, "connection refused")}},
			want: "  NAME  PHASE    PID  UPTIME\n  web   stopped  -    -\nreconnecting: connection refused"},
		{name: "and is back", msgs: []tea.Msg{[]News{up(0), present(0, stops("web")), synced(0)}, []News{down(0, "connection refused")}, []News{up(0), present(0, stops("web")), synced(0)}},
			want: "  NAME  PHASE    PID  UPTIME\n  web   stopped  -    -"},
		{name: "hosts", many: true, msgs: []tea.Msg{[]News{up(0), present(0, stops("web")), synced(0), down(1, "no route")}},
			want: "  HOST  NAME  PHASE    PID  UPTIME\n  h1    web   stopped  -    -\nh2: cannot be reached, trying again: no route"},
		{name: "longer than the screen", msgs: []tea.Msg{tea.WindowSizeMsg{Width: 12, Height: 4}, []News{up(0), present(0, stops("a")), present(0, stops("b")), present(0, stops("c")), present(0, stops("d")), synced(0)}},
			want: "  NAME  PHA…\n  a     sto…\n  b     sto…\n… and 2 more"},
		{name: "one line", msgs: []tea.Msg{tea.WindowSizeMsg{Width: 5, Height: 1}, []News{up(0), present(0, stops("a")), synced(0)}}, want: "  NA…"},
		{name: "colours", colour: true, msgs: []tea.Msg{[]News{up(0), present(0, runs("web", 7)), synced(0)}, []News{present(0, runs("web", 8))}},
			want: "NAME  PHASE    PID  UPTIME\nweb   \x1b[32mrunning\x1b[m  \x1b[7m8\x1b[m    60s"},
		{name: "colours of a host that is gone", colour: true, msgs: []tea.Msg{[]News{up(0), present(0, runs("web", 7)), synced(0), down(0, "x")}},
			want: "NAME  PHASE    PID  UPTIME\n\x1b[2mweb\x1b[m   \x1b[2;32mrunning\x1b[m  \x1b[2m7\x1b[m    \x1b[2m60s\x1b[m\n\x1b[33mreconnecting: x\x1b[m"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			hosts := []Host{{}}
			if tt.many {
				hosts = twoHosts()
			}
			m := newWatch(hosts, testWords(tt.colour), tt.child, tt.many, func() []News { return nil }, noon)
			got, quits := screenOf(m, tt.msgs...)
			if got != tt.want || quits {
				t.Errorf("got\n%q\nwant\n%q, quits %v", got, tt.want, quits)
			}
		})
	}
}

// The only host that cannot be reached, or does not have the child, ends it; one
// of several does not, nor one that was there.
func TestWatchEnds(t *testing.T) {
	tests := []struct {
		name  string
		hosts []Host
		child string
		msg   tea.Msg
		quits bool
		err   string
	}{
		{"unreachable", []Host{{}}, "", []News{down(0, "refused")}, true, "refused"},
		{"one of two", twoHosts(), "", []News{down(0, "refused")}, false, ""},
		{"later", []Host{{}}, "", []News{up(0), down(0, "refused")}, false, ""},
		{"no such child", []Host{{}}, "web", []News{up(0), present(0, stops("db")), synced(0)}, true, `there is no child "web"`},
		{"on one of two", twoHosts(), "web", []News{up(0), synced(0)}, false, ""},
		{"removed later", []Host{{}}, "web", []News{up(0), present(0, stops("web")), synced(0), removed(0, "web"), synced(0)}, false, ""},
		{"q", []Host{{}}, "", tea.KeyPressMsg{Code: 'q', Text: "q"}, true, ""},
		{"Ctrl-C", []Host{{}}, "", tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl}, true, ""},
		{"another key", []Host{{}}, "", tea.KeyPressMsg{Code: 'x', Text: "x"}, false, ""},
		{"the end of the feed", []Host{{}}, "", []News(nil), true, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newWatch(tt.hosts, testWords(false), tt.child, len(tt.hosts) > 1, nil, noon)
			_, quits := screenOf(m, tt.msg)
			var text string
			if err := m.result(); err != nil {
				text = err.Error()
			}
			if quits != tt.quits || !strings.HasPrefix(text, tt.err) || (text == "") != (tt.err == "") {
				t.Errorf("quits %v with %q, want %v, %q", quits, text, tt.quits, tt.err)
			}
		})
	}
}
