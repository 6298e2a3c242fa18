package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"kita/console"
	"kita/control/fleet"
	"kita/spec"
	"kita/why"
)

// eventPrinter prints events a line each.
type eventPrinter struct {
	p *program
	r request
	// follows: each event is written when it comes.
	follows   bool
	hostWidth int

	mu        sync.Mutex
	nameWidth int          // owned by mu
	pending   bytes.Buffer // owned by mu: what is not written yet
}

// eventLine is an event in JSON.
type eventLine struct {
	Host string `json:"host,omitempty"`
	spec.Event
}

// mostPending is how many bytes are written at once.
const mostPending = 32 << 10

// minNameWidth has most children stand below each other from the first line on.
const minNameWidth = 8

func newEventPrinter(p *program, r request, follows bool) *eventPrinter {
	e := &eventPrinter{p: p, r: r, follows: follows, nameWidth: minNameWidth}
	for _, h := range r.hosts {
		e.hostWidth = max(e.hostWidth, console.Width(label(r, h)))
	}
	return e
}

// print prints an event of h. The error is an *outputError.
func (p *eventPrinter) print(h fleet.Host, e spec.Event) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.r.format == formatJSON {
		p.addJSON(h, e)
	} else {
		p.addText(h, e)
	}
	if p.follows || p.pending.Len() > mostPending {
		return p.write()
	}
	return nil
}

// fail prints what stands for what could not be had of h, in JSON.
func (p *eventPrinter) fail(h fleet.Host, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pending.Write(failureLine(p.r, h, err))
	if p.follows {
		// That nobody reads it the next event finds out.
		_ = p.write()
	}
}

// flush writes what is left. The error is an *outputError.
func (p *eventPrinter) flush() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.write()
}

// write needs mu.
func (p *eventPrinter) write() error {
	if p.pending.Len() == 0 {
		return nil
	}
	_, err := p.p.out.Write(p.pending.Bytes())
	p.pending.Reset()
	if err != nil {
		return &outputError{err}
	}
	return nil
}

// addJSON needs mu.
func (p *eventPrinter) addJSON(h fleet.Host, e spec.Event) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	// Nothing of it can fail to be encoded: it came as JSON.
	_ = encoder.Encode(eventLine{label(p.r, h), e})
	p.pending.Write(escapeOdd(b.Bytes()))
}

// addText needs mu.
func (p *eventPrinter) addText(h fleet.Host, e spec.Event) {
	now := p.p.now()
	p.pending.WriteString(e.At.In(now.Location()).Format(time.DateTime) + "  ")
	if host := label(p.r, h); host != "" {
		p.pending.WriteString(padded(host, p.hostWidth) + "  ")
	}
	name := nothing
	if e.Child != "" {
		name = printable(e.Child)
	}
	p.nameWidth = max(p.nameWidth, console.Width(name))
	p.pending.WriteString(p.p.paint(nameColour(name), padded(name, p.nameWidth)) + "  ")
	text := strings.TrimSpace(why.Event(e, hostName(h), now))
	p.pending.WriteString(p.p.paint(eventColour(e), printable(text)) + "\n")
}
