package console

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"kita/spec"
)

// fakeSource notes what it is asked.
type fakeSource struct {
	asked []string
	doErr error
}

func (s *fakeSource) note(format string, args ...any) {
	s.asked = append(s.asked, fmt.Sprintf(format, args...))
}
func (s *fakeSource) next() any { return nil }
func (s *fakeSource) follow(_ int, key childKey) {
	s.note("follow %d/%s", key.host, key.name)
}
func (s *fakeSource) usage(host int, children []string) usages {
	s.note("usage %d %v", host, children)
	return usages{host: host}
}
func (s *fakeSource) do(key childKey, verb spec.Verb) done {
	s.note("%s %d/%s", verb, key.host, key.name)
	return done{key: key, verb: verb, out: spec.Outcome{Verb: verb, Child: key.name}, err: s.doErr}
}
func (s *fakeSource) why(key childKey) whyAnswer {
	s.note("why %d/%s", key.host, key.name)
	return whyAnswer{key: key, text: "web runs\n\nbecause\n"}
}

// press is a key by its name, as Update gets it.
func press(name string) tea.KeyPressMsg {
	special := map[string]rune{"down": tea.KeyDown, "up": tea.KeyUp, "end": tea.KeyEnd, "home": tea.KeyHome, "pgdown": tea.KeyPgDown, "enter": tea.KeyEnter, "esc": tea.KeyEscape, "backspace": tea.KeyBackspace}
	if code, ok := special[name]; ok {
		return tea.KeyPressMsg{Code: code}
	}
	return tea.KeyPressMsg{Code: []rune(name)[0], Text: name}
}

// topWith is a Top that has heard of children a, b, c and so on.
func topWith(hosts []Host, src source, views ...spec.View) *Top {
	m := newTop(hosts, testWords(false), len(hosts) > 1, src, noon)
	for host := range hosts {
		news := []News{up(host)}
		for _, v := range views {
			news = append(news, present(host, v))
		}
		m.Update(append(news, synced(host)))
	}
	m.Update(tea.WindowSizeMsg{Width: 100, Height: 20})
	return m
}

// perform gives a model the keys, and the answers to the commands they cause,
// but for those that wait for the time.
func perform(m *Top, keys ...string) {
	for _, key := range keys {
		_, cmd := m.Update(press(key))
		if m.mode == browsing && (m.status != "") && cmd != nil {
			m.Update(cmd())
		}
	}
}

func rowsOf(m *Top) string {
	var rows []string
	for _, line := range strings.Split(m.View().Content, "\n") {
		line = strings.NewReplacer("\x1b[7m", "", "\x1b[m", "", "\x1b[2m", "", "\x1b[1m", "").Replace(line)
		rows = append(rows, strings.TrimRight(line, " "))
	}
	return strings.Join(rows, "\n")
}

func three() []spec.View { return []spec.View{runs("a", 1), stops("b"), runs("c", 3)} }

func TestTopSelects(t *testing.T) {
	tests := []struct {
		name string
		keys []string
		want string
	}{
		{"the first", nil, "a"},
		{"the next", []string{"down"}, "b"},
		{"j", []string{"j", "j"}, "c"},
		{"no further", []string{"j", "j", "j", "j"}, "c"},
		{"back", []string{"j", "j", "k"}, "b"},
		{"not before the first", []string{"up"}, "a"},
		{"end", []string{"end"}, "c"},
		{"home", []string{"end", "home"}, "a"},
		{"a page", []string{"pgdown"}, "c"},
		{"filter", []string{"/", "c", "enter"}, "c"},
		{"filter by phase", []string{"/", "s", "t", "o", "p", "enter"}, "b"},
		{"a filter mended", []string{"/", "x", "backspace", "b", "enter"}, "b"},
		{"a filter given up", []string{"/", "c", "esc"}, "c"},
		{"nothing matches", []string{"/", "x", "y", "enter"}, ""},
		{"sorted by phase", []string{"s", "home"}, "b"},
		{"keys are text in a filter", []string{"/", "q", "T", "esc"}, "a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			src := &fakeSource{}
			m := topWith([]Host{{}}, src, three()...)
			for _, key := range tt.keys {
				m.Update(press(key))
			}
			if m.selected.name != tt.want || len(src.asked) != 0 {
				t.Errorf("%q is selected, want %q; asked %q", m.selected.name, tt.want, src.asked)
			}
		})
	}
}

