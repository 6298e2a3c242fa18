package main

import (
	"cmp"
	"context"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"kita/console"
	"kita/control"
	"kita/control/fleet"
	"kita/spec"
)

// consoleWords are the words of the other commands, for package console.
func (p *program) consoleWords(wide bool) console.Words {
	heading := slices.Clone(tableHeading)
	if wide {
		heading = append(heading, wideHeading...)
	}
	return console.Words{
		Heading: append(heading, "REASON"),
		Row:     func(v *spec.View, now time.Time) []console.Cell { return consoleRow(v, now, wide) },
		Phase:   phaseColour, Remarks: remarks, Ago: ago, Size: sizeText,
		Printable: printable, Line: func(line string) string { return printable(widened(line)) },
		Outcome: func(out spec.Outcome) string { return outcomeText(out, false) },
		Error:   func(err error) string { return strings.Join(errorLines(err), "; ") },
		Colour:  p.colour, UTF8: isUTF8(),
	}
}

// consoleRow is the row of a child. What only grows older has changed when what
// it is the age of has.
func consoleRow(v *spec.View, now time.Time, wide bool) []console.Cell {
	row := appendRow(nil, v, now)
	if wide {
		row = append(row, wideCells(v, now)...)
	}
	row = append(row, cell{text: remarks(v)})
	cells := make([]console.Cell, len(row))
	for i, c := range row {
		cells[i] = console.Cell{Text: c.text, Colour: c.colour}
	}
	const uptime, lastExit, nextStart, repeat = 3, 5, 7, 8
	// The PID says that it is another process.
	cells[uptime].Key = "age"
	if exit := v.Status.LastExit; exit != nil {
		cells[lastExit].Key = strconv.FormatUint(exit.Incarnation, 10) + " " + exit.String()
	}
	if wide {
		cells[nextStart].Key = "next " + moment(v.Status.NextStart)
		cells[repeat].Key = "repeat " + moment(v.Status.RepeatAt)
	}
	return cells
}

func moment(at *time.Time) string {
	if at == nil {
		return nothing
	}
	return at.UTC().Format(time.RFC3339)
}

// isUTF8 tells whether the user's locale has Unicode; see locale(7).
func isUTF8() bool {
	locale := strings.ToUpper(cmp.Or(os.Getenv("LC_ALL"), os.Getenv("LC_CTYPE"), os.Getenv("LANG")))
	return strings.Contains(locale, "UTF-8") || strings.Contains(locale, "UTF8")
}

// terminal is what the program writes to, where that is a terminal that can be
// drawn on.
func (p *program) terminal() (*os.File, bool) {
	out := p.out
	if w, ok := out.(wiping); ok {
		out = w.w
	}
	f, ok := out.(*os.File)
	return f, ok && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

// keyboard is where keys come from; nil where there is none: a signal ends the
// screen then.
func keyboard() io.Reader {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return nil
	}
	return os.Stdin
}

// feed follows one child of the hosts of r, or all where child is empty.
func (p *program) feed(r request, child string) *console.Feed {
	hosts := make([]console.Host, len(r.hosts))
	for i, h := range r.hosts {
		hosts[i] = console.Host{Name: label(r, h), Dial: func(ctx context.Context) (*control.Client, io.Closer, error) {
			target, closer, err := p.target(ctx, r, h)
			if err != nil {
				return nil, nil, err
			}
			return control.Dial(target), closer, nil
		}}
	}
	return console.NewFeed(hosts, child, r.timeout)
}

// quieten sees to it that nothing is asked or told while the screen is drawn:
// the hosts are logged in to once before, and what there is to answer is
// answered then.
func (p *program) quieten(ctx context.Context, r request) {
	if r.key != "" || slices.ContainsFunc(r.hosts, func(h fleet.Host) bool { return h.SSH || r.keyOf(h) != "" }) {
		// Those that do not answer are shown as such.
		ask(ctx, p, r, func(context.Context, *control.Client) (struct{}, error) { return struct{}{}, nil })
	}
	silent := func(string) {}
	refuse := func(string) ([]byte, error) { return nil, errNoTerminal }
	if r.hostKeys != nil {
		r.hostKeys.Notice = silent
	}
	if r.ssh != nil {
		r.ssh.Notice, r.ssh.Passphrase = silent, refuse
	}
	p.screen = nil
}
