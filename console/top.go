package console

import (
	"cmp"
	"context"
	"io"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"kita/spec"
)

// Top is the screen of `kita top`: the children of some hosts, and the output of
// the one that is selected.
type Top struct {
	words Words
	many  bool
	src   source
	hosts []hostState
	// asked: a usage of the host is under way. old: its server knows of none.
	asked, old []bool
	children   map[childKey]*child
	// order are the children that the filter lets through, sorted; it is made anew
	// when unsorted.
	order    []*child
	unsorted bool
	sort     sortColumn
	filter   string
	// selected is the child with the cursor, first the row at the top.
	selected childKey
	first    int
	// last is the row of the cursor when it was last looked for.
	last int
	// followed is the child whose output is.
	followed childKey
	output   output
	// mode is what the keys mean.
	mode mode
	// verb is what is to be confirmed, for target.
	verb   spec.Verb
	target childKey
	// status is the last line; statusColour its colour.
	status, statusColour string
	// page is a text in place of the table, of lines; scrolled of them, as wide as
	// the terminal, are above what is shown.
	page          []string
	scrolled      int
	now           time.Time
	columns, rows int
	err           error
}

// mode is what the keys mean.
type mode int

const (
	browsing mode = iota
	filtering
	confirming
	reading // a page of text
)

// followAfter is how long the selection has to stay before the output of a child
// is asked for: who goes through the list with a key asks for none on the way.
const followAfter = 150 * time.Millisecond

// followNow asks for the output of what is selected, if its number still is that.
type followNow int

// ShowTop has the screen on the terminal until the user ends it. many: the hosts
// are named. A command may take so long as timeout. The error is that of the only
// host where it cannot be reached at first.
func ShowTop(ctx context.Context, feed *Feed, words Words, why WhyFunc, timeout time.Duration, many bool, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	src := &live{ctx: ctx, feed: feed, whyFunc: why, timeout: timeout, news: make(chan any)}
	src.begin()
	err := show(ctx, newTop(feed.hosts, words, many, src, time.Now()), feed.Follow, in, out)
	cancel()
	src.end()
	return err
}

func newTop(hosts []Host, words Words, many bool, src source, now time.Time) *Top {
	return &Top{
		words: words, many: many, src: src, hosts: newHostStates(hosts),
		asked: make([]bool, len(hosts)), old: make([]bool, len(hosts)),
		children: map[childKey]*child{}, now: now, columns: 80, rows: 24,
		selected: childKey{host: -1}, followed: childKey{host: -1},
	}
}

func (m *Top) result() error { return m.err }

// Init begins to wait for news and for the time.
func (m *Top) Init() tea.Cmd { return tea.Batch(m.wait, everySecond()) }

func (m *Top) wait() tea.Msg { return m.src.next() }

// Update takes a message.
func (m *Top) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.columns, m.rows = msg.Width, msg.Height
		m.dropUnreadable()
		return m, m.settle(nil)
	case tea.KeyPressMsg:
		return m, m.settle(m.key(msg))
	case tick:
		m.now = time.Time(msg)
		return m, tea.Batch(everySecond(), m.measure())
	case []News:
		for _, n := range msg {
			m.learn(n)
			if m.err != nil {
				return m, tea.Quit
			}
		}
		return m, m.settle(m.wait)
	case outputPiece:
		m.output.take(msg)
		return m, m.wait
	case followNow:
		if int(msg) == m.output.number {
			key, number := m.selected, m.output.number
			return m, func() tea.Msg { m.src.follow(number, key); return nil }
		}
	case usages:
		return m, m.use(msg)
	case done:
		m.tell(msg)
	case whyAnswer:
		m.answer(msg)
	}
	return m, nil
}

// learn takes one piece of news.
func (m *Top) learn(n News) {
	host := &m.hosts[n.Host]
	host.note(n)
	key := childKey{n.Host, n.Change.View.Name}
	switch {
	case n.Err != nil:
		if !host.was && len(m.hosts) == 1 {
			m.err = n.Err
		}
	case n.Up:
		m.old[n.Host] = false
		if m.followed.host == n.Host {
			// The stream went with the server, or with the way there.
			m.followed = childKey{host: -1}
		}
	case n.Change.Type == spec.Synced:
		host.synced = true
	case n.Change.Type == spec.Removed:
		delete(m.children, key)
		m.unsorted = true
	case n.Change.Type == spec.Present:
		c := m.children[key]
		if c == nil {
			c = &child{key: key}
			m.children[key] = c
		}
		c.present(n.Change.View)
		m.unsorted = true
	}
}

