package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"kita/spec"
)

const explainLong = `Say what a field of server.yml, of a child's file or of hosts.yml is: its type,
its default, an example, and the fields below it. No server is asked.

  kita explain restart.backoff.max
  kita explain server.access.verbs
  kita explain child

A path may begin with the file, server, child or hosts. Without one it is looked
for in all of them, and shown for each file that has it.

The exit status is 1 where there is no such field.`

func (p *program) explainCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "explain [FIELD]", Short: "say what a field of a file is", Long: explainLong,
		Args: maxWords(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if output != "" && output != string(formatJSON) {
				return usagef("-o %s: explain takes json", output)
			}
			fields := spec.Roots()
			if len(args) == 1 {
				if fields = spec.FindFields(args[0]); len(fields) == 0 {
					return noField(args[0])
				}
			}
			if output == string(formatJSON) {
				return p.printJSON(explanations(fields))
			}
			_, err := fmt.Fprint(p.out, explainText(fields))
			return err
		},
		ValidArgsFunction: completeFields,
	}
	p.registerJSON(c, &output)
	return c
}

// registerJSON is for commands that ask no server.
func (p *program) registerJSON(c *cobra.Command, into *string) {
	c.Flags().StringVarP(into, "output", "o", "", "json")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json"}, cobra.ShellCompDirectiveNoFileComp))
}

func (p *program) printJSON(v any) error {
	text, err := encode(formatJSON, v, "")
	if err == nil {
		_, err = p.out.Write(text)
	}
	return err
}

func noField(path string) error {
	hint := "see `kita explain`"
	if meant := spec.SuggestFields(path); len(meant) > 0 {
		hint = "did you mean " + strings.Join(meant, " or ") + "?"
	}
	return errors.New(fmt.Sprintf("no file has a field %.100q, ", path) + hint)
}

// explanation is a field as -o json has it.
type explanation struct {
	File        string `json:"file"`
	Field       string `json:"field"`
	Type        string `json:"type"`
	Required    bool   `json:"required"`
	Default     string `json:"default,omitempty"`
	Description string `json:"description"`
	// The rest is not there for the fields below another.
	Kind    spec.Kind `json:"kind,omitempty"`
	Grammar string    `json:"grammar,omitempty"`
	Values  []string  `json:"values,omitempty"`
	Example string    `json:"example,omitempty"`
	// Also is where else in the files the same may stand.
	Also   []string      `json:"also,omitempty"`
	Fields []explanation `json:"fields,omitempty"`
}

func explanations(fields []spec.Field) []explanation {
	var all []explanation
	for _, f := range fields {
		e := explained(f)
		e.Kind, e.Grammar, e.Values = f.Key.Kind, spec.Plain(f.Key.Kind.Grammar()), f.Key.Values
		e.Example, e.Also = f.Example(), alsoAt(f)
		for _, below := range f.Fields() {
			e.Fields = append(e.Fields, explained(below))
		}
		all = append(all, e)
	}
	return all
}

func explained(f spec.Field) explanation {
	return explanation{
		File: f.File.Name, Field: f.Path, Type: f.Key.Type(), Required: f.Key.Required,
		Default: defaultText(f.Key), Description: spec.Plain(sentences(f.Key)),
	}
}

// sentences are Doc and More, as prose.
func sentences(k spec.Key) string {
	text := k.Doc + "."
	if k.More != "" {
		text += " " + k.More + "."
	}
	return text
}

// alsoAt has the default that server.yml can give a child's field.
func alsoAt(f spec.Field) []string {
	if f.File.Name != "child" || f.Path == "" {
		return nil
	}
	for _, at := range spec.FindFields("server.defaults." + f.Path) {
		return []string{at.Name()}
	}
	return nil
}

// completeFields offers the fields at the depth of what is there, and those below
// the one that is.
func completeFields(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	var offers []string
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	seen := map[string]bool{}
	for _, f := range spec.AllFields() {
		for _, path := range []string{f.Path, f.Name()} {
			depth := strings.Count(path, ".") - strings.Count(word, ".")
			here := strings.HasPrefix(path, word) && depth == 0 || strings.HasPrefix(path, word+".") && depth == 1
			if path != "" && here && !seen[path] {
				seen[path] = true
				offers = append(offers, path+"\t"+spec.Plain(f.Key.Doc))
			}
		}
	}
	return offers, cobra.ShellCompDirectiveNoFileComp
}
