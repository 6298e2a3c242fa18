package e2e

import (
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// page is a document, as what is to be done with it from top to bottom.
type page struct {
	name  string
	steps []*step
}

type stepKind string

const (
	stepSetup stepKind = "setup" // a comment with shell that the reader does not see
	stepShell stepKind = "sh"
	stepYAML  stepKind = "yaml"
	stepOther stepKind = "other" // a block that is neither
)

// step is a fenced block or a set-up.
type step struct {
	line int // of its text's first line
	kind stepKind
	text string
	// directives are those between it and the block before.
	directives []*directive
}

// directive is a line of `<!-- test: … -->`: VERB [ARGUMENT] [| COMMAND]. It is
// about the commands of the next block that begin with COMMAND, or about all.
type directive struct {
	line                int
	verb, arg, commands string
	used                bool
}

func (d *directive) String() string { return fmt.Sprintf("line %d: %s %s", d.line, d.verb, d.arg) }

// verbs of directives, and whether they take an argument.
var directiveVerbs = map[string]bool{
	"status":     true,  // the exit status that the command has
	"says":       true,  // what its output contains
	"background": false, // it goes on until the page ends, or its own end
	"until":      true,  // it goes on until its output contains that, then it is interrupted
	"then":       true,  // shell that runs after it
	"terminal":   false, // it gets a terminal
	"as":         true,  // the user it runs as, root without it
	"skip":       true,  // it is not run, for that reason
	"file":       true,  // what file the block is
}

var (
	fence   = regexp.MustCompile("^```([a-z]*)$")
	comment = regexp.MustCompile(`(?s)^<!-- test: *(.*?) *-->$`)
)

// parsePage takes a document apart.
func parsePage(name, text string) (*page, error) {
	p := &page{name: name}
	var pending []*directive
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		switch {
		case strings.HasPrefix(lines[i], "<!-- test:"):
			from := i
			for !strings.HasSuffix(lines[i], "-->") {
				if i++; i == len(lines) {
					return nil, fmt.Errorf("%s:%d: the comment has no end", name, from+1)
				}
			}
			inner := comment.FindStringSubmatch(strings.Join(lines[from:i+1], "\n"))[1]
			if body, ok := strings.CutPrefix(inner, "setup\n"); ok {
				p.steps = append(p.steps, &step{line: from + 2, kind: stepSetup, text: body})
				continue
			}
			for j, line := range strings.Split(inner, "\n") {
				if strings.TrimSpace(line) == "" {
					continue
				}
				d, err := parseDirective(line)
				if err != nil {
					return nil, fmt.Errorf("%s:%d: %w", name, from+1+j, err)
				}
				d.line = from + 1 + j
				pending = append(pending, d)
			}
		case strings.HasPrefix(lines[i], "```"):
			open := fence.FindStringSubmatch(lines[i])
			if open == nil {
				return nil, fmt.Errorf("%s:%d: %q opens no block", name, i+1, lines[i])
			}
			s := &step{line: i + 2, kind: stepOther, directives: pending}
			pending = nil
			if kind := stepKind(open[1]); kind == stepShell || kind == stepYAML {
				s.kind = kind
			}
			end := slices.Index(lines[i+1:], "```")
			if end < 0 {
				return nil, fmt.Errorf("%s:%d: the block has no end", name, i+1)
			}
			s.text = strings.Join(lines[i+1:i+1+end], "\n") + "\n"
			i += 1 + end
			if open[1] == "" && regexp.MustCompile(`(?m)^\$? ?kita [a-z]+ [^A-Z\n]*$`).MatchString(s.text) {
				return nil, fmt.Errorf("%s:%d: a block with commands is ```sh, so that they are run", name, s.line)
			}
			p.steps = append(p.steps, s)
		}
	}
	if len(pending) > 0 {
		return nil, fmt.Errorf("%s: no block follows %v", name, pending[0])
	}
	return p, nil
}

func parseDirective(line string) (*directive, error) {
	what, commands := line, ""
	if at := strings.LastIndex(line, " | "); at >= 0 {
		what, commands = line[:at], line[at+3:]
	}
	verb, arg, _ := strings.Cut(strings.TrimSpace(what), " ")
	verb = strings.TrimSuffix(verb, ":")
	takes, ok := directiveVerbs[verb]
	if !ok {
		return nil, fmt.Errorf("%q is no directive", verb)
	}
	if arg = strings.TrimSpace(arg); (arg != "") != takes {
		return nil, fmt.Errorf("%s with the argument %q", verb, arg)
	}
	if len(arg) > 1 && arg[0] == '"' && arg[len(arg)-1] == '"' {
		arg = arg[1 : len(arg)-1]
	}
	return &directive{verb: verb, arg: arg, commands: strings.TrimSpace(commands)}, nil
}

// of are the directives about a command, which count as used then.
func (s *step) of(command string) []*directive {
	var found []*directive
	for _, d := range s.directives {
		if strings.HasPrefix(command, d.commands) {
			d.used = true
			found = append(found, d)
		}
	}
	return found
}

// shellCommand is one command of a block.
type shellCommand struct {
	line int
	text string
}

var heredoc = regexp.MustCompile(`<<-?\s*['"]?([A-Za-z_]+)['"]?`)

// commandsOf splits a block where bash would carry out what it has read.
func (s *step) commandsOf() ([]shellCommand, error) {
	var all []shellCommand
	var held []string
	until := "" // the word that ends a here-document
	for i, line := range strings.Split(strings.TrimSuffix(s.text, "\n"), "\n") {
		if len(held) == 0 {
			if trimmed := strings.TrimSpace(line); trimmed == "" || strings.HasPrefix(trimmed, "#") {
				continue
			}
			all = append(all, shellCommand{line: s.line + i})
		}
		held = append(held, line)
		switch {
		case until != "":
			if strings.TrimLeft(line, "\t") != until {
				continue
			}
			until = ""
		case strings.HasSuffix(line, `\`):
			continue
		default:
			if m := heredoc.FindStringSubmatch(line); m != nil {
				until = m[1]
				continue
			}
		}
		text := strings.Join(held, "\n")
		if exec.Command("bash", "-n", "-c", text).Run() != nil {
			continue // more belongs to it
		}
		all[len(all)-1].text = text
		held = nil
	}
	if len(held) > 0 {
		return nil, fmt.Errorf("line %d: bash does not understand %s", all[len(all)-1].line, strings.Join(held, "\n"))
	}
	return all, nil
}
