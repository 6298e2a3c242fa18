package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"kita/control"
)

// program is what every command needs of its surroundings.
type program struct {
	// name is what it was called by; it begins every complaint.
	name     string
	out, err io.Writer
	// saying is held while complain writes, from whichever goroutine.
	saying sync.Mutex
	// colour: out is a terminal that may be sent colours.
	colour bool
	// screen is where progress is shown; nil where stderr is no terminal.
	screen *screen
	now    func() time.Time
	// uid is whose process this is.
	uid int
	// isProcess: the process runs this one command, and ends with it.
	isProcess bool
	// through is set in a server that carries out a command itself: the way to
	// its own API, and to nothing else.
	through control.Opener
	// defaultSocket finds the socket of this host's server.
	defaultSocket func() (path string, named bool)
}

// run is the whole program; args begin with the name it was called by.
func run(args []string, out, err io.Writer) int {
	p := &program{name: "kita", isProcess: true, colour: wantsColour(out), screen: newScreen(err), now: time.Now, uid: os.Geteuid(), defaultSocket: localSocket}
	p.out, p.err = p.screen.over(out), p.screen.over(err)
	var rest []string
	if len(args) > 0 {
		rest = args[1:]
		switch name := filepath.Base(args[0]); name {
		case oldServerName:
			p.name = name
			return p.finish(p.oldServer(rest))
		case oldClientName:
			p.name = name
			return p.finish(p.oldClient(rest))
		}
	}
	root := p.rootCommand(rest)
	// Never nil: cobra would read os.Args instead.
	root.SetArgs(append([]string{}, rest...))
	// Package cobra shows help and does not say that it could not be written.
	shown := &faithful{w: p.out}
	root.SetOut(shown)
	done := root.Execute()
	return p.finish(cmp.Or(done, shown.err))
}

// faithful remembers the first error of writing to w.
type faithful struct {
	w   io.Writer
	err error
}

func (f *faithful) Write(b []byte) (int, error) {
	n, err := f.w.Write(b)
	f.err = cmp.Or(f.err, err)
	return n, err
}

// finish says what went wrong, unless that was done, and returns the status.
func (p *program) finish(err error) int {
	var said *statusError
	if err != nil && !errors.As(err, &said) {
		p.complain(err)
	}
	return exitStatus(err)
}

// complain prints an error, as one line each. The lines of a file's errors
// begin with the file and its line, as those of a compiler do.
func (p *program) complain(err error) {
	prefix := p.name + ": "
	if len(fileErrors(err)) > 0 {
		prefix = ""
	}
	p.say(prefix, errorLines(err))
}

// notice tells the user something that is no error, in a line.
func (p *program) notice(line string) { p.complain(errors.New(line)) }

// complainOf prints what came of asking a host, with the last lines of the child
// if it failed; host is its label or empty. The text may be the host's own: lines
// after the first are indented, so that none of them looks like one of kita's, or
// of another host.
func (p *program) complainOf(host string, err error) {
	lines := errorLines(err)
	for i := range lines[1:] {
		lines[1+i] = "  " + lines[1+i]
	}
	lines = append(lines, lastLinesIn(err)...)
	if host != "" {
		host += ": "
	}
	p.say(p.name+": "+host, lines)
}

// say prints lines, each after the prefix.
func (p *program) say(prefix string, lines []string) {
	p.saying.Lock()
	defer p.saying.Unlock()
	for _, line := range lines {
		fmt.Fprintf(p.err, "%s%s\n", prefix, printable(line))
	}
}