// A command is carried out after y and after nothing else, for the child that was
// asked about.
func TestTopAsksBeforeItDoes(t *testing.T) {
	tests := []struct {
		name     string
		keys     []string
		question string
		asked    []string
		status   string
	}{
		{"stop", []string{"T", "y"}, "stop a on h1? y/n", []string{"stop 0/a"}, "h1: a stop done"},
		{"start another", []string{"j", "S", "y"}, "start a on h2? y/n", []string{"start 1/a"}, "h2: a start done"},
		{"restart", []string{"R", "y"}, "restart a on h1? y/n", []string{"restart 0/a"}, "h1: a restart done"},
		{"no", []string{"T", "n"}, "stop a on h1? y/n", nil, "nothing is done"},
		{"enter is no yes", []string{"T", "enter"}, "stop a on h1? y/n", nil, "nothing is done"},
		{"small letters are no commands", []string{"t", "y"}, "", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			src := &fakeSource{}
			m := topWith(twoHosts(), src, runs("a", 1))
			perform(m, tt.keys[:len(tt.keys)-1]...)
			question := ""
			if m.mode == confirming {
				question, _ = m.question()
			}
			perform(m, tt.keys[len(tt.keys)-1])
			if question != tt.question || !reflect.DeepEqual(src.asked, tt.asked) || m.status != tt.status {
				t.Errorf("%q, asked %q, %q", question, src.asked, m.status)
			}
		})
	}
	t.Run("the child goes meanwhile", func(t *testing.T) {
		src := &fakeSource{doErr: errors.New("there is no child a")}
		m := topWith(twoHosts(), src, runs("a", 1))
		perform(m, "T")
		m.Update([]News{removed(0, "a")})
		perform(m, "y")
		if !reflect.DeepEqual(src.asked, []string{"stop 0/a"}) || m.status != "h1: there is no child a" {
			t.Errorf("asked %q, %q", src.asked, m.status)
		}
	})
}

// The question is to be seen in whole, but for the middle of a long name, or it is
// not asked.
func TestTopAsksOnlyWhatCanBeRead(t *testing.T) {
	const (
		long   = "long-name-of-a-child-that-nobody-would-give-to-one-of-his-own-2"
		narrow = "too narrow to ask"
	)
	tests := []struct {
		name          string
		columns, rows int
		child, want   string
	}{
		{"there is room", 100, 24, long, "stop " + long + " on 10.0.0.1:33889? y/n"},
		{"a long name", 80, 24, long, "stop long-name-of-a-child-that-…-give-to-one-of-his-own-2 on 10.0.0.1:33889? y/n"},
		{"the least of a name", 36, 24, long, "stop long…n-2 on 10.0.0.1:33889? y/n"},
		{"less than that", 35, 24, long, narrow},
		{"a short name", 31, 8, "web", "stop web on 10.0.0.1:33889? y/n"},
		{"less than a short name", 30, 8, "web", narrow},
		{"tiny", 20, 5, long, narrow},
		{"wide characters", 40, 24, strings.Repeat("名", 30), "stop 名名名…名名 on 10.0.0.1:33889? y/n"},
		{"no lines", 80, 0, "web", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			src := &fakeSource{}
			m := topWith([]Host{{Name: "10.0.0.1:33889"}, {Name: "10.0.0.2:33889"}}, src, runs(tt.child, 1))
			m.Update(tea.WindowSizeMsg{Width: tt.columns, Height: tt.rows})
			m.Update(press("T"))
			lines := strings.Split(rowsOf(m), "\n")
			asks := m.mode == confirming
			if got := lines[len(lines)-1]; tt.rows > 0 && got != tt.want || asks != strings.HasSuffix(tt.want, "? y/n") {
				t.Errorf("it asks: %v, %q, want %q", asks, got, tt.want)
			}
			perform(m, "y")
			if asked := len(src.asked) > 0; asked != asks {
				t.Errorf("asked %q", src.asked)
			}
			// What came of it names the child and the host, too.
			lines = strings.Split(rowsOf(m), "\n")
			if got := lines[len(lines)-1]; asks && (!strings.HasPrefix(got, "10.0.0.1:33889: ") || !strings.HasSuffix(got, "stop done")) {
				t.Errorf("says %q", got)
			}
		})
	}
	t.Run("the terminal gets narrow meanwhile", func(t *testing.T) {
		src := &fakeSource{}
		m := topWith(twoHosts(), src, runs("web", 1))
		m.Update(press("T"))
		m.Update(tea.WindowSizeMsg{Width: 18, Height: 8})
		perform(m, "y")
		if m.mode != browsing || len(src.asked) != 0 {
			t.Errorf("mode %d, asked %q", m.mode, src.asked)
		}
	})
}

