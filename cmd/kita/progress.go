package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// screen is a terminal on which a line of progress stands below what is
// printed. Whoever prints through over wipes the line first.
type screen struct {
	// width returns the columns there are.
	width func() int

	mu   sync.Mutex
	w    io.Writer // owned by mu
	line string    // owned by mu: what stands there, empty for nothing
}

// newScreen is nil where w is no terminal that can wipe a line.
func newScreen(w io.Writer) *screen {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return &screen{w: w, width: func() int {
		columns, _, err := term.GetSize(int(f.Fd()))
		if err != nil || columns <= 0 {
			return 80
		}
		return columns
	}}
}

// over is w for everything but the line. What is no terminal does not disturb
// it.
func (s *screen) over(w io.Writer) io.Writer {
	if f, ok := w.(*os.File); s == nil || w != s.w && (!ok || !term.IsTerminal(int(f.Fd()))) {
		return w
	}
	return wiping{s, w}
}

type wiping struct {
	screen *screen
	w      io.Writer
}

func (w wiping) Write(b []byte) (int, error) {
	w.screen.mu.Lock()
	defer w.screen.mu.Unlock()
	w.screen.wipe()
	return w.w.Write(b)
}

// wipe needs mu.
func (s *screen) wipe() {
	if s.line != "" {
		fmt.Fprint(s.w, "\r\x1b[K")
		s.line = ""
	}
}

// hold wipes the line, and keeps it and all that is printed back until release.
func (s *screen) hold() (release func()) {
	if s == nil {
		return func() {}
	}
	s.mu.Lock()
	s.wipe()
	return s.mu.Unlock
}

// draw shows line, or nothing where it is empty.
func (s *screen) draw(line string) {
	// One that reached the edge would be broken in two, and half of it stay.
	if most := s.width() - 1; len(line) > most {
		line = line[:max(most, 0)]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if line == s.line {
		return
	}
	s.wipe()
	fmt.Fprint(s.w, line)
	s.line = line
}

// A fan-out that takes longer than progressAfter shows how far it is.
const (
	progressAfter = time.Second
	progressEvery = 200 * time.Millisecond
)

// progress is the line of one fan-out. A nil one shows nothing.
type progress struct {
	screen *screen
	total  int
	stop   chan struct{} // closed by end
	done   chan struct{} // closed when run has returned

	mu               sync.Mutex
	answered, failed int // owned by mu
	ended            bool
}

// startProgress returns a progress that must be ended, nil where there is no
// terminal or only one host.
func (p *program) startProgress(total int) *progress {
	if p.screen == nil || total < 2 {
		return nil
	}
	g := &progress{screen: p.screen, total: total, stop: make(chan struct{}), done: make(chan struct{})}
	go g.run()
	return g
}

func (g *progress) run() {
	defer close(g.done)
	wait := progressAfter
	for {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-g.stop:
			timer.Stop()
			g.screen.draw("")
			return
		}
		g.screen.draw(g.line())
		wait = progressEvery
	}
}

func (g *progress) line() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	line := fmt.Sprintf("%d of %d answered", g.answered, g.total)
	if g.failed > 0 {
		line += fmt.Sprintf(", %d failed", g.failed)
	}
	return line
}

// count notes that one more host is done with.
func (g *progress) count(failed bool) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if failed {
		g.failed++
	} else {
		g.answered++
	}
}

// end wipes the line for good; it may be called again.
func (g *progress) end() {
	if g == nil {
		return
	}
	g.mu.Lock()
	first := !g.ended
	g.ended = true
	g.mu.Unlock()
	if first {
		close(g.stop)
	}
	<-g.done
}
