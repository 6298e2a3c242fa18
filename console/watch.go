package console

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"kita/control"
	"kita/spec"
)

// markedFor is how long a change stays marked, and goneFor how long a removed
// child stays in the table.
const (
	markedFor = 4 * time.Second
	goneFor   = 4 * time.Second
)

// childKey names a child of some host.
type childKey struct {
	host int
	name string
}

func compareKeys(a, b childKey) int {
	return cmp.Or(cmp.Compare(a.host, b.host), strings.Compare(a.name, b.name))
}

// watched is a row of the table.
type watched struct {
	key  childKey
	view spec.View
	keys []string
	// changed says until when each cell is marked.
	changed []time.Time
	// gone is when the child was removed; zero while it is there.
	gone time.Time
}

// Watch is the table of children, drawn anew as they change.
type Watch struct {
	words Words
	many  bool
	child string // the only one to be shown, or empty
	next  func() []News
	hosts []hostState
	rows  map[childKey]*watched
	order []childKey
	now   time.Time
	// columns and lines are the size of the terminal.
	columns, lines int
	err            error
}

// ShowWatch has the table of the children on the terminal until the user ends
// it. child is the only one to be shown, or empty for all. many: the hosts are
// named. The error is that of the only host where it cannot be reached, or does
// not have the child.
func ShowWatch(ctx context.Context, feed *Feed, words Words, child string, many bool, in io.Reader, out io.Writer) error {
	next := func() []News { return feed.Next(ctx) }
	return show(ctx, newWatch(feed.hosts, words, child, many, next, time.Now()), feed.Follow, in, out)
}

func newWatch(hosts []Host, words Words, child string, many bool, next func() []News, now time.Time) *Watch {
	return &Watch{
		words: words, many: many, child: child, next: next,
		hosts: newHostStates(hosts), rows: map[childKey]*watched{}, now: now, columns: 80, lines: 24,
	}
}

func (m *Watch) result() error { return m.err }

// Init begins to wait for news and for the time.
func (m *Watch) Init() tea.Cmd { return tea.Batch(m.wait, everySecond()) }

func (m *Watch) wait() tea.Msg { return m.next() }

// Update takes a message.
func (m *Watch) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.columns, m.lines = msg.Width, msg.Height
	case tea.KeyPressMsg:
		switch msg.String() {
		case "ctrl+c", "q", "esc":
			return m, tea.Quit
		case "ctrl+z":
			return m, tea.Suspend
		}
	case tick:
		m.now = time.Time(msg)
		m.forget()
		return m, everySecond()
	case []News:
		if msg == nil {
			return m, tea.Quit
		}
		for _, n := range msg {
			m.learn(n)
			if m.err != nil {
				return m, tea.Quit
			}
		}
		return m, m.wait
	}
	return m, nil
}

// learn takes one piece of news.
func (m *Watch) learn(n News) {
	host := &m.hosts[n.Host]
	host.note(n)
	name := n.Change.View.Name
	switch {
	case n.Err != nil:
		if !host.was && len(m.hosts) == 1 {
			m.err = n.Err
		}
	case n.Change.Type == spec.Synced:
		_, there := m.rows[childKey{n.Host, m.child}]
		if m.child != "" && !there && !host.synced && len(m.hosts) == 1 {
			m.err = control.NoSuchChild("", m.child)
		}
		host.synced = true
	case n.Change.Type == "" || m.child != "" && name != m.child:
	case n.Change.Type == spec.Removed:
		if row := m.rows[childKey{n.Host, name}]; row != nil {
			row.gone = m.now
		}
	default:
		m.present(childKey{n.Host, name}, n.Change.View, host.synced)
	}
}

// present takes a child as it is now. late: it is not of those that were there
// when the watch began.
func (m *Watch) present(key childKey, view spec.View, late bool) {
	cells := m.words.Row(&view, m.now)
	row := m.rows[key]
	if row == nil {
		row = &watched{key: key, changed: make([]time.Time, len(m.words.Heading))}
		m.rows[key] = row
		at, _ := slices.BinarySearchFunc(m.order, key, compareKeys)
		m.order = slices.Insert(m.order, at, key)
		if late {
			for i := range row.changed {
				row.changed[i] = m.now.Add(markedFor)
			}
		}
	}
	keys := make([]string, len(m.words.Heading))
	for i, c := range cells {
		keys[i] = c.key()
	}
	for i := range keys {
		if row.keys != nil && row.keys[i] != keys[i] {
			row.changed[i] = m.now.Add(markedFor)
		}
	}
	row.view, row.keys, row.gone = view, keys, time.Time{}
}

