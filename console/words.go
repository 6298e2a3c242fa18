package console

import (
	"time"

	"kita/spec"
)

// Words are how things are written, so that a child looks the same here as in the
// output of the other commands. All of them must be set.
type Words struct {
	// Heading are the titles of the columns of Row, without that of the host.
	Heading []string
	// Row are the cells of a child, one for each title; fewer where the last are
	// empty.
	Row func(v *spec.View, now time.Time) []Cell
	// Phase is the colour of a phase, an SGR parameter or empty.
	Phase func(spec.Phase) string
	// Remarks is what is wrong with a child or awaited, in a line.
	Remarks func(*spec.View) string
	// Ago is a length of time in few characters, Size a number of bytes.
	Ago  func(time.Duration) string
	Size func(uint64) string
	// Printable is a text without anything that a terminal would act on, Line the
	// same of a line of output, which may have tabs.
	Printable, Line func(string) string
	// Outcome says in a line what a command did, Error in one why it failed.
	Outcome func(spec.Outcome) string
	Error   func(error) string
	// Colour: colours may be used. UTF8: so may the characters of Unicode.
	Colour, UTF8 bool
}

// Cell is a text of a table. Key is what is compared to tell that it has
// changed; where it is empty the text is.
type Cell struct{ Text, Colour, Key string }

func (c Cell) key() string {
	if c.Key != "" {
		return c.Key
	}
	return c.Text
}

// SGR parameters of ECMA-48.
const (
	bold    = "1"
	faint   = "2"
	reverse = "7"
	red     = "31"
	green   = "32"
	yellow  = "33"
)

// styled is the text in the style of an SGR parameter, where it has one.
func styled(sgr, text string) string {
	if sgr == "" || text == "" {
		return text
	}
	return "\x1b[" + sgr + "m" + text + "\x1b[m"
}

// coloured is styled, where colours are wanted.
func (w *Words) coloured(sgr, text string) string {
	if !w.Colour {
		return text
	}
	return styled(sgr, text)
}

// ellipsis ends a text that is cut.
func (w *Words) ellipsis() string {
	if w.UTF8 {
		return "…"
	}
	return "~"
}
