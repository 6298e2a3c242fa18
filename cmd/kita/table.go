package main

import (
	"io"
	"strings"

	"kita/console"
)

// cell is a text of a table, which may be a host's own: it is escaped when it is
// added. colour is an SGR parameter or empty.
type cell struct{ text, colour string }

// table is rows below a heading, every column as wide as its longest cell.
type table struct {
	heading []string
	rows    [][]cell
}

func (t *table) add(row ...cell) {
	for i := range row {
		row[i].text = printable(row[i].text)
	}
	t.rows = append(t.rows, row)
}

// write prints t, each line after prefix.
func (t *table) write(w io.Writer, p *program, prefix string) error {
	widths := make([]int, len(t.heading))
	for i, title := range t.heading {
		widths[i] = console.Width(title)
	}
	for _, row := range t.rows {
		for i, c := range row {
			widths[i] = max(widths[i], console.Width(c.text))
		}
	}
	var b strings.Builder
	heading := make([]cell, len(t.heading))
	for i, title := range t.heading {
		heading[i].text = title
	}
	line := len(prefix) + 1
	for _, width := range widths {
		line += width + 2
	}
	b.Grow(min(line*(1+len(t.rows)), 16<<20))
	b.WriteString(prefix)
	writeRow(&b, p, heading, widths)
	for _, row := range t.rows {
		b.WriteString(prefix)
		writeRow(&b, p, row, widths)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeRow pads outside of the colours, and not at the end of the line.
func writeRow(b *strings.Builder, p *program, row []cell, widths []int) {
	last := len(row) - 1
	for last > 0 && row[last].text == "" {
		last--
	}
	for i, c := range row[:last+1] {
		b.WriteString(p.paint(c.colour, c.text))
		if i < last {
			for range widths[i] - console.Width(c.text) + 2 {
				b.WriteByte(' ')
			}
		}
	}
	b.WriteByte('\n')
}