// forget drops the rows of what was removed long enough ago.
func (m *Watch) forget() {
	m.order = slices.DeleteFunc(m.order, func(key childKey) bool {
		gone := m.rows[key].gone
		over := !gone.IsZero() && m.now.Sub(gone) >= goneFor
		if over {
			delete(m.rows, key)
		}
		return over
	})
}

// View draws the table, as much as fits.
func (m *Watch) View() tea.View {
	var below []string
	for i := range m.hosts {
		if text := m.hosts[i].trouble(&m.words); text != "" {
			below = append(below, m.words.coloured(yellow, m.words.cut(text, m.columns)))
		}
	}
	// The heading and a row come first, whatever there is to be said.
	if most := max(m.lines-2, 0); len(below) > most {
		below = below[:most]
	}
	room := max(m.lines-1-len(below), 0)
	shown := m.order
	if len(shown) > room {
		shown = shown[:max(room-1, 0)]
		if room > 0 {
			below = append([]string{m.words.cut(fmt.Sprintf("%s and %d more", m.words.ellipsis(), len(m.order)-len(shown)), m.columns)}, below...)
		}
	}
	lines := m.table(shown)
	if len(m.order) == 0 {
		lines = []string{m.words.cut(m.emptyText(), m.columns)}
	}
	lines = append(lines, below...)
	if m.lines > 0 && len(lines) > m.lines {
		lines = lines[:m.lines]
	}
	return fullScreen(strings.Join(lines, "\n"), "kita check")
}

func (m *Watch) emptyText() string {
	for i := range m.hosts {
		if m.hosts[i].synced {
			return "no children"
		}
	}
	return "waiting for the children"
}

// table are the heading and the rows.
func (m *Watch) table(shown []childKey) []string {
	heading := m.words.Heading
	if m.many {
		heading = append([]string{"HOST"}, heading...)
	}
	rows := make([][]Cell, 0, len(shown))
	for _, key := range shown {
		rows = append(rows, m.cells(m.rows[key]))
	}
	widths := make([]int, len(heading))
	for _, row := range rows {
		for i, c := range row {
			widths[i] = max(widths[i], Width(c.Text))
		}
	}
	// A column in which nothing stands is left out, as check does with the reasons.
	used := func(i int) bool { return len(rows) == 0 || widths[i] > 0 }
	var top strings.Builder
	top.WriteString(m.mark(false))
	for i, title := range heading {
		if used(i) {
			widths[i] = max(widths[i], Width(title))
			top.WriteString(padded(title, widths[i]+2))
		}
	}
	lines := []string{m.words.cut(strings.TrimRight(top.String(), " "), m.columns)}
	for r, row := range rows {
		w := m.rows[shown[r]]
		var b strings.Builder
		b.WriteString(m.mark(m.isMarked(w)))
		for i, c := range row {
			if used(i) {
				b.WriteString(styled(m.style(w, i, c), c.Text))
				b.WriteString(blanks(widths[i] + 2 - Width(c.Text)))
			}
		}
		lines = append(lines, m.words.cut(strings.TrimRight(b.String(), " "), m.columns))
	}
	return lines
}

// cells are those of a row, each as it is to be seen.
func (m *Watch) cells(row *watched) []Cell {
	cells := m.words.Row(&row.view, m.now)
	for len(cells) < len(m.words.Heading) {
		cells = append(cells, Cell{})
	}
	if !row.gone.IsZero() {
		for i := 1; i < len(cells); i++ {
			cells[i] = Cell{}
		}
		cells[1] = Cell{Text: "removed", Colour: red}
	}
	if m.many {
		cells = append([]Cell{{Text: m.hosts[row.key.host].name}}, cells...)
	}
	for i := range cells {
		cells[i].Text = m.words.Printable(cells[i].Text)
	}
	return cells
}

// mark stands before each line where there are no colours.
func (m *Watch) mark(marked bool) string {
	switch {
	case m.words.Colour:
		return ""
	case marked:
		return "* "
	}
	return "  "
}

func (m *Watch) isMarked(row *watched) bool {
	return !row.gone.IsZero() || slices.ContainsFunc(row.changed, func(until time.Time) bool { return until.After(m.now) })
}

// style is that of a cell; i counts the host's.
func (m *Watch) style(row *watched, i int, c Cell) string {
	if !m.words.Colour {
		return ""
	}
	if m.many {
		i--
	}
	var sgr []string
	if !m.hosts[row.key.host].up {
		sgr = append(sgr, faint)
	}
	if !row.gone.IsZero() || i >= 0 && row.changed[i].After(m.now) {
		sgr = append(sgr, reverse)
	}
	if c.Colour != "" {
		sgr = append(sgr, c.Colour)
	}
	return strings.Join(sgr, ";")
}
