package main

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"strings"
	"sync"

	"kita/console"
	"kita/control"
	"kita/control/fleet"
	"kita/spec"
)

// maxHeld is the longest beginning of a line that is kept until its end comes,
// where lines of several sources must not be mixed. A longer line is broken.
const maxHeld = 1 << 20

// logPrinter prints pieces of output as they come, from any host.
//
// Where there is but one child it prints the bytes as they are. A program that
// writes to a terminal means what a terminal acts on, and tail -f would pass it
// on as well. Of several children each line follows the name of its child.
type logPrinter struct {
	p *program
	r request
	// named: each line follows the name. isMarked: those of stderr are marked.
	named, isMarked bool
	hostWidth       int

	mu        sync.Mutex
	nameWidth int                    // owned by mu
	held      map[logSource]heldLine // owned by mu: the known sources, and what came of a line
	// shown is whose line stands without its end at the end of what was printed;
	// owned by mu.
	shown logSource
}

// logSource is one output file of one host.
type logSource struct {
	host fleet.Host
	file string
}

// heldLine is the beginning of a line, and whose it is.
type heldLine struct {
	child  string
	stream spec.StreamName
	text   []byte
}

func newLogPrinter(p *program, r request, q spec.LogRequest) *logPrinter {
	l := &logPrinter{p: p, r: r, isMarked: q.Stream == "", held: map[logSource]heldLine{}}
	l.named = r.many || len(q.Children) > 1 || q.Children[0] == spec.All
	for _, h := range r.hosts {
		l.hostWidth = max(l.hostWidth, console.Width(label(r, h)))
	}
	return l
}

// learnNames finds out how wide the names are that may come.
func (l *logPrinter) learnNames(ctx context.Context, c *control.Client, children []string) error {
	if !l.named || l.r.format == formatJSON {
		return nil
	}
	if children[0] == spec.All {
		views, err := c.List(ctx)
		if err != nil {
			return err
		}
		children = nil
		for _, v := range views {
			children = append(children, v.Name)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range children {
		l.widen(name)
	}
	return nil
}

// widen needs mu.
func (l *logPrinter) widen(name string) {
	l.nameWidth = max(l.nameWidth, console.Width(printable(name)))
}

// print prints a chunk of h. The error is an *outputError.
func (l *logPrinter) print(h fleet.Host, chunk spec.LogChunk) error {
	if chunk.Lost > 0 {
		l.p.complainOf(label(l.r, h), fmt.Errorf("%s: %s were removed before they were read", chunk.Child, sizeText(chunk.Lost)))
	}
	data := []byte(chunk.Text)
	if len(data) == 0 {
		data = chunk.Bytes
	}
	if chunk.Source == "" && len(data) == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.r.format == formatJSON {
		return l.write(jsonLines(label(l.r, h), chunk, data))
	}
	from := logSource{h, chunk.Source}
	held, known := l.held[from]
	line := heldLine{chunk.Child, chunk.Stream, append(held.text, data...)}
	if l.named {
		return l.printNamed(from, line)
	}
	isOnly := len(l.held) == 0 || len(l.held) == 1 && known
	return l.printRaw(from, line, isOnly)
}

// fail prints what stands for what could not be had of h, in JSON. That nobody reads
// it the next chunk finds out.
func (l *logPrinter) fail(h fleet.Host, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if line := failureLine(l.r, h, err); line != nil {
		_ = l.write(line)
	}
}

// printRaw prints the bytes of the one child. It may have two files: then a line
// of one is not printed into that of the other. mu is held.
func (l *logPrinter) printRaw(from logSource, line heldLine, isOnly bool) error {
	whole, rest := line.text, []byte(nil)
	if !isOnly {
		whole, rest = cutLines(line.text)
	}
	line.text = rest
	l.held[from] = line
	if len(whole) == 0 {
		return nil
	}
	if l.shown != (logSource{}) && l.shown != from {
		whole = append([]byte("\n"), whole...)
	}
	l.shown = logSource{}
	if whole[len(whole)-1] != '\n' {
		l.shown = from
	}
	return l.write(whole)
}

// printNamed prints lines after the name; mu is held.
func (l *logPrinter) printNamed(from logSource, line heldLine) error {
	whole, rest := cutLines(line.text)
	line.text = whole
	text := l.withName(from.host, line)
	line.text = rest
	l.held[from] = line
	return l.write(text)
}

// withName is the text of lines, each after the name; mu is held.
func (l *logPrinter) withName(h fleet.Host, lines heldLine) []byte {
	if len(lines.text) == 0 {
		return nil
	}
	l.widen(lines.child)
	prefix := l.prefix(h, lines)
	var b bytes.Buffer
	for line := range bytes.Lines(lines.text) {
		b.WriteString(prefix)
		b.Write(line)
	}
	if lines.text[len(lines.text)-1] != '\n' {
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// cutLines cuts what is behind the last whole line off, unless it is longer than
// is kept.
func cutLines(data []byte) (whole, rest []byte) {
	end := bytes.LastIndexByte(data, '\n') + 1
	if len(data)-end > maxHeld {
		return data, nil
	}
	return data[:end], bytes.Clone(data[end:])
}

// flush prints what is left of lines of h that have no end.
func (l *logPrinter) flush(h fleet.Host) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for from, line := range l.held {
		if from.host != h || len(line.text) == 0 {
			continue
		}
		l.held[from] = heldLine{child: line.child, stream: line.stream}
		text := line.text
		if l.named {
			text = l.withName(h, line)
		}
		if err := l.write(text); err != nil {
			return err
		}
	}
	return nil
}

// names are coloured with one of these, so that red is left for errors.
var nameColours = []string{"36", "32", "33", "35", "34", "96", "92", "93", "95", "94"}

func nameColour(name string) string {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(name))
	return nameColours[sum.Sum32()%uint32(len(nameColours))]
}

// prefix is what stands before each line; mu is held.
func (l *logPrinter) prefix(h fleet.Host, line heldLine) string {
	var b strings.Builder
	if host := label(l.r, h); host != "" {
		b.WriteString(padded(host, l.hostWidth) + " ")
	}
	name := printable(line.child)
	b.WriteString(l.p.paint(nameColour(name), padded(name, l.nameWidth)))
	bar := "|"
	if l.isMarked && line.stream == spec.Err {
		bar = l.p.paint(red, bar)
	}
	return b.String() + " " + bar + " "
}

func padded(text string, width int) string {
	return text + strings.Repeat(" ", max(width-console.Width(text), 0))
}

// write needs mu.
func (l *logPrinter) write(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	if _, err := l.p.out.Write(text); err != nil {
		return &outputError{err}
	}
	return nil
}
