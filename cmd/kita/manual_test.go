package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kita/spec"
)

// manualDir has the manual pages, reference the same as one page of the book.
const (
	manualDir = "../../docs/man"
	reference = "../../docs/reference-commands.md"
)

// exitStatuses are those of every command whose text does not say otherwise.
const exitStatuses = "0 all well, 1 refused or failed, 2 wrong use, 4 unreachable; of several hosts the worst."

// entry is what the manual says of a command.
type entry struct {
	path, short, use string
	aliases          []string
	text             []block
	options          []option
	below            []string
	// status is empty where the text has it, or the command has no more to say than the
	// one above it.
	status string
}

// block is a paragraph, or lines that stay as they are.
type block struct {
	verbatim bool
	lines    []string
}

// option is a flag.
type option struct {
	short, long, value, usage string
}

// entries are all commands that a user is shown, in their order.
func entries() []entry {
	p := &program{name: "kita", out: io.Discard, err: io.Discard, defaultSocket: func() (string, bool) { return "", false }}
	root := p.rootCommand(nil)
	root.InitDefaultHelpCmd()
	var all []entry
	var add func(c *cobra.Command)
	add = func(c *cobra.Command) {
		all = append(all, entryOf(c))
		for _, below := range c.Commands() {
			if !below.Hidden {
				add(below)
			}
		}
	}
	add(root)
	return all
}

func entryOf(c *cobra.Command) entry {
	c.InitDefaultHelpFlag()
	e := entry{path: c.CommandPath(), short: c.Short, use: strings.TrimSpace(parentPath(c) + " " + c.Use), text: blocks(c.Long)}
	if !c.HasParent() {
		e.path, e.use = "kita", c.Use
	}
	if c.Example != "" {
		e.text = append(e.text, block{verbatim: true, lines: strings.Split(strings.TrimRight(c.Example, "\n"), "\n")})
	}
	for _, alias := range c.Aliases {
		// supervisor-rs's spellings are told of once, in the root's text.
		if strings.ToLower(alias) != c.Name() {
			e.aliases = append(e.aliases, alias)
		}
	}
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			e.options = append(e.options, optionOf(f))
		}
	})
	for _, below := range c.Commands() {
		if !below.Hidden {
			e.below = append(e.below, below.CommandPath())
		}
	}
	if !regexp.MustCompile(`(?i)exit status`).MatchString(c.Long) && c.Name() != "help" && !strings.Contains(e.path, " completion") {
		e.status = exitStatuses
	}
	return e
}

func optionOf(f *pflag.Flag) option {
	value, usage := pflag.UnquoteUsage(f)
	// What pflag says where the usage names no value.
	if named, ok := map[string]string{"string": "TEXT", "strings": "TEXT", "duration": "TIME", "int": "N"}[value]; ok {
		value = named
	}
	o := option{short: f.Shorthand, long: f.Name, value: value, usage: usage}
	switch f.DefValue {
	case "", "false", "0", "0s", "[]":
	default:
		if !strings.Contains(usage, "default") {
			o.usage += " (default " + f.DefValue + ")"
		}
	}
	return o
}

// blocks divides a command's text: what is indented stays as it is, the rest flows.
func blocks(text string) []block {
	var all []block
	fresh := true
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.TrimSpace(line) == "" {
			fresh = true
			continue
		}
		verbatim := strings.HasPrefix(line, "  ") || strings.HasPrefix(line, "\t")
		if fresh || all[len(all)-1].verbatim != verbatim {
			all = append(all, block{verbatim: verbatim})
		}
		last := &all[len(all)-1]
		if verbatim {
			line = strings.TrimPrefix(strings.TrimPrefix(line, "\t"), "  ")
		}
		last.lines = append(last.lines, line)
		fresh = false
	}
	return all
}

