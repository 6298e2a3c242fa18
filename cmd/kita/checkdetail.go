package main

import (
	"fmt"
	"io"
	"strings"

	"kita/spec"
)

// fields are lines of a title and a text.
type fields []struct{ title, text string }

func (f *fields) add(title, text string) {
	*f = append(*f, struct{ title, text string }{title, text})
}

// write aligns the texts and prints each line after prefix.
func (f fields) write(w io.Writer, prefix string) error {
	width := 0
	for _, field := range f {
		width = max(width, len(field.title))
	}
	var b strings.Builder
	for _, field := range f {
		fmt.Fprintf(&b, "%s%-*s  %s\n", prefix, width+1, field.title+":", field.text)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeDetail prints all there is to say about one child.
func (p *program) writeDetail(w io.Writer, v spec.View, prefix string) error {
	var f fields
	s := v.Status
	f.add("name", printable(v.Name))
	phase := p.paint(phaseColour(s.Phase), string(s.Phase))
	if !s.Since.IsZero() {
		phase += ", since " + instant(s.Since, p.now())
	}
	f.add("phase", phase)
	if why := reason(v); why != "" {
		f.add("reason", why)
	}
	p.addProcess(&f, s)
	if s.LastExit != nil {
		f.add("last exit", exitText(*s.LastExit)+", "+instant(s.LastExit.At, p.now()))
	}
	f.add("starts", fmt.Sprintf("%d, of them %d by the restart policy since the last command", s.Starts, s.Restarts))
	if s.NextStart != nil {
		f.add("next start", instant(*s.NextStart, p.now()))
	}
	p.addDesired(&f, v.Desired, s)
	if c := current(v); c != nil {
		addConfig(&f, c)
	}
	if s.RepeatAt != nil {
		f.add("repeat at", instant(*s.RepeatAt, p.now()))
	}
	return f.write(w, prefix)
}

func (p *program) addProcess(f *fields, s spec.Status) {
	if s.Process == nil {
		return
	}
	adopted := ""
	if s.Process.Adopted {
		adopted = ", adopted from a former server"
	}
	f.add("pid", fmt.Sprintf("%d (incarnation %d%s)", s.Process.PID, s.Process.Incarnation, adopted))
	f.add("started", instant(s.Process.StartedAt, p.now()))
}

func (p *program) addDesired(f *fields, d spec.Desired, s spec.Status) {
	if d.Run == "" {
		f.add("wanted", "nothing was asked yet")
		return
	}
	text := string(d.Run)
	if d.By != "" {
		text += " by " + printable(d.By)
	}
	if !d.At.IsZero() {
		text += ", " + instant(d.At, p.now())
	}
	f.add("wanted", text)
	generation := fmt.Sprintf("%d, settled", d.Generation)
	if s.ObservedGeneration < d.Generation {
		generation = fmt.Sprintf("%d, settled up to %d", d.Generation, s.ObservedGeneration)
	}
	f.add("generation", generation)
}

func addConfig(f *fields, c *spec.Child) {
	f.add("file", printable(c.File))
	f.add("command", printable(c.CommandLine))
	f.add("directory", printable(c.Dir))
	f.add("stdout", streamText(c.Stdout))
	f.add("stderr", streamText(c.Stderr))
	if c.User != "" || c.Group != "" {
		f.add("user", printable(c.User+":"+c.Group))
	}
	f.add("stop", fmt.Sprintf("%v, SIGKILL after %v", c.Stop.Signal, c.Stop.Grace))
	f.add("restart", restartText(c.Restart))
	if c.Prehook != nil {
		f.add("prehook", printable(c.Prehook.String()))
	}
	if c.Posthook != nil {
		f.add("posthook", printable(c.Posthook.String()))
	}
	if c.Repeat != nil {
		f.add("repeat", repeatText(c.Repeat))
	}
}

func streamText(s *spec.Stream) string {
	if s == nil {
		return "that of the server"
	}
	return printable(fmt.Sprintf("%s (%s)", s.Path, s.Mode))
}

func restartText(r spec.Restart) string {
	text := string(r.Policy)
	if r.Policy == spec.Never {
		return text
	}
	text += fmt.Sprintf(", after %v to %v", r.Backoff.Initial, r.Backoff.Max)
	if r.Limit.Starts > 0 {
		text += fmt.Sprintf(", at most %d starts within %v", r.Limit.Starts, r.Limit.Within)
	}
	return text
}