// Of several hosts it is to be seen whose child a row is, before how it does.
func TestTopNamesTheHostWhereThereIsLittleRoom(t *testing.T) {
	m := topWith([]Host{{Name: "10.0.0.1:33889"}, {Name: "10.0.0.2:33889"}}, &fakeSource{}, runs("web", 1))
	want := "  HOST            NAME  PHASE\n> 10.0.0.1:33889  web   running\n  10.0.0.2:33889  web   running\n"
	m.Update(tea.WindowSizeMsg{Width: 31, Height: 8})
	if got := rowsOf(m); !strings.Contains(got, want) {
		t.Errorf("got\n%s", got)
	}
	m.Update(tea.WindowSizeMsg{Width: 24, Height: 8})
	if got := rowsOf(m); !strings.Contains(got, "\n> 10.0.0.1:33889  web\n  10.0.0.2:33889  web\n") {
		t.Errorf("got\n%s", got)
	}
}

func use(name string, incarnation uint64, cpu float64, mb uint64, second int) spec.ChildUsage {
	return spec.ChildUsage{Name: name, Incarnation: incarnation, CPUSeconds: cpu, MemoryBytes: mb << 20, Processes: 1, SampledAt: time.Time(after(second))}
}

func TestTopDraws(t *testing.T) {
	m := topWith([]Host{{}}, &fakeSource{}, append(three(), spec.View{Name: "d", Status: spec.Status{Phase: spec.PhaseFailed, Reason: "exit 1\x1b[2J"}})...)
	m.Update(usages{children: []spec.ChildUsage{use("a", 1, 5, 10, 0), use("c", 9, 5, 10, 0)}})
	m.Update(usages{children: []spec.ChildUsage{use("a", 1, 6, 20, 2)}})
	m.Update(outputPiece{number: m.output.number, lines: []string{"one", "two\x1b[2J", "three\r"}, rest: "fo"})
	m.Update(outputPiece{number: m.output.number - 1, lines: []string{"of another child"}})
	want := `kita top  4 children: 1 stopped, 2 running, 1 failed  cpu 50.0% mem 20 MB (1 of 2 measured)
  NAME  PHASE    CPU%              MEMORY              PID  UPTIME  RESTARTS  REASON
> a     running  50.0           ▅   20 MB          ▁█    1     60s         0
  b     stopped     -                   -                -       -         0
  c     running     -                   -                3     60s         0
  d     failed      -                   -                -       -         0  exit 1\x1b[2J
output of a
one
two\x1b[2J
three
fo`
	got := rowsOf(m)
	if !strings.HasPrefix(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if lines := strings.Split(got, "\n"); len(lines) != 20 || lines[19] != "? help  q quit  / filter  s sort: name  S start  T stop  R restart" {
		t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
}

// Every size is drawn, in no more than its lines and columns.
func TestTopFitsEverySize(t *testing.T) {
	long := strings.Repeat("名", 50)
	m := topWith(twoHosts(), &fakeSource{}, append(three(), runs(long, 4))...)
	m.Update([]News{down(1, "no route")})
	m.Update(outputPiece{number: m.output.number, lines: []string{long + long, "short"}})
	for _, keys := range [][]string{nil, {"z"}, {"T"}, {"n", "/", "a"}, {"esc", "?"}} {
		for _, key := range keys {
			m.Update(press(key))
		}
		for columns := 1; columns < 130; columns += 7 {
			for rows := 1; rows < 30; rows++ {
				m.Update(tea.WindowSizeMsg{Width: columns, Height: rows})
				lines := strings.Split(m.View().Content, "\n")
				if len(lines) > rows {
					t.Fatalf("%q: %d lines on %dx%d", keys, len(lines), columns, rows)
				}
				for _, line := range lines {
					if got := Width(line); got > columns {
						t.Fatalf("%q: %d columns on %dx%d: %q", keys, got, columns, rows, line)
					}
				}
			}
		}
	}
}

// Only what is on the screen is measured, unless it decides about the order.
func TestTopMeasuresWhatIsSeen(t *testing.T) {
	var views []spec.View
	for i := range 1000 {
		views = append(views, runs(fmt.Sprintf("c%03d", i), i))
	}
	src := &fakeSource{}
	m := topWith([]Host{{}}, src, views...)
	m.Update(tea.WindowSizeMsg{Width: 80, Height: 8})
	ask := func(second int) []string {
		src.asked = nil
		m.now = time.Time(after(second))
		if cmd := m.measure(); cmd != nil {
			m.Update(cmd())
		}
		return src.asked
	}
	if got := ask(2); !reflect.DeepEqual(got, []string{"usage 0 [c000 c001 c002 c003 c004]"}) {
		t.Errorf("asked %q", got)
	}
	if got := ask(3); got != nil {
		t.Errorf("asked %q at an odd second", got)
	}
	for m.sort != byCPU {
		m.Update(press("s"))
	}
	if got := ask(4); got != nil {
		t.Errorf("all of many are asked about too often: %q", got)
	}
	if got := ask(6); !reflect.DeepEqual(got, []string{"usage 0 []"}) {
		t.Errorf("asked %q", got)
	}
	m.Update(usages{err: spec.Refuse("no-such-path", "", "", "no")})
	if got := ask(12); got != nil {
		t.Errorf("an old server is asked again: %q", got)
	}
}

// A host that goes away is said to be; what is followed is asked for anew.
func TestTopGoesOnWhenAHostIsBack(t *testing.T) {
	src := &fakeSource{}
	m := topWith(twoHosts(), src, runs("a", 1))
	before := m.output.number
	m.Update([]News{down(0, "refused")})
	if got := rowsOf(m); !strings.Contains(got, "1 of 2 hosts") || !strings.Contains(got, "\nh1: reconnecting: refused\n") {
		t.Errorf("got\n%s", got)
	}
	m.Update([]News{up(0), present(0, runs("a", 2)), synced(0)})
	if got := rowsOf(m); !strings.Contains(got, "2 of 2 hosts") || strings.Contains(got, "reconnecting") {
		t.Errorf("got\n%s", got)
	}
	if m.output.number == before {
		t.Error("the output is not asked for again")
	}
	_, cmd := m.Update(followNow(m.output.number))
	cmd()
	if _, cmd := m.Update(followNow(before)); cmd != nil {
		t.Error("output of what was selected before is asked for")
	}
	if !reflect.DeepEqual(src.asked, []string{"follow 0/a"}) {
		t.Errorf("asked %q", src.asked)
	}
}

func TestTopShowsWhy(t *testing.T) {
	src := &fakeSource{}
	m := topWith([]Host{{}}, src, three()...)
	perform(m, "w")
	if got := rowsOf(m); !strings.Contains(got, "\nweb runs\n\nbecause\n") || !strings.HasSuffix(got, "\nany key goes back") {
		t.Errorf("got\n%s", got)
	}
	perform(m, "q")
	if m.mode != browsing || !reflect.DeepEqual(src.asked, []string{"why 0/a"}) {
		t.Errorf("mode %d, asked %q", m.mode, src.asked)
	}
}

// The help has room on the narrowest terminal that is usual.
func TestTopHelpFitsOn80Columns(t *testing.T) {
	m := topWith([]Host{{}}, &fakeSource{}, three()...)
	m.Update(tea.WindowSizeMsg{Width: 80, Height: 24})
	m.Update(press("?"))
	if got, want := rowsOf(m), "\n"+strings.Join(help, "\n")+"\n\n"; !strings.Contains(got, want) {
		t.Errorf("got\n%s", got)
	}
}

func TestTopEnds(t *testing.T) {
	m := newTop([]Host{{}}, testWords(false), false, &fakeSource{}, noon)
	if _, quits := screenOf(m, []News{down(0, "refused")}); !quits || m.result() == nil {
		t.Errorf("quits %v, %v", quits, m.result())
	}
	for _, key := range []tea.KeyPressMsg{press("q"), {Code: 'c', Mod: tea.ModCtrl}} {
		m := topWith([]Host{{}}, &fakeSource{}, three()...)
		if _, quits := screenOf(m, key); !quits || m.result() != nil {
			t.Errorf("%v: quits %v, %v", key, quits, m.result())
		}
	}
}

// The memory of an endless output has an end.
func TestOutputIsBounded(t *testing.T) {
	var o output
	for range 100 {
		lines := make([]string, 100)
		for i := range lines {
			lines[i] = strings.Repeat("x", 1<<16)
		}
		o.take(outputPiece{lines: lines})
	}
	total := 0
	for _, line := range o.lines {
		total += len(line)
	}
	if len(o.lines) != keptLines || total > keptLines*longestLine {
		t.Errorf("%d lines of %d bytes", len(o.lines), total)
	}
}

func TestUsageOfRuns(t *testing.T) {
	c := &child{}
	c.present(runs("a", 1))
	c.take(use("a", 1, 10, 1, 0))
	c.take(use("a", 1, 12, 1, 2))
	c.take(use("a", 1, 11, 1, 4)) // a process has ended
	c.take(use("a", 1, 11, 1, 4)) // the same sample
	c.take(use("a", 2, 99, 1, 6)) // of another run than the view's
	if want := []float64{100, 0}; !reflect.DeepEqual(c.cpu, want) {
		t.Errorf("cpu %v, want %v", c.cpu, want)
	}
	next := runs("a", 2)
	next.Status.Process.Incarnation = 2
	c.present(next)
	if c.last != nil || c.cpu != nil || c.memory != nil {
		t.Errorf("the next run begins with %+v", c)
	}
	for i := range 3 * samples {
		c.take(use("a", 2, float64(i), 1, i))
	}
	if len(c.cpu) != samples || len(c.memory) != samples {
		t.Errorf("%d and %d samples", len(c.cpu), len(c.memory))
	}
}

// What a long page says last is what matters.
func TestTopScrollsALongPage(t *testing.T) {
	m := topWith([]Host{{}}, &fakeSource{}, three()...)
	m.Update(tea.WindowSizeMsg{Width: 80, Height: 10})
	var page []string
	for i := range 20 {
		page = append(page, fmt.Sprintf("line %d", i))
	}
	m.read(page)
	tests := []struct{ keys, first, last, below string }{
		{"", "line 0", "line 7", "12 lines below"},
		{"down j", "line 2", "line 9", "10 lines below"},
		{"up", "line 1", "line 8", "11 lines below"},
		{"pgdown", "line 8", "line 15", "4 lines below"},
		{"space", "line 12", "line 19", "0 lines below"},
		{"down", "line 12", "line 19", "0 lines below"},
		{"g", "line 0", "line 7", "12 lines below"},
		{"k pgup", "line 0", "line 7", "12 lines below"},
		{"end", "line 12", "line 19", "0 lines below"},
	}
	for _, tt := range tests {
		perform(m, strings.Fields(tt.keys)...)
		rows := strings.Split(rowsOf(m), "\n")
		if rows[1] != tt.first || rows[8] != tt.last || !strings.HasPrefix(rows[9], tt.below) {
			t.Errorf("%s: got\n%s", tt.keys, strings.Join(rows, "\n"))
		}
	}
	// A larger terminal shows all of it, a narrower one more lines.
	m.Update(tea.WindowSizeMsg{Width: 80, Height: 30})
	if got := rowsOf(m); !strings.Contains(got, "\nline 0\n") || !strings.HasSuffix(got, "\nany key goes back") {
		t.Errorf("got\n%s", got)
	}
	m.Update(tea.WindowSizeMsg{Width: 20, Height: 2})
	m.Update(tea.WindowSizeMsg{Width: 1, Height: 1})
	perform(m, "q")
	if m.mode != browsing {
		t.Error("q does not go back")
	}
}

// What the last line says of a page that is to be seen as a whole is true of the
// keys that would scroll another one, too.
func TestTopGoesBackByAnyKeyOfAPageThatFits(t *testing.T) {
	for _, key := range strings.Fields("up k down j pgup ctrl+b pgdown ctrl+f space home g end G x esc") {
		m := topWith([]Host{{}}, &fakeSource{}, three()...)
		m.Update(tea.WindowSizeMsg{Width: 100, Height: 50})
		perform(m, "?")
		if got := rowsOf(m); m.mode != reading || !strings.HasSuffix(got, "\nany key goes back") {
			t.Fatalf("mode %d, got\n%s", m.mode, got)
		}
		selected := m.selected
		perform(m, key)
		if m.mode != browsing || m.selected != selected {
			t.Errorf("%s: mode %d, %v is selected after %v", key, m.mode, m.selected, selected)
		}
	}
}
