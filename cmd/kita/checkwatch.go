package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"time"

	"kita/console"
	"kita/control"
	"kita/control/fleet"
	"kita/spec"
)

// watch is `check --watch`.
func (p *program) watch(ctx context.Context, r request) error {
	if r.format == formatYAML {
		return usagef("-o yaml: check --watch takes json or wide")
	}
	if r.child == spec.All {
		r.child = ""
	}
	if out, ok := p.terminal(); ok && r.format != formatJSON {
		p.quieten(ctx, r)
		return console.ShowWatch(ctx, p.feed(r, r.child), p.consoleWords(r.format == formatWide), r.child, r.many, keyboard(), out)
	}
	return p.watchLines(ctx, r)
}

// watchLines prints a line for each child that there is, and one whenever it
// changes, until Ctrl-C or until nobody reads them.
func (p *program) watchLines(ctx context.Context, r request) error {
	ctx, stop := interruptible(ctx, os.Interrupt)
	defer stop(nil)
	ctx, release := whileRead(ctx, p.out)
	defer release()
	if w, ok := p.out.(interface{ SetPatience(time.Duration) }); ok {
		w.SetPatience(logPatience)
	}
	following, cancel := context.WithCancel(ctx)
	defer cancel()
	feed := p.feed(r, r.child)
	done := make(chan struct{})
	go func() {
		defer close(done)
		feed.Follow(following)
	}()
	defer func() {
		cancel()
		<-done
	}()
	l := newWatchPrinter(p, r)
	for {
		news := feed.Next(ctx)
		if news == nil {
			return nil
		}
		for _, n := range news {
			if err := l.take(n); err != nil {
				var broken *outputError
				if errors.As(err, &broken) {
					return broken.quiet()
				}
				return err
			}
		}
	}
}

// watchPrinter prints what it hears of children, a line each.
type watchPrinter struct {
	p *program
	r request
	// was are the hosts that have answered, synced those that have told of all
	// their children, found those that have the child.
	was, synced, found []bool
	shown              map[watchedChild]string
	widths             []int
	begun              bool
}

type watchedChild struct {
	host int
	name string
}

// watchLine is a change in JSON.
type watchLine struct {
	Host string          `json:"host,omitempty"`
	Type spec.ChangeType `json:"type"`
	View *spec.View      `json:"view,omitempty"`
}

func newWatchPrinter(p *program, r request) *watchPrinter {
	n := len(r.hosts)
	return &watchPrinter{p: p, r: r, was: make([]bool, n), synced: make([]bool, n), found: make([]bool, n), shown: map[watchedChild]string{}}
}

// take prints what is new. Its error ends the command.
func (l *watchPrinter) take(n console.News) error {
	host := l.r.hosts[n.Host]
	switch {
	case n.Err != nil && !l.was[n.Host] && len(l.r.hosts) == 1:
		return l.fail(host, n.Err)
	case n.Err != nil && l.p.through != nil:
		return l.fail(host, l.p.explainEnd("check", n.Err))
	case n.Err != nil:
		what := "cannot be reached, trying again"
		if l.was[n.Host] {
			what = "reconnecting"
		}
		l.p.complainOf(label(l.r, host), errors.New(what+": "+n.Err.Error()))
		return nil
	case n.Up:
		l.was[n.Host] = true
		return nil
	case n.Change.Type == spec.Synced:
		return l.sync(n.Host)
	}
	l.found[n.Host] = true
	if l.r.format == formatJSON {
		return l.json(n)
	}
	return l.text(n)
}

// sync notes that a host has told of all its children.
func (l *watchPrinter) sync(host int) error {
	if l.synced[host] {
		return nil
	}
	l.synced[host] = true
	if l.r.child != "" && !l.found[host] {
		err := control.NoSuchChild("", l.r.child)
		told := l.fail(l.r.hosts[host], err)
		if len(l.r.hosts) == 1 {
			return told
		}
		l.p.complainOf(label(l.r, l.r.hosts[host]), err)
	}
	if l.r.format == formatJSON {
		return l.json(console.News{Host: host, Change: spec.Change{Type: spec.Synced}})
	}
	return nil
}

