package console

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// Width is how many columns a text takes on the terminal.
func Width(text string) int {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return ansi.StringWidth(text)
		}
	}
	return len(text)
}

// cut is a text in at most so many columns.
func (w *Words) cut(text string, columns int) string {
	if columns <= 0 {
		return ""
	}
	if Width(text) <= columns {
		return text
	}
	return ansi.Truncate(text, columns, w.ellipsis())
}

// shortened is a name in at most so many columns, its middle left out where it is
// longer: the names of many differ at the end.
func (w *Words) shortened(name string, columns int) string {
	all := Width(name)
	if all <= columns {
		return name
	}
	end := (columns - 1) / 2
	tail := ansi.TruncateLeft(name, all-end, "")
	if Width(tail) > end {
		// Half of a wide character is all of it.
		tail = ansi.TruncateLeft(name, all-end+1, "")
	}
	return ansi.Truncate(name, columns-1-end, "") + w.ellipsis() + tail
}

// padded fills a text up to so many columns, on the right, or on the left.
func padded(text string, columns int) string { return text + blanks(columns-Width(text)) }
func flushed(text string, columns int) string {
	return blanks(columns-Width(text)) + text
}

func blanks(n int) string { return strings.Repeat(" ", max(n, 0)) }

// wrapped are the lines that a text takes in so many columns.
func wrapped(text string, columns int) []string {
	if columns <= 0 || Width(text) <= columns {
		return []string{text}
	}
	return strings.Split(ansi.Hardwrap(text, columns, true), "\n")
}
