package console

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	tea "charm.land/bubbletea/v2"

	"kita/spec"
)

// Below these heights a part of the screen is left out: the heading of the table,
// what is said of hosts, the output.
const (
	rowsForHeading = 4
	rowsForTrouble = 6
	rowsForOutput  = 12
)

// troubles is what is said of hosts that do not answer; three of them at most.
func (m *Top) troubles() []string {
	if m.rows < rowsForTrouble {
		return nil
	}
	const most = 3
	var lines []string
	more := 0
	for i := range m.hosts {
		text := m.hosts[i].trouble(&m.words)
		switch {
		case text == "":
		case len(lines) == most:
			more++
		default:
			lines = append(lines, text)
		}
	}
	if more > 0 {
		lines[most-1] += fmt.Sprintf(" (and %d hosts more)", more)
	}
	return lines
}

// tableRoom is how many children fit, outputRoom how many lines of output below
// their title.
func (m *Top) tableRoom() int { table, _ := m.rooms(); return table }

func (m *Top) rooms() (table, output int) {
	// The header and the last line.
	free := m.rows - 2 - len(m.troubles())
	if m.rows >= rowsForHeading {
		free--
	}
	if m.rows >= rowsForOutput {
		// What the table has no use for is the output's.
		output = max(free*2/5, free-len(m.order))
	}
	return max(free-output, 1), max(output-1, 0)
}

// View draws the screen.
func (m *Top) View() tea.View {
	lines := []string{m.header()}
	for _, text := range m.troubles() {
		lines = append(lines, m.words.coloured(yellow, m.words.cut(text, m.columns)))
	}
	if m.mode == reading {
		// The terminal may have become larger.
		page := m.pageLines()[min(m.scrolled, m.mostScrolled()):]
		lines = append(lines, page[:min(len(page), m.pageRoom())]...)
	} else {
		lines = append(lines, m.tableLines()...)
	}
	if len(lines) > m.rows-1 {
		lines = lines[:max(m.rows-1, 0)]
	}
	for len(lines) < m.rows-1 {
		lines = append(lines, "")
	}
	if m.rows > 0 {
		lines = append(lines, m.lastLine())
	}
	return fullScreen(strings.Join(lines, "\n"), "kita top")
}

