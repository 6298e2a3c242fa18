package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"kita/spec"
)

// fields are lines of a title and a text. A line without a title continues the
// one before. The texts may be a host's own: they are escaped when written.
type fields []field

type field struct {
	title string
	// text has this colour, an SGR parameter or empty; rest has none.
	text, colour, rest string
}

func (f *fields) add(title, text string) { *f = append(*f, field{title: title, text: text}) }

// write aligns the texts and prints each line after prefix.
func (f fields) write(w io.Writer, p *program, prefix string) error {
	width := 0
	for _, field := range f {
		width = max(width, len(field.title))
	}
	var b strings.Builder
	for _, field := range f {
		title := field.title
		if title != "" {
			title += ":"
		}
		fmt.Fprintf(&b, "%s%-*s  %s%s\n", prefix, width+1, title, p.paint(field.colour, printable(field.text)), printable(field.rest))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// detail is what `check NAME` learned from one host.
type detail struct {
	view spec.View
	// files are the child's output files; none where the server does not tell.
	files []spec.OutputFile
	// host names the host of the server; empty is this one.
	host string
}

// writeDetail prints all there is to say about one child.
func (p *program) writeDetail(w io.Writer, d detail, prefix string) error {
	var f fields
	v := d.view
	s := v.Status
	f.add("name", v.Name)
	phase := field{title: "phase", text: string(s.Phase), colour: phaseColour(s.Phase)}
	if !s.Since.IsZero() {
		phase.rest = ", since " + instant(s.Since, p.now())
	}
	f = append(f, phase)
	if text := reason(&v); text != "" {
		f.add("reason", text)
	}
	for _, warning := range warningsOf(d) {
		f = append(f, field{title: "warning", text: warning, colour: yellow})
	}
	p.addProcess(&f, s)
	if s.LastExit != nil {
		f.add("last exit", exitText(*s.LastExit)+", "+instant(s.LastExit.At, p.now()))
	}
	addLastLines(&f, s.LastLines)
	p.addHistory(&f, s.History)
	f.add("starts", fmt.Sprintf("%d, of them %d by the restart policy since the last command", s.Starts, s.Restarts))
	if s.NextStart != nil {
		f.add("next start", instant(*s.NextStart, p.now()))
	}
	p.addDesired(&f, v.Desired, s, d.host)
	if c := current(&v); c != nil {
		addConfig(&f, c, v.Spec)
	}
	if s.RepeatAt != nil {
		f.add("repeat at", instant(*s.RepeatAt, p.now()))
	}
	addFiles(&f, d.files)
	return f.write(w, p, prefix)
}

// warningsOf are those of the child, and what is wrong with its files besides:
// the pump may still have lines of a run that has ended.
func warningsOf(d detail) []string {
	warnings := slices.Clone(d.view.Status.Warnings)
	for _, file := range d.files {
		if file.Fault != "" && !slices.Contains(warnings, file.Fault) {
			warnings = append(warnings, file.Fault)
		}
	}
	return warnings
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

// addLastLines has what the latest run wrote before it failed.
func addLastLines(f *fields, l *spec.LastLines) {
	if l == nil {
		return
	}
	title := "last " + streamTitle(l.Stream)
	for _, line := range l.Lines {
		f.add(title, widened(line))
		title = ""
	}
}

// addHistory lists the latest exits, the newest last. A single one is said
// already.
func (p *program) addHistory(f *fields, exits []spec.Exit) {
	if len(exits) < 2 {
		return
	}
	title := "exits"
	for _, e := range exits {
		f.add(title, fmt.Sprintf("%s  #%d  %s", instant(e.At, p.now()), e.Incarnation, exitText(e)))
		title = ""
	}
}

func (p *program) addDesired(f *fields, d spec.Desired, s spec.Status, host string) {
	if d.Run == "" {
		f.add("wanted", "nothing was asked yet")
		return
	}
	text := string(d.Run)
	if d.By != "" {
		text += " by " + spec.Who(d.By, host)
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

// addConfig has the configuration in force, c. file is what the file says now, nil
// where there is none.
func addConfig(f *fields, c, file *spec.Child) {
	f.add("file", c.File)
	f.add("command", c.CommandLine)
	f.add("directory", c.Dir)
	stdout, stderr := c.Stdout, c.Stderr
	// What is live is in force as the file has it.
	live := c
	if file != nil {
		live = file
		stdout, stderr = rotatedAs(stdout, file.Stdout), rotatedAs(stderr, file.Stderr)
	}
	f.add("stdout", streamText(stdout))
	f.add("stderr", streamText(stderr))
	if text := userText(c); text != "" {
		f.add("user", text)
	}
	if text := resourcesText(c.Resources); text != "" {
		f.add("limits", text)
	}
	f.add("stop", fmt.Sprintf("%v, SIGKILL after %v", live.Stop.Signal, live.Stop.Grace))
	f.add("restart", restartText(live.Restart))
	if c.Prehook != nil {
		f.add("prehook", c.Prehook.String())
	}
	if live.Posthook != nil {
		f.add("posthook", live.Posthook.String())
	}
	if c.Repeat != nil {
		f.add("repeat", repeatText(c.Repeat))
	}
}

// userText is whom a child runs as, USER or USER:GROUP; empty where that is nothing
// of its own.
func userText(c *spec.Child) string {
	if c.Group == "" {
		return c.User
	}
	return c.User + ":" + c.Group
}

// addFiles has the output files, a line each.
func addFiles(f *fields, files []spec.OutputFile) {
	title := "output"
	for _, file := range files {
		f.add(title, fileText(file))
		title = ""
	}
}

// fileText is an output file with what there is of it.
func fileText(file spec.OutputFile) string {
	parts := []string{sizeText(file.Size)}
	var packed uint64
	for _, a := range file.Archives {
		packed += a.Size
	}
	switch n := len(file.Archives); n {
	case 0:
	case 1:
		parts = append(parts, "1 archive of "+sizeText(packed))
	default:
		parts = append(parts, fmt.Sprintf("%d archives of %s together", n, sizeText(packed)))
	}
	if file.Dropped > 0 {
		parts = append(parts, fmt.Sprintf("%d lines were dropped", file.Dropped))
	}
	return fmt.Sprintf("%s (%s)", file.Path, strings.Join(parts, ", "))
}

// resourcesText is the limits of a whole child, as its file could have them.
func resourcesText(r spec.Resources) string {
	var parts []string
	if r.Memory > 0 {
		parts = append(parts, "memory "+bytesText(r.Memory))
	}
	if r.MilliCPU > 0 {
		parts = append(parts, "cpu "+strconv.FormatFloat(float64(r.MilliCPU)/1000, 'f', -1, 64))
	}
	if r.Tasks > 0 {
		parts = append(parts, fmt.Sprintf("tasks %d", r.Tasks))
	}
	return strings.Join(parts, ", ")
}

// bytesText has the first unit that loses nothing.
func bytesText(n uint64) string {
	for _, unit := range []struct {
		bytes uint64
		name  string
	}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1e9, "GB"}, {1e6, "MB"}, {1 << 10, "KiB"}} {
		if n%unit.bytes == 0 {
			return fmt.Sprintf("%d%s", n/unit.bytes, unit.name)
		}
	}
	return fmt.Sprintf("%dB", n)
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
