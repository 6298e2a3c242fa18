package console

import "strings"

// keptLines is how many lines of output are kept, and longestLine how many bytes
// of each.
const (
	keptLines   = 500
	longestLine = 4 << 10
)

// output is the tail of what the selected child writes.
type output struct {
	// number is that of the pieces which belong to it.
	number int
	lines  []string
	rest   string
	err    error
	// told: a piece has come.
	told bool
	wrap bool
}

// begin forgets what there is, for another child.
func (o *output) begin() {
	*o = output{number: o.number + 1, wrap: o.wrap}
}

// take appends a piece, unless it is of a child that is not selected any more.
func (o *output) take(p outputPiece) {
	if p.number != o.number {
		return
	}
	o.told, o.err = true, p.err
	for _, line := range p.lines {
		if len(line) > longestLine {
			// Not a part of what is to be forgotten.
			line = strings.Clone(line[:longestLine])
		}
		o.lines = append(o.lines, line)
	}
	if len(p.lines) > 0 || p.rest != "" {
		o.rest = p.rest
	}
	if extra := len(o.lines) - keptLines; extra > 0 {
		o.lines = append(o.lines[:0:0], o.lines[extra:]...)
	}
}

// draw are the last lines that fit.
func (o *output) draw(w *Words, columns, room int) []string {
	if room <= 0 {
		return nil
	}
	all := o.lines
	if o.rest != "" {
		all = append(all[:len(all):len(all)], o.rest)
	}
	if len(all) == 0 {
		text := "nothing was written yet"
		switch {
		case o.err != nil:
			text = w.Printable(w.Error(o.err))
		case !o.told:
			text = ""
		}
		return []string{styled(faint, w.cut(text, columns))}
	}
	// No more lines than there is room for can be seen.
	all = all[max(len(all)-room, 0):]
	var drawn []string
	for _, line := range all {
		line = w.Line(strings.TrimSuffix(line, "\r"))
		if o.wrap {
			for _, piece := range wrapped(line, columns) {
				// One column has no room for a wide character.
				drawn = append(drawn, w.cut(piece, columns))
			}
		} else {
			drawn = append(drawn, w.cut(line, columns))
		}
	}
	return drawn[max(len(drawn)-room, 0):]
}
