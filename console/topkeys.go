package console

import (
	"strings"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"

	"kita/spec"
)

// help is what ? shows.
var help = []string{
	"up, down, j, k    select a child         home, end, g, G   the first, the last",
	"page up, down     a screen further       /                 filter by its name,",
	"s                 sort by another column                   host or phase",
	"S                 start it               esc               no filter, back",
	"T                 stop it                w                 why it is as it is",
	"R                 restart it             q, Ctrl-C         quit",
	"z                 wrap or cut its output",
	"",
	"CPU is percent of one processor, memory what the kernel could not take back",
	"at once, both of the whole child. Only what is on the screen is measured.",
}

// commands are the keys of those.
var commands = map[string]spec.Verb{"S": spec.VerbStart, "T": spec.VerbStop, "R": spec.VerbRestart}

// doing says that a command is under way.
var doing = map[spec.Verb]string{spec.VerbStart: "starting", spec.VerbStop: "stopping", spec.VerbRestart: "restarting"}

// key does what a key asks for.
func (m *Top) key(k tea.KeyPressMsg) tea.Cmd {
	name := k.String()
	if name == "ctrl+c" {
		return tea.Quit
	}
	if name == "ctrl+z" {
		return tea.Suspend
	}
	switch m.mode {
	case filtering:
		m.editFilter(k)
	case confirming:
		return m.confirm(name)
	case reading:
		m.leaf(name)
	case browsing:
		return m.browse(name)
	}
	return nil
}

func (m *Top) browse(name string) tea.Cmd {
	page := max(m.tableRoom()-1, 1)
	// What was said has been read.
	m.say("", "")
	switch name {
	case "q":
		return tea.Quit
	case "up", "k":
		m.move(-1)
	case "down", "j":
		m.move(1)
	case "pgup", "ctrl+b":
		m.move(-page)
	case "pgdown", "ctrl+f", "space":
		m.move(page)
	case "home", "g":
		m.move(-len(m.order))
	case "end", "G":
		m.move(len(m.order))
	case "s":
		m.sort = (m.sort + 1) % sortColumns
		if m.sort == byHost && !m.many {
			m.sort++
		}
		m.unsorted = true
		m.say("", "sorted by "+m.sort.String())
	case "z":
		m.output.wrap = !m.output.wrap
	case "/":
		m.mode = filtering
	case "esc":
		m.filter, m.unsorted = "", true
	case "?":
		m.read(help)
	case "w":
		if m.at() >= 0 {
			key := m.selected
			m.say("", "asking why")
			return func() tea.Msg { return m.src.why(key) }
		}
	case "S", "T", "R":
		if m.at() >= 0 {
			m.mode, m.verb, m.target = confirming, commands[name], m.selected
			m.dropUnreadable()
		}
	}
	return nil
}

// read shows a page.
func (m *Top) read(page []string) { m.mode, m.page, m.scrolled = reading, page, 0 }

// leaf scrolls the page; a key that does not, goes back, and so does any key where
// all of the page is to be seen.
func (m *Top) leaf(name string) {
	room, most := m.pageRoom(), m.mostScrolled()
	if most == 0 {
		m.mode, m.page = browsing, nil
		return
	}
	screen := max(room-1, 1)
	switch name {
	case "up", "k":
		m.scrolled--
	case "down", "j":
		m.scrolled++
	case "pgup", "ctrl+b":
		m.scrolled -= screen
	case "pgdown", "ctrl+f", "space":
		m.scrolled += screen
	case "home", "g":
		m.scrolled = 0
	case "end", "G":
		m.scrolled = most
	default:
		m.mode, m.page = browsing, nil
	}
	m.scrolled = min(max(m.scrolled, 0), most)
}

// move moves the cursor by so many rows.
func (m *Top) move(by int) {
	if len(m.order) == 0 {
		return
	}
	m.selected = m.order[min(max(m.at()+by, 0), len(m.order)-1)].key
}

// editFilter takes a key of the filter's text.
func (m *Top) editFilter(k tea.KeyPressMsg) {
	switch k.String() {
	case "enter":
		m.mode = browsing
	case "esc":
		m.mode, m.filter = browsing, ""
	case "backspace":
		_, size := utf8.DecodeLastRuneInString(m.filter)
		m.filter = m.filter[:len(m.filter)-size]
	case "ctrl+u":
		m.filter = ""
	default:
		const longest = 64
		if len(m.filter) < longest {
			m.filter += k.Text
		}
	}
	m.unsorted = true
}

// question is what is to be confirmed. Of a long name the middle is left out; fits
// tells whether all else is to be seen.
func (m *Top) question() (text string, fits bool) {
	on := ""
	if host := m.hosts[m.target.host].name; host != "" {
		on = " on " + m.words.Printable(host)
	}
	text = m.naming(string(m.verb)+" ", m.target.name, on+"? y/n")
	return text, Width(text) <= m.columns && m.rows > 0
}

// dropUnreadable takes a question back that the terminal has no room for: nobody is
// to say yes to what he cannot read.
func (m *Top) dropUnreadable() {
	if m.mode != confirming {
		return
	}
	if _, fits := m.question(); !fits {
		m.mode = browsing
		m.say(yellow, "too narrow to ask")
	}
}

// naming is a text with a name in it, which is shortened where the text is too wide
// for the terminal.
func (m *Top) naming(before, name, after string) string {
	room := m.columns - Width(before) - Width(after)
	return before + m.words.shortened(m.words.Printable(name), max(room, leastName)) + after
}

// leastName is how much of a name has to be seen of one that is shortened.
const leastName = 8

// confirm takes the answer. Nothing but y is a yes.
func (m *Top) confirm(name string) tea.Cmd {
	m.mode = browsing
	if name != "y" {
		m.say("", "nothing is done")
		return nil
	}
	key, verb := m.target, m.verb
	m.say("", m.naming(doing[verb]+" ", key.name, ""))
	return func() tea.Msg { return m.src.do(key, verb) }
}

// tell shows what became of a command.
func (m *Top) tell(d done) {
	on := ""
	if host := m.hosts[d.key.host].name; host != "" {
		on = host + ": "
	}
	colour, text := green, ""
	if d.err != nil {
		colour, text = red, m.words.Error(d.err)
	} else {
		text = m.words.Outcome(d.out)
	}
	if before, after, there := strings.Cut(text, d.key.name); there {
		text = m.naming(on+before, d.key.name, after)
	} else {
		text = on + text
	}
	m.say(colour, text)
}

// answer shows why.
func (m *Top) answer(a whyAnswer) {
	if a.err != nil {
		m.say(red, m.words.Error(a.err))
		return
	}
	m.say("", "")
	m.read(strings.Split(strings.TrimRight(a.text, "\n"), "\n"))
}

// say sets the last line. The text may be a host's own.
func (m *Top) say(colour, text string) { m.status, m.statusColour = m.words.Printable(text), colour }