// header counts the children, and says what those use that are measured.
func (m *Top) header() string {
	phases := map[spec.Phase]int{}
	var cpu, memory float64
	alive, known := 0, 0
	for _, c := range m.children {
		phases[c.view.Status.Phase]++
		if c.view.Status.Alive() {
			alive++
		}
		if c.last != nil {
			known++
			memory += float64(c.last.MemoryBytes)
			if share, ok := latest(c.cpu); ok {
				cpu += share
			}
		}
	}
	parts := []string{"kita top"}
	if m.many {
		answering := 0
		for i := range m.hosts {
			if m.hosts[i].up {
				answering++
			}
		}
		parts = append(parts, fmt.Sprintf("%d of %d hosts", answering, len(m.hosts)))
	}
	counts := count(len(m.children), "child", "children")
	separator := ": "
	for _, phase := range spec.Phases() {
		if n := phases[phase]; n > 0 {
			counts += separator + strconv.Itoa(n) + " " + string(phase)
			separator = ", "
		}
	}
	parts = append(parts, counts)
	if known > 0 {
		use := fmt.Sprintf("cpu %s%% mem %s", percent([]float64{cpu}), m.words.Size(uint64(memory)))
		if known < alive {
			use += fmt.Sprintf(" (%d of %d measured)", known, alive)
		}
		parts = append(parts, use)
	}
	return styled(bold, m.words.cut(strings.Join(parts, "  "), m.columns))
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// column is one of the table. Where there is no room for all, those of the
// largest rank go first.
type column struct {
	title string
	rank  int
	right bool
	text  func(*child) string
	sgr   func(*child) string
}

func (m *Top) allColumns() []column {
	w := &m.words
	uptime := func(c *child) string {
		if p := c.view.Status.Process; p != nil {
			return w.Ago(m.now.Sub(p.StartedAt))
		}
		return nothing
	}
	pid := func(c *child) string {
		if p := c.view.Status.Process; p != nil {
			return strconv.Itoa(p.PID)
		}
		return nothing
	}
	memory := func(c *child) string {
		if c.last == nil {
			return nothing
		}
		return w.Size(c.last.MemoryBytes)
	}
	columns := []column{
		{title: "NAME", text: func(c *child) string { return w.cut(w.Printable(c.key.name), longestName) }},
		{title: "PHASE", rank: 2, text: func(c *child) string { return string(c.view.Status.Phase) },
			sgr: func(c *child) string { return w.Phase(c.view.Status.Phase) }},
		{title: "CPU%", rank: 3, right: true, text: func(c *child) string { return percent(c.cpu) }},
		{rank: 8, text: w.cpuSpark},
		{title: "MEMORY", rank: 4, right: true, text: memory},
		{rank: 9, text: w.memorySpark},
		{title: "PID", rank: 7, right: true, text: pid},
		{title: "UPTIME", rank: 5, right: true, text: uptime},
		{title: "RESTARTS", rank: 6, right: true, text: func(c *child) string { return strconv.FormatUint(c.view.Status.Restarts, 10) }},
		{title: "REASON", rank: 10, text: func(c *child) string { return w.Printable(w.Remarks(&c.view)) }},
	}
	if m.many {
		columns = append([]column{{title: "HOST", rank: 1, text: func(c *child) string { return w.cut(w.Printable(m.hosts[c.key.host].name), longestName) }}}, columns...)
	}
	return columns
}

// longestName is how much of a name is shown.
const longestName = 32

// leastReason is how much room there must be for reasons, which are cut.
const leastReason = 12

// fitting are the columns that there is room for, with their widths.
func (m *Top) fitting(shown []*child) ([]column, []int) {
	columns := m.allColumns()
	widths := make([]int, len(columns))
	for i, c := range columns {
		widths[i] = len(c.title)
		for _, row := range shown {
			widths[i] = max(widths[i], Width(c.text(row)))
		}
	}
	last := len(columns) - 1
	if widths[last] == len(columns[last].title) {
		columns, widths = columns[:last], widths[:last]
	} else {
		widths[last] = min(widths[last], leastReason)
	}
	for {
		total := 2
		for _, width := range widths {
			total += width + 2
		}
		if total-2 <= m.columns || len(columns) == 1 {
			break
		}
		drop := 0
		for i, c := range columns {
			if c.rank > columns[drop].rank {
				drop = i
			}
		}
		columns, widths = slices.Delete(columns, drop, drop+1), slices.Delete(widths, drop, drop+1)
	}
	return columns, widths
}

// tableLines are the children, and the output of the selected one.
func (m *Top) tableLines() []string {
	shown := m.visible()
	columns, widths := m.fitting(shown)
	var lines []string
	if m.rows >= rowsForHeading {
		var b strings.Builder
		b.WriteString("  ")
		for i, c := range columns {
			b.WriteString(aligned(c, c.title, widths[i]) + "  ")
		}
		lines = append(lines, m.words.cut(strings.TrimRight(b.String(), " "), m.columns))
	}
	for _, row := range shown {
		lines = append(lines, m.rowLine(row, columns, widths))
	}
	if len(m.order) == 0 {
		lines = append(lines, m.words.cut("  "+m.emptyText(), m.columns))
	}
	if _, room := m.rooms(); room > 0 {
		lines = append(lines, m.outputTitle())
		lines = append(lines, m.output.draw(&m.words, m.columns, room)...)
	}
	return lines
}

func aligned(c column, text string, columns int) string {
	if c.right {
		return flushed(text, columns)
	}
	return padded(text, columns)
}

// rowLine is a child. That with the cursor is reversed as far as the screen goes.
func (m *Top) rowLine(row *child, columns []column, widths []int) string {
	selected := row.key == m.selected
	mark := "  "
	if selected {
		mark = "> "
	}
	var b strings.Builder
	b.WriteString(mark)
	for i, c := range columns {
		text := aligned(c, c.text(row), widths[i])
		if c.sgr != nil && !selected && m.hosts[row.key.host].up {
			text = m.words.coloured(c.sgr(row), text)
		}
		b.WriteString(text)
		if i < len(columns)-1 {
			b.WriteString("  ")
		}
	}
	line := m.words.cut(b.String(), m.columns)
	switch {
	case selected:
		return styled(reverse, padded(line, m.columns))
	case !m.hosts[row.key.host].up:
		return styled(faint, line)
	}
	return line
}

func (m *Top) emptyText() string {
	switch {
	case m.filter != "" && len(m.children) > 0:
		return "no child matches " + m.words.Printable(m.filter)
	case slices.ContainsFunc(m.hosts, func(h hostState) bool { return h.synced }):
		return "no children"
	}
	return "waiting for the children"
}

func (m *Top) outputTitle() string {
	if m.selected.host < 0 {
		return ""
	}
	text := "output of " + m.words.Printable(m.selected.name)
	if host := m.hosts[m.selected.host].name; host != "" {
		text += " on " + m.words.Printable(host)
	}
	return styled(bold, m.words.cut(text, m.columns))
}

// pageLines is the page, as wide as the terminal.
func (m *Top) pageLines() []string {
	var lines []string
	for _, line := range m.page {
		for _, piece := range wrapped(m.words.Line(line), m.columns) {
			lines = append(lines, m.words.cut(piece, m.columns))
		}
	}
	return lines
}

// pageRoom is how many lines of the page fit between the header and the last line,
// mostScrolled how many are above those when its end is shown.
func (m *Top) pageRoom() int     { return max(m.rows-2-len(m.troubles()), 0) }
func (m *Top) mostScrolled() int { return max(len(m.pageLines())-m.pageRoom(), 0) }

// lastLine is the question, the filter, what became of a command, or the keys.
func (m *Top) lastLine() string {
	switch m.mode {
	case confirming:
		text, _ := m.question()
		return styled(reverse, m.words.cut(text, m.columns))
	case filtering:
		return m.words.cut("/"+m.words.Printable(m.filter)+"_", m.columns)
	case reading:
		text := "any key goes back"
		if most := m.mostScrolled(); most > 0 {
			text = fmt.Sprintf("%d lines below, up and down scroll, any other key goes back", most-min(m.scrolled, most))
		}
		return m.words.cut(text, m.columns)
	case browsing:
	}
	if m.status != "" {
		return m.words.coloured(m.statusColour, m.words.cut(m.status, m.columns))
	}
	text := "? help  q quit  / filter  s sort: " + m.sort.String() + "  S start  T stop  R restart"
	if m.filter != "" {
		text = "only " + m.words.Printable(m.filter) + " (esc: all)  " + text
	}
	return styled(faint, m.words.cut(text, m.columns))
}