// measured is every how many seconds it is asked what children use: those that
// are to be seen, or all where they are sorted by that.
const (
	measured    = 2
	measuredAll = 6
)

// measure asks the hosts what their children use.
func (m *Top) measure() tea.Cmd {
	all := m.sort == byCPU || m.sort == byMemory
	every := int64(measured)
	if all && len(m.children) > 2*m.tableRoom() {
		every = measuredAll
	}
	if m.now.Unix()%every != 0 {
		return nil
	}
	names := make([][]string, len(m.hosts))
	for _, c := range m.visible() {
		if c.view.Status.Alive() {
			names[c.key.host] = append(names[c.key.host], c.key.name)
		}
	}
	var asks []tea.Cmd
	for host := range m.hosts {
		if !m.hosts[host].up || m.asked[host] || m.old[host] || len(names[host]) == 0 && !all {
			continue
		}
		m.asked[host] = true
		of := names[host]
		if all {
			of = nil
		}
		asks = append(asks, func() tea.Msg { return m.src.usage(host, of) })
	}
	return tea.Batch(asks...)
}

// use takes what children of a host use.
func (m *Top) use(u usages) tea.Cmd {
	m.asked[u.host] = false
	if u.err != nil {
		// A server that does not know the question is not asked again; one that is
		// away tells so by itself.
		m.old[u.host] = isOld(u.err)
		return nil
	}
	for _, usage := range u.children {
		if c := m.children[childKey{u.host, usage.Name}]; c != nil {
			c.take(usage)
		}
	}
	m.unsorted = m.unsorted || m.sort == byCPU || m.sort == byMemory
	return m.settle(nil)
}

// settle sorts anew where that is due, keeps the cursor on its child and the
// cursor on the screen. It returns also, and what asks for the output of another
// child where that one is another.
func (m *Top) settle(also tea.Cmd) tea.Cmd {
	if m.unsorted {
		m.arrange()
	}
	at := m.at()
	switch {
	case len(m.order) == 0:
		m.selected = childKey{host: -1}
	case at < 0:
		// What was selected is gone: the cursor stays where it was.
		at = min(m.last, len(m.order)-1)
		m.selected = m.order[at].key
	}
	m.last = max(at, 0)
	room := m.tableRoom()
	m.first = max(min(m.first, len(m.order)-room), 0)
	switch {
	case at < m.first:
		m.first = max(at, 0)
	case at >= m.first+room:
		m.first = at - room + 1
	}
	if m.selected == m.followed {
		return also
	}
	m.followed = m.selected
	m.output.begin()
	number := m.output.number
	return tea.Batch(also, tea.Tick(followAfter, func(time.Time) tea.Msg { return followNow(number) }))
}

// at is the place of what is selected; negative where it is not there.
func (m *Top) at() int {
	return slices.IndexFunc(m.order, func(c *child) bool { return c.key == m.selected })
}

// arrange filters and sorts the children.
func (m *Top) arrange() {
	m.unsorted = false
	m.order = m.order[:0]
	for _, c := range m.children {
		if m.matches(c) {
			m.order = append(m.order, c)
		}
	}
	slices.SortFunc(m.order, func(a, b *child) int {
		return cmp.Or(m.sort.compare(a, b), strings.Compare(a.key.name, b.key.name), cmp.Compare(a.key.host, b.key.host))
	})
}

// matches tells whether the filter is in what is shown of the child.
func (m *Top) matches(c *child) bool {
	if m.filter == "" {
		return true
	}
	text := strings.ToLower(c.key.name + " " + m.hosts[c.key.host].name + " " + string(c.view.Status.Phase))
	return strings.Contains(text, strings.ToLower(m.filter))
}

// visible are the children on the screen.
func (m *Top) visible() []*child {
	from := min(m.first, len(m.order))
	return m.order[from:min(from+m.tableRoom(), len(m.order))]
}