// TestManual compares the manual pages and the reference with the commands and keys; with
// -update it writes them.
func TestManual(t *testing.T) {
	all := entries()
	want := map[string]string{reference: markdown(all)}
	for _, e := range all {
		want[filepath.Join(manualDir, pageName(e.path))] = roff(e)
	}
	for _, f := range spec.FileTypes() {
		want[filepath.Join(manualDir, filePageName(f))] = roffFile(f)
	}
	there, err := filepath.Glob(filepath.Join(manualDir, "*.[0-9]"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range there {
		if _, ok := want[file]; !ok {
			if *update {
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
				continue
			}
			t.Errorf("%s is of no command and no file: run `make generate`", filepath.Base(file))
		}
	}
	for file, text := range want {
		if got, err := os.ReadFile(file); err == nil && string(got) == text {
			continue
		}
		if !*update {
			t.Errorf("%s is not what the commands say: run `make generate`", filepath.Base(file))
			continue
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestEveryCommandSaysHowItIsUsed: each has a text of its own, with an example of
// itself.
func TestEveryCommandSaysHowItIsUsed(t *testing.T) {
	for _, e := range entries() {
		if e.path == "kita" || e.path == "kita help" {
			continue
		}
		flows := slices.ContainsFunc(e.text, func(b block) bool { return !b.verbatim })
		example := slices.ContainsFunc(e.text, func(b block) bool {
			return b.verbatim && slices.ContainsFunc(b.lines, func(line string) bool { return strings.Contains(line, e.path) })
		})
		if !flows || !example {
			t.Errorf("%s: text %t, an indented example of itself %t", e.path, flows, example)
		}
	}
}

// TestExamplesAreOfCommandsAndFlagsThatExist reads each example as the program would.
func TestExamplesAreOfCommandsAndFlagsThatExist(t *testing.T) {
	shown := 0
	for _, e := range entries() {
		for _, b := range e.text {
			for _, line := range b.lines {
				// What the example is about stands after it.
				line, _, _ = strings.Cut(line, "   ")
				_, line, ok := strings.Cut(line, "kita ")
				if !b.verbatim || !ok {
					continue
				}
				shown++
				if err := exists(strings.Fields(strings.TrimRight(line, ")"))); err != nil {
					t.Errorf("%s: %q: %v", e.path, line, err)
				}
			}
		}
	}
	if shown < 20 {
		t.Errorf("%d examples were read", shown)
	}
	for _, wrong := range []string{"restrat web", "check --bogus", "logs web -f -z"} {
		if exists(strings.Fields(wrong)) == nil {
			t.Errorf("%q was taken", wrong)
		}
	}
}

// exists tells whether there is such a command, with these flags.
func exists(words []string) error {
	p := &program{name: "kita", out: io.Discard, err: io.Discard, defaultSocket: func() (string, bool) { return "", false }}
	root := p.rootCommand(nil)
	c, rest, err := root.Find(words)
	if err != nil {
		return err
	}
	if c == root {
		return errors.New("there is no such command")
	}
	return c.ParseFlags(slices.DeleteFunc(rest, func(word string) bool { return word == "<TAB>" || word == "|" || word == ">" }))
}

// TestManualPagesAreSound has them judged by mandoc, and by groff as man runs it.
func TestManualPagesAreSound(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(manualDir, "*.[15]"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("%v, %v", pages, err)
	}
	broken := filepath.Join(t.TempDir(), "broken.1")
	if err := os.WriteFile(broken, []byte(".TH BROKEN 1\n.nosuch\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, judge := range [][]string{{"mandoc", "-T", "lint", "-W", "warning"}, {"groff", "-man", "-ww", "-b", "-z", "-Tutf8"}} {
		if _, err := exec.LookPath(judge[0]); err != nil {
			t.Logf("%s is not there", judge[0])
			continue
		}
		out, err := exec.Command(judge[0], append(judge[1:], pages...)...).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", judge[0], err, out)
		}
		if out, _ := exec.Command(judge[0], append(judge[1:], broken)...).CombinedOutput(); len(out) == 0 {
			t.Errorf("%s finds nothing wrong with a broken page", judge[0])
		}
	}
}

func TestBlocks(t *testing.T) {
	got := blocks("One\ntwo.\n\n  kita x\n    deeper\nThree.\n")
	want := []block{{false, []string{"One", "two."}}, {true, []string{"kita x", "  deeper"}}, {false, []string{"Three."}}}
	if !slices.EqualFunc(got, want, func(a, b block) bool { return a.verbatim == b.verbatim && slices.Equal(a.lines, b.lines) }) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