// fail is err, which stands in JSON also for what h does not tell.
func (l *watchPrinter) fail(h fleet.Host, err error) error {
	if line := failureLine(l.r, h, err); line != nil {
		// That nobody reads it changes nothing of what has failed.
		_ = l.write(line)
	}
	return err
}

// json prints a change. What is told of again after a break and is as before is
// not one.
func (l *watchPrinter) json(n console.News) error {
	line := watchLine{Host: label(l.r, l.r.hosts[n.Host]), Type: n.Change.Type}
	if n.Change.Type != spec.Synced {
		line.View = &n.Change.View
		if n.Change.Type == spec.Removed {
			// A removed child has its name and nothing else.
			return l.print(n, struct {
				Host string            `json:"host,omitempty"`
				Type spec.ChangeType   `json:"type"`
				View map[string]string `json:"view"`
			}{line.Host, line.Type, map[string]string{"name": n.Change.View.Name}})
		}
	}
	return l.print(n, line)
}

func (l *watchPrinter) print(n console.News, line any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(line); err != nil {
		return err
	}
	if n.Change.Type != spec.Synced && !l.isNew(n, b.String()) {
		return nil
	}
	return l.write(escapeOdd(b.Bytes()))
}

// isNew tells whether what is to be said of a child has not been said already.
func (l *watchPrinter) isNew(n console.News, text string) bool {
	of := watchedChild{n.Host, n.Change.View.Name}
	before, known := l.shown[of]
	if n.Change.Type == spec.Removed {
		delete(l.shown, of)
		return known
	}
	l.shown[of] = text
	return !known || before != text
}

// text prints a row, below a heading the first time. The columns grow with what
// stands in them.
func (l *watchPrinter) text(n console.News) error {
	words := l.p.consoleWords(l.r.format == formatWide)
	cells := words.Row(&n.Change.View, l.p.now())
	var keys strings.Builder
	for _, c := range cells {
		key := c.Key
		if key == "" {
			key = c.Text
		}
		keys.WriteString(key + "\x00")
	}
	if !l.isNew(n, keys.String()) {
		return nil
	}
	if n.Change.Type == spec.Removed {
		for i := range cells {
			cells[i] = console.Cell{}
		}
		cells[0].Text, cells[1] = n.Change.View.Name, console.Cell{Text: "removed", Colour: red}
	}
	row, heading := make([]cell, 0, len(cells)+1), words.Heading
	if l.r.many {
		row = append(row, cell{text: printable(label(l.r, l.r.hosts[n.Host]))})
		heading = append([]string{"HOST"}, heading...)
	}
	for _, c := range cells {
		row = append(row, cell{printable(c.Text), c.Colour})
	}
	return l.writeRow(heading, row)
}

func (l *watchPrinter) writeRow(heading []string, row []cell) error {
	if l.widths == nil {
		l.widths = make([]int, len(heading))
		for i, title := range heading {
			l.widths[i] = console.Width(title)
		}
		// The host and the name are the widest of what comes.
		for _, h := range l.r.hosts {
			l.widths[0] = max(l.widths[0], console.Width(label(l.r, h)))
		}
	}
	for i, c := range row {
		l.widths[i] = max(l.widths[i], console.Width(c.text))
	}
	var b strings.Builder
	if !l.begun {
		l.begun = true
		titles := make([]cell, len(heading))
		for i, title := range heading {
			titles[i].text = title
		}
		writeRow(&b, l.p, titles, l.widths)
	}
	writeRow(&b, l.p, row, l.widths)
	return l.write([]byte(b.String()))
}

func (l *watchPrinter) write(text []byte) error {
	if _, err := l.p.out.Write(text); err != nil {
		return &outputError{err}
	}
	return nil
}
